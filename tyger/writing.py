"""The client's half of a write: a pipe for the daemon, and the word of how its producer ended.

Theory of operation. The daemon gets the read end of a pipe and we keep a copy of it, so the pipe outlives the
daemon; the open answer is our life. One loop waits for the answer's events, for `Stop`, for a producer of
ours and for what is due. After a cut it comes back by itself with the same pipe. End of file completes
nothing: the producer's own end and the caller's `verdict` do. Standard library only.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from tyger import access, errors, lines, pipes, relaying, sockets, streams
from tyger import client as client_module

if TYPE_CHECKING:
    from tyger import producer as producer_module

Verdict = Callable[[], tuple[str, str | None]]
"""Called once, when the producer has ended: `("complete", None)` or `("failed", reason)`."""

_PASSING = {errors.UNAVAILABLE, errors.TRY_AGAIN}


class Pace(NamedTuple):
    """How many seconds this and that is waited for."""

    eof_grace: float = 5.0
    """A producer which failed may leave its pipe open for so long, by something that it started, until the
    buffer is failed without an end of file."""

    again: float = 1.0
    """Until a word is said again that did not get through to a daemon which is there."""

    remark: float = 1.0
    """Until it is said that a producer's end and its pipe's end do not come together."""


def write(
    client: client_module.Client,
    target: access.Access,
    fd: int,
    *,
    verdict: Verdict,
    stop: streams.Stop,
    block_size: int = 4 * 1024 * 1024,
    flush_interval: float = 1.0,
    run: int | None = None,
    priority: str = "live",
    producer: producer_module.Producer | None = None,
    detach: bool = False,
    on_progress: streams.Progress | None = None,
    patience: streams.Patience = streams.Patience(),  # noqa: B008 - immutable
    pace: Pace = Pace(),  # noqa: B008 - immutable
) -> streams.Result:
    """Write everything that `fd` yields into a buffer; blocks until the buffer is complete or failed.

    `fd` stays the caller's. A pipe is passed to the daemon as it is; anything else is pumped through a pipe
    of ours. A `producer`, whose `reader` is `fd`, is started once the daemon has taken the buffer, and its
    end counts; the caller sees to what is left of it (`Producer.end`).

    Returns a Result: `complete`; `failed` with the daemon's or the verdict's reason; `spooled`, only with
    `detach`, as soon as the daemon can go on alone; `stopped` when `stop` was requested, after which the
    buffer is failed if the daemon could be told; `closed` where an ephemeral buffer's reader takes no more.

    Raises:
        Problem: the daemon refused the transfer (unknown buffer, already written, ...) or stayed away.
    """
    if target.relay_url:
        from tyger import relayhttp

        return relayhttp.write(
            target.relay_url,
            fd,
            verdict=verdict,
            stop=stop,
            producer=producer,
            on_progress=on_progress or (lambda _: None),
        )
    options: dict[str, object] = {"blockSize": block_size, "flushInterval": flush_interval}
    if run is not None:
        options["run"] = run
    if priority != "live":
        options["priority"] = priority
    if target.file is not None:
        options["renewable"] = True
    if detach:
        options["detach"] = True
    with pipes.as_pipe(fd) as source:
        writer = _Writer(client, target, source, verdict, stop, producer, on_progress, patience, pace)
        return writer.run(options, detach=detach)


class _Writer:
    """One write: attach, follow its events, say how its producer ended, come back after a cut."""

    def __init__(
        self,
        client: client_module.Client,
        target: access.Access,
        source: pipes.Source,
        verdict: Verdict,
        stop: streams.Stop,
        producer: producer_module.Producer | None,
        on_progress: streams.Progress | None,
        patience: streams.Patience,
        pace: Pace,
    ) -> None:
        self._client = client
        self._target = target
        self._source = source
        self._ask = verdict
        self._stop = stop
        self._producer = producer
        self._report = on_progress
        self._pace = pace
        self._retries = streams.Retries(client, stop, patience)
        self._id = os.urandom(16).hex()
        self._verdict: tuple[str, str | None] | None = None
        self._moved = streams.Moved(0)
        self._detach = False
        self._attached = False  # ever
        self._joined = False  # an ephemeral buffer's two ends
        self._eof = False  # as the attachment in hand has it
        self._spooled = False
        self._offered = False  # whether the daemon in hand has been given the access URL that we have
        self._due: dict[Callable[[], None], float] = {}
        """What is to be done at which time, by the monotonic clock."""

    def run(self, options: dict[str, object], *, detach: bool) -> streams.Result:
        self._detach = detach
        while True:
            try:
                with self._attach(options) as events:
                    self._attached = True
                    self._retries.success()
                    try:
                        return lines.Lines(events).until(self._take, self._wait)
                    except sockets.Interrupted:
                        return self._stopped()  # while the connection is open: its end would be a reason, too
            except sockets.Interrupted:
                return self._stopped()
            except errors.Problem as lost:
                if self._target.is_ephemeral and lost.remote:
                    raise relaying.named(self._target, lost, relaying.WRITING) from None
                if not self._comes_back(lost):
                    return self._stopped()

    def _comes_back(self, lost: errors.Problem) -> bool:
        """Wait for what mends `lost`; False when `stop` was requested. Raises what nothing mends."""
        if lost.kind is errors.ACCESS_EXPIRED and not self._attached:
            return self._renewed_first(lost.message)
        try:
            return self._retries.pause(lost, lambda: self._tell(waiting=streams.AWAY))
        except streams.GaveUpError as gave_up:
            raise self._given_up(gave_up) if self._attached else gave_up from None

    def _attach(self, options: dict[str, object]) -> client_module.Stream:
        path, body = "/transfers", {"id": self._id, **self._target.fields(), **options}
        if self._target.is_ephemeral:  # which no daemon remembers
            path = relaying.path(self._target, "write")
            body = relaying.fields(self._target, joined=self._joined)
        elif self._attached:
            path, body = f"/transfers/{self._id}/attach", {}
        self._eof = False
        self._offered = not self._attached
        self._due.clear()
        return self._client.stream("POST", path, body=body, fds=[self._source.fd], wake=self._stop.fileno())

    def _wait(self, events: lines.Lines) -> None:
        """Wait for whatever comes first, and do what it asks for. Raises Interrupted for `Stop`."""
        poller = select.poll()
        poller.register(events, select.POLLIN)
        poller.register(self._stop, select.POLLIN)
        producer = self._running()
        if producer is not None:
            poller.register(producer, select.POLLIN)
        due = min(self._due.values(), default=None)
        wait = None if due is None else max(0.0, due - time.monotonic()) * 1000 + 1
        ready = dict(poller.poll(wait))
        if self._stop.fileno() in ready:
            raise sockets.Interrupted
        if producer is not None and producer.fileno() in ready and producer.wait(0):
            self._producer_ended(producer)
        for action, at in list(self._due.items()):
            if at <= time.monotonic() and action in self._due:
                del self._due[action]
                action()
        if events.fileno() in ready:
            events.receive()

    def _take(self, event: dict[str, Any]) -> streams.Result | None:
        """One event; the result where it is the last."""
        if "bytes" in event:  # a new daemon has yet to count
            shipped = event.get("shipped", self._moved.shipped)
            self._moved = streams.Moved(max(self._moved.bytes, event["bytes"]), None, shipped)
        match event.get("event"):
            case "attached":
                self._start()
                self._tell(waiting=None)
            case "progress":
                # The daemon waits for us then; we know for what.
                renewing = self._target.waiting if self._renew in self._due else None
                self._tell(waiting=renewing or event.get("waiting"))
            case "joined":
                self._joined = True
            case "eof":
                self._eof = True
                self._answer()
            case "renew":
                self._renew()
            case "spooled":
                self._spooled = True
                if self._detach:
                    return self._result("spooled")
            case "complete" | "closed" as end:
                return self._result(end, event.get("reason"))
            case "failed":
                return self._result("failed", event.get("reason"), event.get("code"))
        return None

    def _result(self, state: str, reason: str | None = None, code: str | None = None) -> streams.Result:
        return streams.Result(state, self._moved.bytes, reason, code, self._id)

    def _tell(self, *, waiting: str | None) -> None:
        self._moved = self._moved._replace(waiting=waiting)
        if self._report:
            self._report(self._moved)

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        self._due[action] = time.monotonic() + seconds

    # --- a producer of ours ------------------------------------------------------------------------------

    def _start(self) -> None:
        producer = self._producer
        if producer is None:
            return
        if not producer.started:
            try:
                producer.start()
            except errors.Problem as problem:
                self._verdict = ("failed", problem.message)
                self._say()
        elif producer.wait(0):  # it may have ended while the daemon was away
            self._producer_ended(producer)

    def _running(self) -> producer_module.Producer | None:
        producer = self._producer
        return producer if producer is not None and producer.started and not producer.ended else None

    def _producer_ended(self, producer: producer_module.Producer) -> None:
        if self._eof:
            self._answer()
        elif producer.failure():
            self._after(self._pace.eof_grace, self._say)
        else:
            self._after(self._pace.remark, self._remark)

    def _remark(self) -> None:
        """Say what is waited for when the producer and its pipe do not end together."""
        name = self._producer.name if self._producer is not None else ""
        if self._eof:
            self._tell(waiting=f"{name} has closed its output and still runs")
        else:
            self._tell(waiting=f"{name} has ended, but what it started still holds its output open")

    # --- how it ended ------------------------------------------------------------------------------------

    def _answer(self) -> None:
        """End of file was seen: say how the producer ended, once it has."""
        if (producer := self._running()) is not None and not producer.wait(0):
            self._after(self._pace.remark, self._remark)
            return
        self._due.pop(self._say, None)
        self._due.pop(self._remark, None)
        self._say()

    def _say(self) -> None:
        """Tell the daemon how the producer ended. Decided once; said again after a restart."""
        if self._verdict is None:
            failure = self._source.failure()
            self._verdict = ("failed", failure) if failure else self._ask()
            if self._verdict[0] == "complete" and self._producer and (failure := self._producer.failure()):
                self._verdict = ("failed", failure)
        try:
            self._post_outcome(*self._verdict)
        except errors.Problem as problem:
            self._not_heard(problem, self._say)

    def _not_heard(self, problem: errors.Problem, action: Callable[[], None]) -> None:
        """A word beside the attachment did not get through: say it again, while the attachment lives.

        To end that would tell the daemon that we are gone. A conflict needs no word: the event says the rest.
        """
        starts_badly = problem.kind is errors.CONFIG and not problem.remote  # a daemon that we tried to start
        if problem.kind in _PASSING or starts_badly:
            self._after(self._pace.again, action)
        elif problem.kind is not errors.CONFLICT:
            raise problem

    def _post_outcome(self, outcome: str, reason: str | None) -> None:
        body = {"outcome": outcome} | ({"reason": reason} if reason else {})
        path = f"/transfers/{self._id}/outcome"
        if self._target.is_ephemeral:
            path = relaying.path(self._target, "outcome")
        wake = None if self._stop.reason else self._stop.fileno()
        self._client.request("POST", path, body=body, wake=wake)

    def _stopped(self) -> streams.Result:
        reason = self._stop.reason or "stopped"
        if not (self._spooled and self._stop.leaves):
            try:
                self._post_outcome("failed", reason)
                return self._result("stopped", reason)
            except errors.Problem as problem:
                if problem.kind is not errors.CONFLICT:
                    return self._result("stopped", reason)
        if self._stop.leaves and self._verdict == ("complete", None):  # the daemon has our word
            return self._result("stopped", f"{reason}; all of it is in the daemon's spool and will be stored")
        return self._result("stopped", self._cancelled(reason))

    def _cancelled(self, reason: str) -> str:
        """The buffer is complete for the daemon, but not yet for its store: give it up; why it ended so."""
        try:
            self._client.request("POST", f"/transfers/{self._id}/cancel")
        except errors.Problem as problem:
            return f"{reason}; {problem.message}" if problem.kind is errors.CONFLICT else reason
        return reason

    def _given_up(self, lost: streams.GaveUpError) -> errors.Problem:
        """What becomes of the buffer when the daemon has stayed away for too long."""
        fate = "the daemon marks the buffer as failed when it is back"
        if self._spooled:
            fate = "all of it is in the daemon's spool, and goes on when the daemon is back"
        elif self._verdict == ("complete", None):
            fate = f"`tyger transfer show {self._id}` says, when it is back, whether the buffer is complete"
        return errors.Problem(errors.UNAVAILABLE, f"{lost.message}; {fate}")

    # --- access URLs -------------------------------------------------------------------------------------

    def _renewed_first(self, refusal: str) -> bool:
        """The URL had expired before all began: wait for another; False when `stop` was requested."""
        while not self._target.renewed(refusal):
            self._tell(waiting=self._target.waiting)
            if self._stop.wait(self._target.look):
                return False
        return True

    def _renew(self) -> None:
        """The daemon's URL has expired: bring another, or try again later.

        A new daemon may only not have the URL that we have: it is offered that one first.
        """
        if self._offered:
            try:
                renewed = self._target.renewed(ahead=access.AHEAD)
            except errors.Problem as problem:
                self._post_outcome("failed", problem.message)
                raise
            if not renewed:
                self._tell(waiting=self._target.waiting)
                self._after(self._target.look, self._renew)
                return
        try:
            self._client.request("POST", f"/transfers/{self._id}/access", body=self._target.fields())
        except errors.Problem as problem:
            self._offered = False
            self._not_heard(problem, self._renew)
        else:
            self._offered = True

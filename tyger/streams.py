"""The client's half of a transfer: it hands a pipe to the daemon, or takes verified bytes from it.

Theory of operation. A write passes the read end of a pipe and keeps its own copy of it, so the pipe outlives
the daemon; the open answer on that connection is our life. A read splices chunks to its destination and
counts; after a cut it asks for the rest from the byte it has delivered. Both come back by themselves after
the daemon restarted. End of file completes nothing: the caller's `verdict` says how the producer ended.

Used by the commands and by the supervisor beside a run. Standard library only.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import select
import stat
import time
from collections.abc import Callable
from typing import NamedTuple

from tyger import client as client_module
from tyger import errors, pipes

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0
"""Seconds between attempts to reach a daemon that is away: doubled each time, with this ceiling."""

_COPY = 256 * 1024
_SPLICE = getattr(os, "SPLICE_F_MOVE", 1) | getattr(os, "SPLICE_F_NONBLOCK", 2)

Progress = Callable[[int, str | None], None]
"""Called with the bytes so far and, where the transfer waits, what it waits for."""

Verdict = Callable[[], tuple[str, str | None]]
"""Called once at end of file: `("complete", None)` or `("failed", reason)`."""


class Result(NamedTuple):
    """How a transfer ended: `complete`, `failed` or `stopped` (see `Stop`), with the bytes it moved."""

    state: str
    bytes: int
    reason: str | None = None


class Stop:
    """Ends a transfer from a signal handler or another thread. The first reason stays."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self._event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def request(self, reason: str) -> None:
        """Ask the transfer to end. Safe in a signal handler; idempotent."""
        if self.reason is None:
            self.reason = reason
        with contextlib.suppress(BlockingIOError):
            os.eventfd_write(self._event, 1)

    def fileno(self) -> int:
        """Readable from the first request on."""
        return self._event

    def wait(self, seconds: float) -> bool:
        """Wait for a request, at most `seconds`; True when there is one."""
        poller = select.poll()
        poller.register(self._event, select.POLLIN)
        return bool(poller.poll(seconds * 1000))

    def close(self) -> None:
        """Release the descriptor. Idempotent."""
        if self._event >= 0:
            os.close(self._event)
            self._event = -1


# --- writing ---------------------------------------------------------------------------------------------


def write(
    client: client_module.Client,
    buffer: str,
    fd: int,
    *,
    verdict: Verdict,
    stop: Stop,
    block_size: int = 4 * 1024 * 1024,
    flush_interval: float = 1.0,
    run: int | None = None,
    on_progress: Progress | None = None,
    retry_for: float | None = None,
) -> Result:
    """Write everything that `fd` yields into `buffer`; blocks until the buffer is complete or failed.

    `fd` stays the caller's. A pipe is passed to the daemon as it is; anything else is pumped through a pipe
    of ours. `retry_for` is how long, in seconds, a daemon that is away is waited for; None is for ever.

    Returns a Result: `complete`; `failed` with the daemon's or the verdict's reason; `stopped` when `stop`
    was requested, after which the buffer is failed if the daemon could be told.

    Raises:
        Problem: the daemon refused the transfer (unknown buffer, already written, ...).
    """
    with pipes.as_pipe(fd) as source:
        return _Writer(client, buffer, source, verdict, stop, on_progress, retry_for).run(
            {"buffer": buffer, "blockSize": block_size, "flushInterval": flush_interval}
            | ({} if run is None else {"run": run})
        )


class _Writer:
    """One write: attach, follow its events, answer end of file, come back after a cut."""

    def __init__(
        self,
        client: client_module.Client,
        buffer: str,
        source: pipes.Source,
        verdict: Verdict,
        stop: Stop,
        on_progress: Progress | None,
        retry_for: float | None,
    ) -> None:
        self.client = client
        self.buffer = buffer
        self.source = source
        self.stop = stop
        self.on_progress = on_progress
        self.retries = _Retries(client, stop, retry_for)
        self.id = os.urandom(16).hex()
        self.bytes = 0
        self._ask = verdict
        self._verdict: tuple[str, str | None] | None = None

    def run(self, body: dict[str, object]) -> Result:
        path, request = "/transfers", {"id": self.id, **body}
        while True:
            try:
                with self.client.stream(
                    "POST", path, body=request, fds=[self.source.fd], wake=self.stop.fileno()
                ) as events:
                    path, request = f"/transfers/{self.id}/attach", {}
                    self.retries.success()
                    try:
                        return self._follow(events)
                    except client_module.Interrupted:
                        return self._stopped()  # while the connection is open: its end would be a reason, too
            except client_module.Interrupted:
                return self._stopped()
            except errors.Problem as lost:
                if not self.retries.pause(lost, self.on_progress, self.bytes):
                    return self._stopped()

    def _follow(self, events: client_module.Stream) -> Result:
        for line in events.lines():
            event = json.loads(line)
            self.bytes = max(self.bytes, event.get("bytes", 0))  # a new daemon has yet to count
            match event["event"]:
                case "progress" | "attached":
                    if self.on_progress:
                        self.on_progress(self.bytes, event.get("waiting"))
                case "eof":
                    self._answer()
                case "complete":
                    return Result("complete", self.bytes)
                case "failed":
                    return Result("failed", self.bytes, event.get("reason"))
        raise client_module.Disconnected("the daemon closed the connection")

    def _answer(self) -> None:
        """Tell the daemon how the producer ended. Asked for once; repeated after a restart."""
        if self._verdict is None:
            failure = self.source.failure()
            self._verdict = ("failed", failure) if failure else self._ask()
        self._post_outcome(*self._verdict)

    def _post_outcome(self, outcome: str, reason: str | None) -> None:
        body = {"outcome": outcome} | ({"reason": reason} if reason else {})
        self.client.request("POST", f"/transfers/{self.id}/outcome", body=body)

    def _stopped(self) -> Result:
        reason = self.stop.reason or "stopped"
        with contextlib.suppress(errors.Problem):
            self._post_outcome("failed", reason)
        return Result("stopped", self.bytes, reason)


# --- reading ---------------------------------------------------------------------------------------------


def read(
    client: client_module.Client,
    buffer: str,
    fd: int,
    *,
    stop: Stop,
    offset: int = 0,
    length: int | None = None,
    on_progress: Progress | None = None,
    retry_for: float | None = None,
) -> Result:
    """Write the verified bytes of `buffer` to `fd`, from `offset` on; waits for what is not yet written.

    `fd` stays the caller's; its flags are not changed. Returns `complete`, or `stopped` when `stop` was
    requested; `bytes` counts what was delivered.

    Raises:
        Problem: the daemon's own (unknown buffer, failed buffer, corrupt block, ...).
        BrokenPipeError: nobody reads `fd` any more, also noticed while no data comes.
        OSError: writing to `fd` failed.
    """
    sink = _sink(fd)
    retries = _Retries(client, stop, retry_for)
    delivered = 0
    while True:
        query = [("offset", str(offset + delivered))]
        if length is not None:
            query.append(("length", str(length - delivered)))
        try:
            with client.stream("GET", f"/transfers/read/{buffer}", query=query, wake=stop.fileno()) as stream:
                retries.success()
                while left := _next_chunk(stream, fd, stop):
                    while left:
                        moved = sink(stream.channel, left, stop)
                        left -= moved
                        delivered += moved
                    stream.end_chunk()
                    if on_progress:
                        on_progress(delivered, None)
                if said := stream.trailers.get("tyger-error"):
                    raise _trailer_problem(said)
                return Result("complete", delivered)
        except client_module.Interrupted:
            return Result("stopped", delivered, stop.reason)
        except errors.Problem as lost:
            if not retries.pause(lost, on_progress, delivered):
                return Result("stopped", delivered, stop.reason)


def _next_chunk(stream: client_module.Stream, fd: int, stop: Stop) -> int:
    """Wait for the next chunk, watching the destination: a reader that went away ends a quiet stream."""
    if not stream.channel.pending:
        _wait(stream.fileno(), select.POLLIN, fd, 0, stop)
    return stream.next_chunk()


def _trailer_problem(said: str) -> errors.Problem:
    code, _, message = said.partition(": ")
    return errors.Problem(errors.BY_CODE.get(code, errors.IO_ERROR), message)


Sink = Callable[[client_module.Channel, int, Stop], int]
"""Moves up to so many bytes from the channel to the destination; returns how many, at least one."""


def _sink(fd: int) -> Sink:
    """How to move bytes to `fd`: splice into a pipe, copy into anything else."""
    appends = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND
    if not stat.S_ISFIFO(os.fstat(fd).st_mode) or appends:
        return lambda channel, limit, stop: _copy(channel, fd, min(limit, _COPY), stop)
    pipes.enlarge(fd)
    return lambda channel, limit, stop: _splice(channel, fd, limit, stop)


def _splice(channel: client_module.Channel, fd: int, limit: int, stop: Stop) -> int:
    if channel.pending:  # what came glued to the chunk's head
        return _copy(channel, fd, min(limit, len(channel.pending)), stop)
    while True:
        try:
            moved = os.splice(channel.fileno(), fd, limit, flags=_SPLICE)
        except BlockingIOError:
            _wait(channel.fileno(), select.POLLIN, fd, 0, stop)
            _wait(fd, select.POLLOUT, None, 0, stop)
            continue
        except ConnectionResetError as error:
            raise client_module.Disconnected("the connection to the daemon broke") from error
        if moved == 0:
            raise client_module.Disconnected("the daemon closed the connection")
        return moved


def _copy(channel: client_module.Channel, fd: int, limit: int, stop: Stop) -> int:
    if not channel.pending:
        _wait(channel.fileno(), select.POLLIN, fd, 0, stop)
    data = channel.take(limit)
    _wait(fd, select.POLLOUT, None, 0, stop)
    pipes.write_all(fd, data)
    return len(data)


def _wait(fd: int, events: int, other: int | None, other_events: int, stop: Stop) -> None:
    """Wait until `fd` has one of `events`. `other` is the destination: its end raises BrokenPipeError.

    Raises Interrupted when `stop` is requested.
    """
    poller = select.poll()
    poller.register(fd, events)
    poller.register(stop.fileno(), select.POLLIN)
    if other is not None:
        poller.register(other, other_events)
    ready = dict(poller.poll())
    if stop.fileno() in ready:
        raise client_module.Interrupted
    if other is not None and fd not in ready and ready.get(other, 0) & (select.POLLERR | select.POLLHUP):
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


# --- coming back -----------------------------------------------------------------------------------------


class _Retries:
    """How long to wait for a daemon that is away: pauses that double, within a limit.

    A client that can start a daemon waits only for one that it has met: what the start says is final before.
    """

    def __init__(self, client: client_module.Client, stop: Stop, limit: float | None) -> None:
        self._stop = stop
        self._limit = limit
        self._patient = client.ensure is None
        self._since: float | None = None
        self._pause = FIRST_PAUSE

    def success(self) -> None:
        """The daemon has answered."""
        self._patient = True
        self._since = None
        self._pause = FIRST_PAUSE

    def pause(self, lost: errors.Problem, on_progress: Progress | None, done: int) -> bool:
        """Wait before the next attempt; False when `stop` was requested.

        Raises `lost` when it is not the daemon's absence, and past the limit.
        """
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        over = self._limit is not None and now - self._since >= self._limit
        # CONFIG is a start of ours that failed: somebody will mend the configuration.
        away = lost.kind is errors.UNAVAILABLE or (lost.kind is errors.CONFIG and not lost.remote)
        if not away or not self._patient or over:
            raise lost
        if on_progress:
            on_progress(done, "the daemon is away")
        stopped = self._stop.wait(self._pause)
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        return not stopped

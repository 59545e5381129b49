"""Ephemeral buffers of a run in a cluster: the job's ends of their streams, here, and the way to its pods.

Theory of operation. Nobody can come in to where the daemon is, so the daemon goes to the pod: through the API
server's port-forward to the pump, which speaks of its buffer by a `resumed.Session`. Once the job has opened
its pipe the job's end of the stream is claimed, as the supervisor of a local run would, with a pipe of ours.
A connection that breaks is made anew, and nothing is lost. What this daemon has in hand when it dies is lost:
the pump then tells the next one so, and the run fails.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets as random
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Literal, Protocol

import msgspec
import trio

from tyger import errors, pipes
from tygerd.engines.kubernetes import access, portforward, pumpargs, refusals, rundir, secrets
from tygerd.osutil import nurseries, resumed

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds until a connection is tried again, doubled each time: a person may be waiting for data."""

PUMPS = "pumps"
"""The container that listens."""

Kind = resumed.Kind
Report = Callable[[Mapping[str, Any]], Awaitable[None]]

_dialling = trio.CapacityLimiter(20)

logger = logging.getLogger(__name__)


class Ends(Protocol):
    """The daemon's own streams (`streams.relays.Relays`)."""

    async def hold(
        self,
        buffer_id: str,
        role: Literal["writer", "reader"],
        pipe: int,
        report: Report,
        gone: Callable[[], bool],
    ) -> None:
        """See there."""
        ...

    def say(self, buffer_id: str, outcome: Literal["complete", "failed"], reason: str | None) -> None:
        """See there."""
        ...


class Pods(Protocol):
    """The newest state of all pods (`watch.Reflector`)."""

    def pods(self, run: int) -> Mapping[str, Mapping[str, Any]]:
        """See there."""
        ...

    async def changed(self, run: int, seen: int) -> int:
        """See there."""
        ...


async def join(reached: access.Access, record: rundir.Record, pods: Pods, ends: Ends) -> None:
    """Join the ephemeral buffers of a run with its pods, until cancelled."""
    job = record.job
    names = [name for name in (*job.inputs, *job.outputs) if secrets.is_ephemeral(job, name)]
    async with trio.open_nursery() as nursery:
        for pod in record.objects.pods:
            for name in names:
                stream = Stream(reached, record, str(pod["metadata"]["name"]), name, pods, ends)
                nursery.start_soon(stream.run)


class Stream:
    """One buffer and one pod."""

    def __init__(
        self,
        reached: access.Access,
        record: rundir.Record,
        pod: str,
        name: str,
        pods: Pods,
        ends: Ends,
        dial: Callable[[access.Access, str, int], portforward.Forward] = portforward.dial,
    ) -> None:
        self._access = reached
        self._run = record.job.run
        self._buffer = record.job.buffers[name]
        self._enters = name in record.job.inputs
        self._pod = pod
        self._name = name
        self._pods = pods
        self._ends = ends
        self._dial = dial
        self._session = resumed.Session()
        self._life = random.token_hex(8)
        self._last: Mapping[str, Any] = {}
        """What was last said of the stream here."""
        self._eof = trio.Event()
        """All that was written is in the reader's hands."""

    async def run(self) -> None:
        """Join the two, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_connected)
            await self._session.hears(Kind.OPENED)
            try:
                await (self._enter() if self._enters else self._leave())
            except* errors.Problem as group:  # it is somebody else's, or over
                problem = nurseries.problem_of(group)
                self._refuse(str(group) if problem is None else problem.message)

    # --- the way there -----------------------------------------------------------------------------------

    async def _keep_connected(self) -> None:
        pause = FIRST_PAUSE
        while True:
            await self._pump_runs()
            before = self._session.arrived_in_all
            try:
                if not await self._connect():
                    return
            except (refusals.Trouble, resumed.GarbledError, OSError, trio.BrokenResourceError) as error:
                logger.debug("run %d: no way to '%s' of %s: %s", self._run, self._name, self._pod, error)
            if self._session.arrived_in_all > before:
                pause = FIRST_PAUSE
            await trio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _pump_runs(self) -> None:
        """Wait until there is somebody to speak to."""
        seen = -1
        while not _is_running(self._pods.pods(self._run).get(self._pod, {})):
            seen = await self._pods.changed(self._run, seen)

    async def _connect(self) -> bool:
        """One connection, from its begin to its end; whether there may be another."""
        forward = await trio.to_thread.run_sync(
            self._dial, self._access, self._pod, pumpargs.RELAY_PORT, limiter=_dialling
        )
        async with trio.SocketStream(trio.socket.from_stdlib_socket(forward.socket)) as stream:
            turn = self._session.begin()
            hello = resumed.Hello(self._name, self._life, self._session.received)
            await stream.send_all(resumed.frame(Kind.HELLO, msgspec.json.encode(hello)))
            frames = resumed.Frames()
            answer = await _answer(stream, frames)
            if answer is None:
                raise OSError(forward.error or "the connection ended at once")
            if answer.lost:
                logger.warning("run %d: '%s' was under way when a daemon ended", self._run, self._name)
                return False
            await self._session.serve(stream, frames, answer.received, turn)
        if forward.error:
            logger.debug("run %d: '%s' of %s: %s", self._run, self._name, self._pod, forward.error)
        return True

    # --- what goes over it -------------------------------------------------------------------------------

    async def _enter(self) -> None:
        """What a user writes goes into the pod."""
        session = self._session
        with _pipe() as (reader, writer):
            async with trio.open_nursery() as nursery:
                sent = trio.Event()

                async def send() -> None:
                    while data := await _read(reader):
                        if not await session.put(data):
                            break
                    sent.set()

                async def until_closed() -> None:
                    await session.hears(Kind.CLOSED)
                    nursery.cancel_scope.cancel()

                nursery.start_soon(send)
                nursery.start_soon(until_closed)
                await self._hold("reader", writer.number)
                writer.close()
                await sent.wait()
                nursery.cancel_scope.cancel()
        complete = self._last.get("event") == "complete"
        if Kind.CLOSED not in session.heard:
            self._end("complete" if complete else "failed", self._last.get("reason"))

    async def _leave(self) -> None:
        """What the job writes goes to a user."""
        session = self._session
        told = False
        with _pipe() as (reader, writer):
            async with trio.open_nursery() as nursery:

                async def take() -> None:
                    nonlocal told
                    while data := await session.get():
                        await _write(writer.number, data)
                        session.took(len(data))
                    end = resumed.ended(session.heard[Kind.END])
                    writer.close()
                    if end.outcome == "complete":
                        await self._eof.wait()
                    told = True
                    with contextlib.suppress(errors.Problem):  # it is over, which `hold` tells
                        self._ends.say(self._buffer, end.outcome, end.reason)

                nursery.start_soon(take)
                await self._hold("writer", reader)
                nursery.cancel_scope.cancel()
        if told or self._last.get("event") == "complete":
            session.say(Kind.GOODBYE)
        else:
            self._refuse(str(self._last.get("reason") or "the stream has failed"))

    async def _hold(self, role: Literal["writer", "reader"], pipe: int) -> None:
        async def report(event: Mapping[str, Any]) -> None:
            if event["event"] == "joined":
                self._session.say(Kind.JOINED)
            elif event["event"] == "eof":
                self._eof.set()
            self._last = event

        await self._ends.hold(self._buffer, role, pipe, report, lambda: Kind.CLOSED in self._session.heard)

    def _end(self, outcome: Literal["complete", "failed"], reason: str | None) -> None:
        self._session.end(msgspec.json.encode(resumed.Ended(outcome, reason)))

    def _refuse(self, reason: str) -> None:
        """Have the pod's end fail."""
        if self._enters:
            self._end("failed", reason)
        else:
            self._session.say(Kind.CLOSED, msgspec.json.encode(resumed.Ended(reason=reason)))


async def _answer(stream: trio.SocketStream, frames: resumed.Frames) -> resumed.Answer | None:
    """What a hello is answered with; None where the connection ended."""
    while data := await stream.receive_some(resumed.PIECE):
        for kind, payload in frames.feed(bytes(data)):
            if kind is not Kind.HELLO:
                raise resumed.GarbledError("it does not say hello")
            try:
                return msgspec.json.decode(payload, type=resumed.Answer)
            except msgspec.DecodeError as error:
                raise resumed.GarbledError(str(error)) from None
    return None


def _is_running(pod: Mapping[str, Any]) -> bool:
    """Whether its pump runs."""
    statuses = (pod.get("status") or {}).get("initContainerStatuses") or []
    return any(each["name"] == PUMPS and "running" in each.get("state", {}) for each in statuses)


# --- a pipe of ours ----------------------------------------------------------------------------------------


class _Writer:
    """Its write end, which may be closed before it is."""

    def __init__(self, number: int) -> None:
        self.number = number

    def close(self) -> None:
        number, self.number = self.number, -1
        if number >= 0:
            os.close(number)


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[int, _Writer]]:
    reader, number = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    writer = _Writer(number)
    try:
        pipes.enlarge(number)
        yield reader, writer
    finally:
        writer.close()
        os.close(reader)


async def _read(fd: int) -> bytes:
    while True:
        try:
            return os.read(fd, resumed.PIECE)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(fd)


async def _write(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(fd, left) :]
        except BlockingIOError:
            await trio.lowlevel.wait_writable(fd)

"""A pod's ephemeral buffers: the daemon comes in through the cluster, and streams go on as it comes back.

Theory of operation. On the pod's loopback interface, where a port-forward ends, a daemon says which buffer
it means; the `resumed.Session` of that buffer is then on its connection. A daemon that was restarted has lost
what it had in hand: where that can be anything, the stream fails, by name, and the run with it. A buffer
whose job has ended without opening its pipe is not spoken of: the daemon sees the run's end.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable

import msgspec
import trio

from tyger import errors, pipes
from tygerd.osutil import resumed
from tygerd.streams import podpipes, pumpmoves

HELLO_SECONDS = 10.0
"""Until a connection has said what it is for."""

NOT_BACK = "the daemon was restarted in the middle of the stream, and what it had in hand is lost"

Kind = resumed.Kind

_log = logging.getLogger(__name__)


class Relayed:
    """One buffer's session, and whose it is."""

    def __init__(self) -> None:
        self.session = resumed.Session()
        self._of: str | None = None

    def admit(self, hello: resumed.Hello) -> tuple[resumed.Answer, int]:
        """Let a daemon in, unless an earlier one has taken something with it; and its connection's turn."""
        if self._of is not None and self._of != hello.session and not self.session.is_untouched:
            lost = msgspec.json.encode(resumed.Ended(reason=NOT_BACK))
            for kind in (Kind.END, Kind.CLOSED):
                self.session.presume(kind, lost)
            return resumed.Answer(lost=True), 0
        self._of = hello.session
        turn = self.session.begin()
        return resumed.Answer(self.session.received), turn


class Server:
    """Lets the daemon in on `port`; port 0 takes any."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._buffers: dict[str, Relayed] = {}
        self._listeners: list[trio.SocketListener] = []

    def expect(self, name: str) -> resumed.Session:
        """A buffer of that parameter; its session."""
        made = self._buffers[name] = Relayed()
        return made.session

    async def listen(self) -> None:
        """Listen; `run` must follow.

        Raises:
            Problem: CONFIG, something else has the port.
        """
        try:
            self._listeners = await trio.open_tcp_listeners(self.port, host="127.0.0.1")
        except OSError as error:
            message = f"cannot listen on port {self.port} for ephemeral buffers: {error.strerror or error}"
            raise errors.Problem(errors.CONFIG, message) from None
        self.port = self._listeners[0].socket.getsockname()[1]

    async def run(self) -> None:
        """Serve until cancelled."""
        await trio.serve_listeners(self._serve, self._listeners)

    async def _serve(self, stream: trio.SocketStream) -> None:
        frames = resumed.Frames()
        try:
            async with stream:
                with trio.fail_after(HELLO_SECONDS):
                    hello = await self._hello(stream, frames)
                    found = self._found(hello)
                    answer, turn = found.admit(hello)
                    await stream.send_all(resumed.frame(Kind.HELLO, msgspec.json.encode(answer)))
                if not answer.lost:
                    await found.session.serve(stream, frames, hello.received, turn)
        except (resumed.GarbledError, trio.TooSlowError) as error:
            _log.warning("somebody on port %d is no daemon: %s", self.port, error)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            _log.debug("the daemon's connection broke")

    def _found(self, hello: resumed.Hello) -> Relayed:
        if hello.relay in self._buffers:
            return self._buffers[hello.relay]
        raise resumed.GarbledError(f"there is no ephemeral buffer '{hello.relay}'")

    async def _hello(self, stream: trio.SocketStream, frames: resumed.Frames) -> resumed.Hello:
        while data := await stream.receive_some(resumed.PIECE):
            for kind, payload in frames.feed(bytes(data)):
                if kind is not Kind.HELLO:
                    raise resumed.GarbledError("it does not say hello")
                try:
                    return msgspec.json.decode(payload, type=resumed.Hello)
                except msgspec.DecodeError as error:
                    raise resumed.GarbledError(str(error)) from None
        raise trio.BrokenResourceError


class RelayedInput(podpipes.Filling):
    """From a user's hands into main."""

    def __init__(self, name: str, path: str, scene: podpipes.Scene, session: resumed.Session) -> None:
        super().__init__(name, path, scene)
        self._session = session

    async def _move(self) -> podpipes.State:
        state = await super()._move()
        if state != "complete":
            self._session.say(Kind.CLOSED, msgspec.json.encode(resumed.Ended()))
        return state

    async def _fill(self, fd: int) -> None:
        session = self._session
        session.say(Kind.OPENED)
        while data := await session.get():
            await pumpmoves.write_all(fd, memoryview(data))
            session.took(len(data))
        end = resumed.ended(session.heard[Kind.END])
        if end.outcome != "complete":
            raise errors.Problem(errors.BUFFER_FAILED, end.reason or "its writer failed")
        await self._drained(fd)
        session.say(Kind.GOODBYE)
        _log.info("%d bytes came for %s", session.taken, self.name)


class RelayedOutput(podpipes.Draining):
    """Out of main into a user's hands. It lasts until he has it, however long that takes."""

    def __init__(self, name: str, path: str, scene: podpipes.Scene, session: resumed.Session) -> None:
        super().__init__(name, path, scene)
        self._session = session

    async def _drain(self, first: int) -> podpipes.State:
        session = self._session
        if not await podpipes.readable(first, self._scene.over):
            self._check_place()
            return "complete"  # never opened: the daemon says so, as the run has ended
        self.state = "open"
        pipes.enlarge(first)
        session.say(Kind.OPENED)
        state: podpipes.State = "failed"
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                await session.hears(Kind.CLOSED, Kind.GOODBYE)
                nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            await self._take(first)
            outcome, reason = await self._verdict()
            session.end(msgspec.json.encode(resumed.Ended(outcome, reason)))
            state = outcome
            await session.hears(Kind.CLOSED, Kind.GOODBYE)
        if Kind.CLOSED in session.heard:
            reason = resumed.ended(session.heard[Kind.CLOSED]).reason
            raise errors.Problem(errors.BUFFER_FAILED, reason or "its reader takes no more")
        _log.info("%d bytes went from %s", session.sent_in_all, self.name)
        return state

    async def _take(self, first: int) -> None:
        """Send what main writes, until it has closed its pipe."""
        while True:
            try:
                data = os.read(first, resumed.PIECE)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(first)
                continue
            if not data:
                return
            await self._session.put(data)


def transfers(
    names: Iterable[str], inputs: Iterable[str], fifos: str, scene: podpipes.Scene, server: Server
) -> list[podpipes.Transfer]:
    """Those of the ephemeral buffers, of which some are inputs."""
    entering = set(inputs)
    return [
        (RelayedInput if name in entering else RelayedOutput)(
            name, os.path.join(fifos, name), scene, server.expect(name)
        )
        for name in names
    ]

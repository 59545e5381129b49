"""The buffers of a pod: each is moved between its store and a named pipe that main opens, or an adapter.

Theory of operation. The rules are those of a supervisor beside a local run (`supervisor.pipes`), as a job
must not notice where it runs: an input that main leaves unread is no failure, and one that it closes and
opens again goes on where the pipe stands; the first end of file ends an output, and what a second writer
then writes fails the run; an output that was never opened is an empty buffer. An output is whole if main
then ends well, or goes on for `Ending.settle` seconds. Cancelled, an output that was not whole is marked
as failed.
"""

from __future__ import annotations

import abc
import contextlib
import logging
import os
import stat
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Literal, Self

import trio

from tyger import errors, pipes
from tygerd.blocks import container, writer
from tygerd.osutil import nurseries
from tygerd.stores import retrying
from tygerd.streams import capture, download, fifo, hashing, pumpmoves, ship
from tygerd.supervisor import ending

State = Literal["waiting", "open", "complete", "failed", "closed", "skipped"]
"""As `supervisor.pipes.State`."""

FINAL: frozenset[State] = frozenset({"complete", "failed", "closed", "skipped"})
"""Those in which nothing more is moved."""

MEMORY = 64 * 1024 * 1024
"""Bytes that the blocks of an input may take."""

FIRST_LOOK, LAST_LOOK = 0.0005, 0.02
"""Seconds between looks whether main has taken all of its input; a pipe gives no event for that."""

REPLACED = (
    "the job has put a file in the place of its pipe, and so nothing has reached the buffer: it must open the"
    " path and write, not remove the pipe or rename a file to its name"
)
AGAIN = "the job wrote to its pipe again after closing it: end of file had ended the buffer"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scene:
    """What all transfers of a pod share. `over` is set once main has ended, and `end` knows how."""

    end: ending.Ending
    over: trio.Event
    hasher: hashing.Hasher
    openers: trio.CapacityLimiter
    dop: int
    block_size: int
    flush_interval: float
    kept: list[int] | None = None
    """Ends of pipes that are closed by the end of this process only; None: there are none, it goes on."""


class Transfer(abc.ABC):
    """One buffer. `state` may be read at any time; `end.report` is called when it may have changed."""

    def __init__(self, name: str, path: str, scene: Scene) -> None:
        self.name = name
        self.state: State = "waiting"
        self.ended = False
        self._path = path
        self._scene = scene

    async def run(self) -> None:
        """Move it to its end; whatever goes wrong fails the run by the buffer's name."""
        try:
            self.state = await self._move()
        except errors.Problem as problem:
            self._fail(problem.message)
        except OSError as error:
            self._fail(error.strerror or str(error))
        finally:
            if self.state not in FINAL:
                self.state = "failed"  # cancelled
            self.ended = True
            self._scene.end.report()

    @abc.abstractmethod
    async def _move(self) -> State:
        """The whole life of the transfer. Raises Problem, OSError."""

    @contextlib.contextmanager
    def _kept_if_cut(self, fd: int) -> Iterator[int]:
        """Close an end of main's pipe, but after trouble, or cancelled, not before this process ends.

        Else main would hear first that nobody is there, and that would look like the cause: it ends by a
        signal, or takes a part of its input for the whole.
        """
        try:
            yield fd
        except BaseException:
            if self._scene.kept is not None:
                self._scene.kept.append(fd)
                fd = -1
            raise
        finally:
            if fd >= 0:
                os.close(fd)

    def _fail(self, message: str) -> None:
        self.state = "failed"
        if not self._scene.end.failed:
            self._scene.end.fail(f"buffer '{self.name}': {message}")


class Filling(Transfer):
    """Into main, from wherever."""

    async def _move(self) -> State:
        scene = self._scene
        with await fifo.opened(self._path, os.O_WRONLY, scene.over.wait, scene.openers) as pipe:
            if pipe.abandoned:
                return "skipped"
            self.state = "open"
            fd = pipe.fileno()
            os.set_blocking(fd, False)  # this open file is ours alone
            pipes.enlarge(fd)
            # A read end of ours, so that main may close the pipe and open it again.
            reader = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                with self._kept_if_cut(os.dup(fd)):
                    return "complete" if await _unless(scene.over, lambda: self._fill(fd)) else "closed"
            finally:
                os.close(reader)

    @abc.abstractmethod
    async def _fill(self, fd: int) -> None:
        """Fill main's pipe, and wait until main has taken it all. Raises Problem, OSError."""

    async def _drained(self, fd: int) -> None:
        pause = FIRST_LOOK
        while capture.pending(fd):
            await trio.sleep(pause)
            pause = min(2 * pause, LAST_LOOK)


class Input(Filling):
    """From a buffer into main."""

    def __init__(self, name: str, path: str, remote: retrying.Retrying, scene: Scene) -> None:
        super().__init__(name, path, scene)
        self._remote = remote

    async def _fill(self, fd: int) -> None:
        async def deliver(data: memoryview) -> None:
            await pumpmoves.write_all(fd, data)

        options = download.Options(width=lambda: self._scene.dop, memory=MEMORY)
        taking = download.Download(self._remote, deliver, options)
        await taking.run()
        await self._drained(fd)
        _log.info("read %d bytes of buffer %s", taking.bytes, self.name)


class Draining(Transfer):
    """Out of main, to wherever."""

    def __init__(self, name: str, path: str, scene: Scene) -> None:
        super().__init__(name, path, scene)
        self._place = -1
        self._second = -1

    @abc.abstractmethod
    async def _drain(self, first: int) -> State:
        """Take all that comes out of main's pipe to where it goes. Raises Problem, OSError."""

    async def _move(self) -> State:
        self._place = locate(self._path)
        try:
            with self._kept_if_cut(self._open()) as first:
                state = await self._drain(first)
            self.state = state
            self._scene.end.report()
            if state == "complete":
                while not await self._is_written_again(None):
                    pass
            return self.state
        finally:
            os.close(self._place)
            if self._second >= 0:
                os.close(self._second)

    def _open(self) -> int:
        return os.open(f"/proc/self/fd/{self._place}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    async def _verdict(self) -> tuple[container.End, str | None]:
        """At end of file: the buffer is whole if main then ends well, or goes on for a while."""
        end = self._scene.end
        left = end.settle
        deadline = trio.current_time() + left
        while not end.wanted and not await self._is_written_again(left):
            left = deadline - trio.current_time()
            if left <= 0 and end.doubtful():
                left = ending.DOUBT
            if left <= 0:
                break
        return ("failed", end.result()[1]) if end.failed else ("complete", None)

    async def _is_written_again(self, seconds: float | None) -> bool:
        """Watch for a second writer, at most so long; True once main has ended, or the run fails by it."""
        if self._second < 0:
            # A fresh read end gives no event until somebody comes; the first one stays at end of file.
            self._second = self._open()
        with trio.move_on_after(float("inf") if seconds is None else seconds):
            came = await readable(self._second, self._scene.over)
            if capture.look(self._second) == "bytes":
                self._fail(AGAIN)
                return True
            if not came:
                return True
            os.close(self._second)  # opened and closed, nothing was written
            self._second = -1
        return False

    def _check_place(self) -> None:
        """Raises Problem: something else has the pipe's name by now. Nothing there is no loss."""
        try:
            same = os.path.samestat(os.lstat(self._path), os.fstat(self._place))
        except OSError:
            return
        if not same:
            raise errors.Problem(errors.CONFLICT, REPLACED)


class Output(Draining):
    """From main into a buffer. `spool` is a directory that is to be made; it stays."""

    def __init__(self, name: str, path: str, remote: retrying.Retrying, scene: Scene, spool: str) -> None:
        super().__init__(name, path, scene)
        self._remote = remote
        self._spool = spool

    async def _drain(self, first: int) -> State:
        os.mkdir(self._spool)
        target = container.Container(self._spool)
        shipping = ship.Ship(target, self._remote, dop=self._scene.dop)
        try:
            into = await trio.to_thread.run_sync(writer.Writer.create, target, self._scene.block_size)
            ended: container.End = "failed"
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._take, first, into, shipping)
                ended = await shipping.run()
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise nurseries.outcome(group) from None
        finally:
            if not shipping.begun.is_set():  # what was begun has had its last words
                await self._say_failed(shipping)
            target.close()
        if ended == "complete":
            _log.info("wrote %d bytes to buffer %s", shipping.accepted_bytes, self.name)
        return ended

    async def _say_failed(self, shipping: ship.Ship) -> None:
        """Whoever reads a buffer that was not even begun must not wait for it. Best effort: never raises."""
        with trio.move_on_after(ship.LAST_WORDS, shield=True):
            try:
                await shipping.tell_failure()
            except errors.Problem as problem:
                _log.warning("buffer %s could not be marked as failed: %s", self.name, problem)

    async def _take(self, first: int, into: writer.Writer, shipping: ship.Ship) -> None:
        """Capture the pipe to its end, and end the container accordingly. Raises Problem."""
        try:
            if await readable(first, self._scene.over):
                self.state = "open"
                pipes.enlarge(first)
                await self._capture(first, into, shipping)
            else:
                self._check_place()
                reader, unused = os.pipe()
                os.close(unused)
                with _Fd(reader):
                    await self._capture(reader, into, shipping)
            outcome, reason = await self._verdict()
        except errors.Problem as problem:
            await pumpmoves.finish(into, "failed", problem.message)
            raise
        await pumpmoves.finish(into, outcome, reason)

    async def _capture(self, fd: int, into: writer.Writer, shipping: ship.Ship) -> None:
        async def admit() -> None:
            await shipping.wait_for_room(pumpmoves.SPOOL_BLOCKS * self._scene.dop)

        taking = capture.Capture(
            into,
            fd,
            block_size=self._scene.block_size,
            flush_interval=self._scene.flush_interval,
            hasher=self._scene.hasher,
            admit=admit,
        )
        try:
            await taking.run()
        except OSError as error:
            message = f"cannot store what the job wrote: {error.strerror}"
            raise errors.Problem(errors.IO_ERROR, message) from error


class _Fd:
    """A descriptor that is closed at the end of a block."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.number)


def locate(path: str) -> int:
    """The pipe itself, whatever becomes of its name. Raises Problem, OSError."""
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    if not stat.S_ISFIFO(os.fstat(place).st_mode):
        os.close(place)
        raise errors.Problem(errors.INVALID_INPUT, f"{path} is not a named pipe")
    return place


async def readable(fd: int, event: trio.Event) -> bool:
    """Wait until somebody has written to a pipe, or left it; False where the event came, and nobody had."""

    async def wait() -> None:
        await trio.lowlevel.wait_readable(fd)

    return await _unless(event, wait) or capture.look(fd) is not None


async def _unless(event: trio.Event, work: Callable[[], Awaitable[None]]) -> bool:
    """Do some work unless the event comes first, which cancels it; whether it was done. Raises as `work`."""
    done = False
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:

        async def give_up() -> None:
            await event.wait()
            nursery.cancel_scope.cancel()

        nursery.start_soon(give_up)
        try:
            await work()
            done = True
        except Exception as error:  # noqa: BLE001 - raised again below, without the nursery's wrapping
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return done

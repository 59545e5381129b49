"""The job's named pipes: one thread joins each to its buffer, with the client's own transfer code.

Theory of operation. An *input*'s thread opens the FIFO for writing, which blocks until the job opens it,
and then keeps a read end, too: a job that closes the pipe and opens it again goes on where the pipe
stands. So the write end stays open until the job has taken all that is in the pipe; else a second open
would wait for a writer for ever, with the rest of the stream behind it. When the run is over the read end
is closed, and an open that still blocks is given a reader, so that the thread never stays blocked. A job
that doesn't read its input to the end loses the rest; main's exit code judges it.

An *output*'s read end is opened before the job starts and held until the run is over: a fresh read end gives
no event until a writer came, and a job's open for writing never blocks. The first end of file ends the
buffer; what a second writer then writes fails the run. An output that was never opened is an empty buffer,
unless the job has put something else in the place of its pipe (`mv`, or a library that writes to a temporary
file and renames it): that fails the run, for what was meant for the buffer would be lost without a word.

Every replica of a job has its own pipes. All read the same inputs; the first that opens an output writes that
buffer, and another that opens it, too, fails the run.
"""

from __future__ import annotations

import abc
import array
import contextlib
import fcntl
import os
import select
import termios
import threading
import time
from collections.abc import Iterable
from typing import Literal

from tyger import access, errors, reading, streams, writing
from tyger import client as client_module
from tygerd.supervisor import ending, spec

State = Literal["waiting", "open", "complete", "failed", "closed", "skipped"]
"""`closed`: the job ended before it had read its whole input. `skipped`: it never opened its input, or left
an output to another replica."""

FINAL: frozenset[State] = frozenset({"complete", "failed", "closed", "skipped"})
"""Those in which nothing more is moved."""

REPLACED = (
    "the job has put a file in the place of its pipe, and so nothing has reached the buffer: it must open the"
    " path and write, not remove the pipe or rename a file to its name"
)

FIRST_LOOK, LAST_LOOK = 0.0005, 0.02
"""Seconds between looks whether a job has taken all of its input: so late it sees the end of file."""


def make(directory: str, setup: spec.Spec, end: ending.Ending) -> list[Pipe]:
    """The threads of all pipes of a run, not started, and the FIFOs."""
    claims = {pipe.name: Claim() for pipe in setup.outputs}
    made: list[Pipe] = []
    for main in setup.mains:
        os.makedirs(os.path.join(directory, spec.PIPES, main.pipes), exist_ok=True)
        # Whoever is in a container has to come through here; the run's own directory keeps others away.
        os.chmod(os.path.join(directory, spec.PIPES, main.pipes), 0o711)  # noqa: S103
        for pipe in setup.inputs:
            place = _fifo(directory, pipe, main)
            made.append(Input(place, pipe, setup, end))
        for pipe in setup.outputs:
            place = _fifo(directory, pipe, main)
            made.append(Output(place, pipe, setup, end, claims[pipe.name]))
    return made


def _fifo(directory: str, pipe: spec.Pipe, main: spec.MainSpec) -> str:
    """Make a FIFO; one that is there already is ours from an attempt that never started a job."""
    path = spec.pipe_path(directory, pipe.name, main.pipes)
    with contextlib.suppress(FileExistsError):
        os.mkfifo(path, pipe.mode)
    os.chmod(path, pipe.mode)  # whatever the umask
    return path


def combined(pipes: Iterable[Pipe]) -> dict[str, State]:
    """How the transfer of each buffer stands; where there are replicas, what says most about it."""
    states: dict[str, State] = {}
    for pipe in pipes:
        known = states.get(pipe.pipe.name, pipe.state)
        states[pipe.pipe.name] = min(known, pipe.state, key=_TELLING.index)
    return states


_TELLING: tuple[State, ...] = ("failed", "open", "waiting", "closed", "complete", "skipped")


class Claim:
    """Who writes an output: one of the job's replicas."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken = False

    def take(self) -> bool:
        """Whether nobody else has it."""
        with self._lock:
            free, self._taken = not self._taken, True
            return free


class Pipe(threading.Thread, abc.ABC):
    """What inputs and outputs share. `state`, `bytes` and `ended` may be read at any time."""

    def __init__(self, place: str, pipe: spec.Pipe, setup: spec.Spec, end: ending.Ending) -> None:
        super().__init__(name=f"pipe {pipe.name}", daemon=True)
        self.pipe = pipe
        self.setup = setup
        self.end = end
        self.state: State = "waiting"
        self.bytes = 0
        self.ended = False
        self.stop = streams.Stop()
        self.client = client_module.Client(setup.daemon_socket)
        self.target = access.Access(buffer=pipe.buffer, of_job=True)
        # Opened once, by what it is: a job may unlink or replace the name, and we would block for ever.
        self._path = place
        self._place = os.open(place, os.O_PATH | os.O_CLOEXEC)

    def run(self) -> None:
        """Move the bytes; whatever goes wrong fails the run by the buffer's name."""
        try:
            self.state = self.move()
        except errors.Problem as problem:
            self._failed(problem.message)
        except OSError as error:
            self._failed(error.strerror or str(error))
        except Exception as error:  # the thread must not end in silence: the run would wait for it
            self._failed(f"a defect of the supervisor: {error!r}")
            raise
        finally:
            self.ended = True  # the thread itself lives a little longer than its report
            self.end.report()

    @abc.abstractmethod
    def move(self) -> State:
        """The whole life of the transfer."""

    def release(self) -> None:
        """The run is over: let go of what blocks because the job never opened its end. Idempotent."""

    def close(self) -> None:
        """Release what is held, once the thread has `ended` or was never started."""
        if self.ended:
            self.join()
        os.close(self._place)
        self.stop.close()

    def _open(self, flags: int) -> int:
        path = f"/proc/self/fd/{self._place}"
        try:
            return os.open(path, flags | os.O_CLOEXEC)
        except PermissionError:  # the job has closed it to others, and so to us
            os.chmod(path, self.pipe.mode)
            return os.open(path, flags | os.O_CLOEXEC)

    def _failed(self, message: str) -> None:
        self.state = "failed"
        self.end.fail(f"buffer '{self.pipe.name}': {message}")

    def _progress(self, moved: streams.Moved) -> None:
        self.bytes = moved.bytes


class Input(Pipe):
    """From a buffer into the job."""

    def __init__(self, place: str, pipe: spec.Pipe, setup: spec.Spec, end: ending.Ending) -> None:
        super().__init__(place, pipe, setup, end)
        self._lock = threading.Lock()
        self._reader = -1
        self._opened = self._released = False

    def move(self) -> State:
        """Wait for the job to open the pipe, then fill it."""
        fd = self._open(os.O_WRONLY)
        try:
            return self._fill(fd) if self._hold() else "skipped"
        finally:
            self._let_go()
            os.close(fd)

    def _fill(self, fd: int) -> State:
        self.state = "open"
        try:
            result = reading.read(
                self.client,
                self.target,
                fd,
                stop=self.stop,
                on_progress=self._progress,
                patience=streams.Patience(self.setup.retry_for),
            )
        except BrokenPipeError:
            return "closed"
        except errors.Problem as problem:
            self._failed(problem.message)
            # The job must not take what it got for the whole: no end of file before it is stopped.
            _wait(self.end.over)
            return "failed"
        return "complete" if result.state == "complete" and self._drained(fd) else "closed"

    def _drained(self, fd: int) -> bool:
        """Wait until the pipe is empty; False if the run is over before. A pipe gives no event for that."""
        pause = FIRST_LOOK
        while _left(fd):
            if _wait(self.end.over, seconds=pause):
                return False
            pause = min(2 * pause, LAST_LOOK)
        return True

    def _hold(self) -> bool:
        """The job came: keep a read end, too. False when the run is over instead."""
        with self._lock:
            if not self._released:
                self._reader = self._open(os.O_RDONLY | os.O_NONBLOCK)
                self._opened = True
            return self._opened

    def _let_go(self) -> None:
        with self._lock:
            if self._reader >= 0:
                os.close(self._reader)
                self._reader = -1

    def release(self) -> None:
        """End an open that still blocks by becoming its reader, or a write by going away."""
        with self._lock:
            if self._released:
                return
            self._released = True
            if not self._opened:
                self._reader = self._open(os.O_RDONLY | os.O_NONBLOCK)
                return  # the thread closes it
        self.stop.request("the job has ended")
        self._let_go()


class Output(Pipe):
    """From the job into a buffer."""

    def __init__(
        self, place: str, pipe: spec.Pipe, setup: spec.Spec, end: ending.Ending, claim: Claim
    ) -> None:
        super().__init__(place, pipe, setup, end)
        self._claim = claim
        self._first = self._open(os.O_RDONLY | os.O_NONBLOCK)
        self._second = -1

    def move(self) -> State:
        """Wait for the first writer, pass the pipe to the daemon, then watch for a second writer."""
        try:
            _wait(self._first, self.end.over)
            if self._first not in _wait(self._first, seconds=0):
                return self._write_nothing() if self._claim.take() else "skipped"
            if not self._claim.take():
                self._failed("more than one replica of the job opened it for writing")
                return "failed"
            self.state = "open"
            self.state = state = self._write(self._first)
            self.end.report()
            while not self._watch(None):
                pass
            return state
        finally:
            os.close(self._first)
            if self._second >= 0:
                os.close(self._second)

    def _write_nothing(self) -> State:
        """The job never opened the pipe: an empty buffer, complete if main succeeded.

        Of an ephemeral one the reader is told that the pipe was never opened, by the daemon.
        """
        if replaced := self._is_replaced():
            self._failed(REPLACED)
        if self.target.is_ephemeral:
            return "failed" if replaced else "complete"
        reader, writer = os.pipe()
        os.close(writer)
        try:
            return self._write(reader)
        finally:
            os.close(reader)

    def _is_replaced(self) -> bool:
        """Whether something else has the pipe's name by now. Nothing there is no loss."""
        try:
            return not os.path.samestat(os.lstat(self._path), os.fstat(self._place))
        except OSError:
            return False

    def _write(self, fd: int) -> State:
        result = writing.write(
            self.client,
            self.target,
            fd,
            verdict=self._verdict,
            stop=self.stop,
            block_size=self.setup.block_size,
            flush_interval=self.setup.flush_interval,
            run=self.setup.run,
            on_progress=self._progress,
            patience=streams.Patience(self.setup.retry_for),
        )
        self.bytes = result.bytes
        if result.state == "complete":
            return "complete"
        if not self.end.failed:
            self._failed(result.reason or "the buffer failed")
        return "failed"

    def _verdict(self) -> tuple[str, str | None]:
        """At end of file: the buffer is whole if main then ends well, or goes on for a while."""
        deadline = time.monotonic() + self.end.settle
        while not self.end.wanted:
            left = deadline - time.monotonic()
            if left <= 0 and self.end.doubtful():
                left = ending.DOUBT
            if left <= 0 or self._watch(left):
                break
        return ("failed", self.end.result()[1]) if self.end.failed else ("complete", None)

    def _watch(self, seconds: float | None) -> bool:
        """Watch for a second writer, at most so long; True once the run is over, or fails by what we saw."""
        if self._second < 0:
            # A fresh read end gives no event until somebody comes; the first one stays at end of file.
            self._second = self._open(os.O_RDONLY | os.O_NONBLOCK)
        ready = _wait(self._second, self.end.over, seconds=seconds)
        if ready.get(self._second, 0) & select.POLLIN:
            self._failed("the job wrote to its pipe again after closing it: end of file had ended the buffer")
            return True
        if self._second in ready:  # opened and closed, nothing was written
            os.close(self._second)
            self._second = -1
        return self.end.over in ready


def _left(fd: int) -> int:
    """Bytes in a pipe that nobody has read."""
    count = array.array("i", [0])
    fcntl.ioctl(fd, termios.FIONREAD, count)
    return count[0]


def _wait(*fds: int, seconds: float | None = None) -> dict[int, int]:
    """Wait until one of the descriptors is readable or at its end; their poll events."""
    poller = select.poll()
    for fd in fds:
        poller.register(fd, select.POLLIN)
    return dict(poller.poll(None if seconds is None else seconds * 1000))

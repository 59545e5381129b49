"""The programs that a run consists of, each a process of this host or a container: one interface for both.

`crew` decides when they start and end; here is how. A process is started, signalled and reaped by the main
loop itself. A container has a thread, which wakes the loop by `ending.Ending.report` whenever something below
has changed; the loop then looks at the attributes.
"""

from __future__ import annotations

import abc
import os
import signal
import subprocess
import time
from collections.abc import Mapping

from tyger import errors
from tygerd.supervisor import ending, log, spec, tree

LEFTOVERS = 10.0
"""Seconds after a process's end that we wait for what cannot be killed (a set-uid program, an uninterruptible
call) and for pipes that it handed to somebody outside its tree."""


class Main(abc.ABC):
    """One program. Only the main loop calls its methods, and none blocks for long.

    `addresses` maps the names of the run's workers to their addresses; it is set before `start`.
    """

    leftovers = LEFTOVERS
    """Seconds after its end for which its `sources` are read; infinite where it is sure to end them."""

    def __init__(self, setup: spec.MainSpec, stamps: log.Stamps) -> None:
        self.setup = setup
        self._stamps = stamps
        self.name = setup.name
        self.addresses: Mapping[str, str] = {}
        self.address: str | None = None
        """Of a container, where others reach it, from when it runs; None for what is on this host's own."""
        self.published: Mapping[int, int] = {}
        """Ports of a container, and those of 127.0.0.1 that lead to them; known as `address` is."""
        self.sources: list[log.Source] = []
        """What it prints; each is to be read until it has ended."""
        self.started_at: int | None = None
        """When it began to run, in microseconds since the epoch."""
        self.ended = False
        """It runs no more and never will. `code` and `reason` are what they are before this is True."""
        self.code: int | None = None
        """Its exit code, 128 + n for signal n; None where there is none."""
        self.reason: str | None = None
        """Why it ended badly, where there is a better word than its code."""

    def _source(self, fd: int, stream: bytes) -> log.Source:
        """A source of its lines; the read end of a pipe becomes the source's."""
        return log.Source(fd, stream, self._stamps, self.setup.label)

    @property
    def doubtful(self) -> bool:
        """It has ended, but how is not known yet. From any thread."""
        return False

    @property
    def life(self) -> int:
        """Until `close`, a descriptor that is readable once it has ended; -1 if its network outlives it."""
        return -1

    @property
    def runs(self) -> bool:
        """It was started and has not ended."""
        return self.started_at is not None and not self.ended

    @property
    def prints(self) -> bool:
        """Some of its output is still to be read."""
        return any(source.fileno() >= 0 for source in self.sources)

    @abc.abstractmethod
    def start(self) -> None:
        """Start it, or begin to.

        Raises:
            Problem: it could not be started, and never will be; nothing else may be called then but `close`.
        """

    @abc.abstractmethod
    def terminate(self) -> None:
        """Ask it to end: SIGTERM. What is only being started does not come to run any more."""

    @abc.abstractmethod
    def kill(self) -> None:
        """End it: SIGKILL. May be repeated until it has ended."""

    @abc.abstractmethod
    def close(self) -> None:
        """Release what is held, and remove what is left of it. The run's end has been told: this may wait."""


class ProcessMain(Main):
    """A process of this host, with all that it starts."""

    def __init__(self, setup: spec.MainSpec, process: spec.ProcessSpec, stamps: log.Stamps) -> None:
        super().__init__(setup, stamps)
        self._process = process
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Of the direct child, once it was started."""
        return self._child.pid if self._child else None

    def start(self) -> None:
        """See `Main`. Forks, so no other thread may be there yet."""
        out, out_in = os.pipe2(os.O_CLOEXEC)
        err, err_in = os.pipe2(os.O_CLOEXEC)
        self.sources = [self._source(out, b"O"), self._source(err, b"E")]
        try:
            self._child = subprocess.Popen(
                self._process.argv,
                env=self._process.env,
                cwd=self._process.cwd,
                stdin=subprocess.DEVNULL,
                stdout=out_in,
                stderr=err_in,
                start_new_session=True,
                # It must not outlive a supervisor that is killed; a sandbox sees to that itself.
                preexec_fn=None if self._process.sandboxed else tree.die_with_parent,  # noqa: PLW1509 - one thread
            )
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            raise errors.Problem(errors.IO_ERROR, _cannot_start(self._process, error)) from error
        finally:
            os.close(out_in)
            os.close(err_in)
        self.started_at = time.time_ns() // 1000

    def reaped(self, code: int) -> None:
        """The main loop has collected it."""
        if self._child is not None:
            self._child.returncode = code  # subprocess must not look for it
        self.code = code
        self.ended = True

    def terminate(self) -> None:
        """See `Main`. A sandbox that gets TERM takes the job with it, without a grace: it is spared."""
        if self.pid is not None:
            own = [] if self._process.sandboxed else [self.pid]
            tree.send(signal.SIGTERM, [*own, *tree.descendants(self.pid)])

    def kill(self) -> None:
        """See `Main`."""
        if self.pid is not None:
            tree.send(signal.SIGKILL, [self.pid, *tree.descendants(self.pid)])

    def close(self) -> None:
        """See `Main`. The main loop has killed what it left."""


def make(setup: spec.MainSpec, stamps: log.Stamps, end: ending.Ending) -> Main:
    """The program of a spec. A thread that it has wakes the main loop through `end`.

    Raises:
        ValueError: the spec names none.
    """
    if setup.process is not None:
        return ProcessMain(setup, setup.process, stamps)
    if setup.container is not None:
        from tygerd.supervisor import container  # is built on this module

        return container.ContainerMain(setup, setup.container, stamps, end.report)
    raise ValueError(f"{setup.name} is neither a process nor a container")


def _cannot_start(process: spec.ProcessSpec, error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        if error.filename == process.cwd:
            return f"cannot change to the working directory '{process.cwd}': {error.strerror}"
        return f"cannot start '{process.argv[0]}': {error.strerror}"
    return f"cannot start '{process.argv[0]}': {error}"

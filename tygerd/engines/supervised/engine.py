"""An engine's half that knows directories and supervisors, and nothing of what is executed.

It remembers a run by its directory; `adopt` reads from there what became of it. Whoever derives from it says
what goes into that directory.
"""

from __future__ import annotations

import abc
import contextlib
import logging
import os
import shutil

import trio

from tygerd.engines import base
from tygerd.engines.supervised import adopt, spawn
from tygerd.supervisor import spec

MOST_WORDS = 64 * 1024
"""Bytes of a supervisor's standard error that the daemon's log takes over."""

logger = logging.getLogger(__name__)


class SupervisedEngine(abc.ABC):
    """See `base.Engine`: all of it but what is asked before a run exists.

    `directory` is where the runs have theirs, and no other engine's. `supervisors` may be several engines'.
    """

    def __init__(self, directory: str, supervisors: spawn.Supervisors | None = None) -> None:
        self._directory = directory
        self._supervisors = supervisors or spawn.Supervisors()

    @abc.abstractmethod
    def _spec(self, directory: str, job: base.Job) -> spec.Spec:
        """What the supervisor of a job is told. In a thread; may make files in the run's directory.

        Raises:
            OSError: a file could not be made.
            Problem: the job cannot be started, and never will be.
        """

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `base.Engine`."""
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        await self._supervisors.run(task_status=task_status)

    async def start(self, job: base.Job) -> None:
        """See `base.Engine`."""
        directory = self._run_directory(job.run)
        try:
            await trio.to_thread.run_sync(self._make, directory, job)
        except OSError as error:
            raise adopt.problem(error) from error
        await self._supervisors.start(directory)

    async def knows(self, run: int) -> bool:
        """See `base.Engine`."""
        return adopt.was_started(self._run_directory(run))

    def has(self, run: int) -> bool:
        """See `base.Engine`."""
        return os.path.exists(self._run_directory(run))

    async def follow(self, run: int, report: base.Report) -> base.Observation:
        """See `base.Engine`."""

        async def forward(observation: base.Observation) -> None:
            if observation.status == "Running":
                self._supervisors.replenish()
            await report(observation)

        try:
            return await adopt.follow(self._run_directory(run), forward)
        finally:
            self._supervisors.replenish()

    async def cancel(self, run: int, reason: str) -> None:
        """See `base.Engine`."""
        await adopt.send(self._run_directory(run), {"command": "cancel", "reason": reason})

    def log_path(self, run: int) -> str:
        """See `base.Engine`."""
        return os.path.join(self._run_directory(run), spec.LOG)

    async def remove(self, run: int) -> None:
        """See `base.Engine`."""
        directory = self._run_directory(run)
        if said := await trio.to_thread.run_sync(_complaint, directory):
            logger.error("the supervisor of run %d has met a defect of ours: %s", run, said)
        await trio.to_thread.run_sync(_remove, directory)

    def _run_directory(self, run: int) -> str:
        return os.path.join(self._directory, str(run))

    def _make(self, directory: str, job: base.Job) -> None:
        """Make the run's directory and its spec; a few small files in a directory that is in memory."""
        os.makedirs(directory, mode=0o700, exist_ok=True)
        os.makedirs(os.path.join(directory, spec.PIPES), mode=0o700, exist_ok=True)
        spec.write_spec(directory, self._spec(directory, job))


def _complaint(directory: str) -> str:
    """What a supervisor wrote to its standard error, which is nothing unless something is wrong with it."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC  # a job may have been there
    try:
        fd = os.open(os.path.join(directory, spec.ERRORS), flags)
    except OSError:
        return ""
    try:
        return os.read(fd, MOST_WORDS).decode(errors="replace").strip()
    except OSError:
        return ""
    finally:
        os.close(fd)


def _remove(directory: str) -> None:
    """Remove a run's directory, whatever modes the job left in it."""
    failed: list[str] | None = None

    def note(_function: object, path: str, info: tuple[type, BaseException, object]) -> None:
        if isinstance(info[1], FileNotFoundError):
            return  # its supervisor ends, and takes its own last files away
        found.append(f"{path}: {info[1]}")
        for each in (os.path.dirname(path), path):
            with contextlib.suppress(OSError):
                if os.path.isdir(each) and not os.path.islink(each):
                    os.chmod(each, 0o700)

    # Each time one level deeper can be opened that a job had closed.
    while os.path.lexists(directory):
        found: list[str] = []
        shutil.rmtree(directory, onerror=note)
        if found and found == failed:
            logger.warning("cannot remove all of %s: %s", directory, found[0])
            return
        failed = found

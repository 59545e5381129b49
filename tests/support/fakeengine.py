"""An engine whose jobs do what the test says. It remembers runs over the daemon's restarts, as a real one."""

from __future__ import annotations

import os

import trio

from tyger import errors
from tygerd.engines import base


class FakeEngine:
    """`fetch`: what is said of images, which never come then.

    `out_of_reach`: why it cannot go on with a run, nor begin one.
    `jobs` are those that were started, `ends` how they ended; `cancelled` and `removed` what was asked."""

    def __init__(self, directory: str) -> None:
        self.traits = base.Traits(name="fake")
        self.directory = directory
        self.jobs: dict[int, base.Job] = {}
        self.ends: dict[int, base.Observation] = {}
        self.started_at: dict[int, int] = {}
        self.told: dict[int, base.Observation] = {}
        self.cancelled: list[tuple[int, str]] = []
        self.removed: list[int] = []
        self.checked: list[tuple[str, bool]] = []
        self.prepared: list[tuple[str, bool]] = []
        self.trouble: str | None = None
        self.refused_images: set[str] = set()
        self.refused: errors.Problem | None = None
        self.start_problem: errors.Problem | None = None
        self.out_of_reach: str | None = None
        self.hold_start: trio.Event | None = None
        self.fetch: list[str] | None = None
        self.unfetchable: errors.Problem | None = None
        self._event = trio.Event()

    async def unavailable(self):
        return self.trouble

    async def check(self, codespec, _worker=None, *, pull=False):
        if self.refused is not None:
            raise self.refused
        if codespec.image in self.refused_images:
            raise errors.Problem(errors.INVALID_INPUT, f"cannot run {codespec.image}")
        self.checked.append((codespec.image, pull))

    async def prepare(self, image, progress, *, pull=False):
        self.prepared.append((image, pull))
        if self.unfetchable is not None:
            raise self.unfetchable
        for line in self.fetch or ():
            await progress(line)
        if self.fetch is not None:
            await trio.sleep_forever()

    async def run(self, *, task_status=trio.TASK_STATUS_IGNORED):
        task_status.started()
        await trio.sleep_forever()

    async def start(self, job):
        if self.hold_start is not None:
            await self.hold_start.wait()
        if self.out_of_reach is not None:
            raise base.OutOfReach(self.out_of_reach)
        if self.start_problem is not None:
            raise self.start_problem
        assert job.run not in self.jobs, "started twice"
        self.jobs[job.run] = job
        self._tell()

    async def knows(self, run):
        return run in self.jobs

    def has(self, run):
        return run in self.jobs

    async def follow(self, run, report):
        if run not in self.jobs:
            raise base.NeverStarted
        if self.out_of_reach is not None:
            raise base.OutOfReach(self.out_of_reach)
        while True:
            event = self._event
            if (end := self.ends.get(run)) is not None:
                return end
            started_at = self.started_at.get(run)
            status = "Pending" if started_at is None else "Running"
            seen = base.Observation(status=status, started_at=started_at, log_size=self._size(run))
            await report(self.told.get(run, seen))
            await event.wait()

    async def cancel(self, run, reason):
        self.cancelled.append((run, reason))
        if run in self.jobs and run not in self.ends:
            self.end(run, "Canceled", reason=reason, incomplete=tuple(self.jobs[run].outputs))

    def log_path(self, run):
        return os.path.join(self.directory, f"{run}.log")

    async def remove(self, run):
        self.jobs.pop(run, None)
        self.removed.append(run)
        if os.path.exists(self.log_path(run)):
            os.unlink(self.log_path(run))

    # --- what a job does -----------------------------------------------------------------------------

    async def wait_started(self, run):
        """Until the daemon has started this run."""
        with trio.fail_after(30):
            while run not in self.jobs:
                await self._event.wait()

    def begin(self, run, started_at=1_000_000):
        self.started_at[run] = started_at
        self._tell()

    def tell(self, run, status, **more):
        """Report this of a run that goes on."""
        self.told[run] = base.Observation(status=status, **more)
        self._tell()

    def log(self, run, *records):
        with open(self.log_path(run), "a", encoding="utf-8") as file:
            file.writelines(record + "\n" for record in records)
        self._tell()

    def end(self, run, status="Succeeded", *, reason=None, incomplete=(), finished_at=2_000_000):
        self.ends[run] = base.Observation(
            status=status,
            reason=reason,
            started_at=self.started_at.get(run, 1_000_000),
            finished_at=finished_at,
            log_size=self._size(run),
            incomplete=incomplete,
        )
        self._tell()

    def _size(self, run):
        path = self.log_path(run)
        return os.path.getsize(path) if os.path.exists(path) else 0

    def _tell(self):
        event, self._event = self._event, trio.Event()
        event.set()

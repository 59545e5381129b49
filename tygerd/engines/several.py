"""Two engines as one: the configured one for what users submit, the system's own for its own runs."""

from __future__ import annotations

import trio

from tyger import model
from tygerd.engines import base


class WithSystemRuns:
    """See `base.Engine`. `users` takes what users submit and says what can be run; `system` the rest."""

    def __init__(self, users: base.Engine, system: base.Engine) -> None:
        self._users = users
        self._system = system
        self.traits = users.traits

    async def unavailable(self) -> str | None:
        """See `base.Engine`; of users' runs."""
        return await self._users.unavailable()

    async def check(
        self, codespec: model.JobCodespec, worker: model.WorkerCodespec | None = None, *, pull: bool = False
    ) -> None:
        """See `base.Engine`; of users' codespecs."""
        await self._users.check(codespec, worker, pull=pull)

    async def prepare(self, image: str, progress: base.Progress, *, pull: bool = False) -> None:
        """See `base.Engine`."""
        await self._users.prepare(image, progress, pull=pull)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `base.Engine`."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._system.run)
            await nursery.start(self._users.run)
            task_status.started()

    async def start(self, job: base.Job) -> None:
        """See `base.Engine`."""
        await (self._system if job.system else self._users).start(job)

    async def knows(self, run: int) -> bool:
        """See `base.Engine`."""
        return self._system.has(run) or await self._users.knows(run)

    def has(self, run: int) -> bool:
        """See `base.Engine`."""
        return self._system.has(run) or self._users.has(run)

    async def follow(self, run: int, report: base.Report) -> base.Observation:
        """See `base.Engine`."""
        return await self._of(run).follow(run, report)

    async def cancel(self, run: int, reason: str) -> None:
        """See `base.Engine`."""
        await self._of(run).cancel(run, reason)

    def log_path(self, run: int) -> str:
        """See `base.Engine`."""
        return self._of(run).log_path(run)

    async def remove(self, run: int) -> None:
        """See `base.Engine`."""
        await self._of(run).remove(run)

    def _of(self, run: int) -> base.Engine:
        return self._system if self._system.has(run) else self._users

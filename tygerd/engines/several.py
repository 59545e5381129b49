"""Several engines as one: those for what users submit, and the system's own for its own runs.

Which of the users' engines executes a run is decided before there is a run (`runs.choice`), and stands in its
job from then on. What was started is found again by asking each engine what it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import trio

from tyger import errors
from tygerd.engines import base

UNCONFIGURED = {"kubernetes": "the table [engine.kubernetes] of tygerd.toml"}
"""Engines that are there only once something is configured, and what."""

AUTO = "auto"
"""What asks for a choice among the engines, by what the run needs."""


def absent(name: str) -> base.OutOfReach:
    """Why runs of an engine that is not configured do not go on."""
    return base.OutOfReach(f"its engine {name} is not in the configuration: it needs {UNCONFIGURED[name]}")


class Engines:
    """The methods of `base.Engine` that are about a run, each for the engine that has it.

    `users` are the engines for what users submit, the preferred first; `use` names the one that is used
    where a run says nothing, or is `auto`. `former` are engines that get no run any more, and have some.
    """

    def __init__(
        self,
        users: Sequence[base.Engine],
        system: base.Engine,
        *,
        former: Sequence[base.Engine] = (),
        use: str = AUTO,
    ) -> None:
        self._users = {engine.traits.name: engine for engine in users}
        self._former = former
        self._system = system
        self._use = use

    # --- before there is a run ---------------------------------------------------------------------------

    def offered(self, name: str | None = None) -> list[base.Engine]:
        """Those among which a run that asks for `name` (None: for nothing) has a choice, the preferred first.

        Raises:
            Problem: INVALID_INPUT, there is no such engine.
        """
        wanted = name or self._use
        if wanted == AUTO:
            return list(self._users.values())
        if (engine := self._users.get(wanted)) is None:
            names = ", ".join(f"'{known}'" for known in (AUTO, *self._users))
            said = f"Unknown engine '{wanted}'"
            if wanted in UNCONFIGURED:
                said = f"The engine '{wanted}' is not configured: it needs {UNCONFIGURED[wanted]}"
            raise errors.Problem(errors.INVALID_INPUT, f"{said}. Valid options are: {names}.")
        return [engine]

    async def traits(self) -> base.Traits:
        """What a run that names no engine can have at present: what any can that might execute it."""
        able = [engine.traits for engine in self.offered() if await engine.unavailable() is None]
        together: Any = {name: any(getattr(traits, name) for traits in able) for name in base.MEANINGS}
        return base.Traits(self._use)._replace(**together)

    async def state(self) -> list[dict[str, str | None]]:
        """Each of the users' engines by name, and why it is unavailable, for people."""
        return [
            {"name": name, "unavailable": await engine.unavailable()} for name, engine in self._users.items()
        ]

    # --- as an engine ------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `base.Engine`."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._system.run)
            for engine in (*self._users.values(), *self._former):
                await nursery.start(engine.run)
            task_status.started()

    async def start(self, job: base.Job) -> None:
        """See `base.Engine`. Of what `job` says decides `system`, then `engine`."""
        if job.system:
            await self._system.start(job)
            return
        if (engine := self._users.get(job.engine)) is None:
            if job.engine in UNCONFIGURED:
                raise absent(job.engine)
            raise errors.Problem(
                errors.INTERNAL, f"this daemon has no engine '{job.engine}', which the run was created for"
            )
        await engine.start(job)

    async def knows(self, run: int) -> bool:
        """See `base.Engine`."""
        return await self._of(run).knows(run)

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
        """The engine that has the run; where none has it any of the users', for each says the same of it."""
        everyone = [*self._users.values(), self._system, *self._former]
        return next((engine for engine in everyone if engine.has(run)), everyone[0])

"""The frame of the checks: a place to run jobs (`Bench`), a job of a check (`Ran`), and the list of all.

A check raises AssertionError with what it found. Checks share nothing, and may run in any order. What an
engine does not declare (`base.Traits`) is not asked of it here; whether it is refused is checked through a
daemon (`tygerd.conformance.daemons`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

from tyger import model, units
from tygerd import clock
from tygerd.conformance import verdicts
from tygerd.engines import base

PATIENCE = 120.0
"""Seconds until a check gives up on a job that does next to nothing, also on a machine that is very busy."""


class Bench(Protocol):
    """An engine that runs, and the buffers of its jobs."""

    engine: base.Engine
    image: str
    """An image that the engine can run and that has a POSIX shell, the usual small tools and `busybox`."""
    unknown_image: str
    """One that it can't."""
    starts_within: int
    """Seconds in which a job has surely begun to run, also on a busy machine."""
    tells_streams: bool
    """Whether a log says which lines were standard error; not every cluster can."""

    def next_run(self) -> int:
        """A run id that was never used."""
        ...

    def next_port(self) -> int:
        """A port on which nobody listens where the engine's jobs do."""
        ...

    async def filled(self, content: bytes) -> str:
        """The id of a complete buffer with this content."""
        ...

    async def empty(self) -> str:
        """The id of a buffer that nobody has written yet."""
        ...

    async def outcome(self, buffer: str) -> tuple[str, bytes]:
        """`complete` or `failed`, and what was written; of a buffer that a job had as an output."""
        ...

    async def restart(self) -> None:
        """Give the engine up as a daemon that is killed would, and put another one in its place."""
        ...


Check = Callable[[Bench], Awaitable[None]]

CHECKS: dict[str, Check] = {}


def check(function: Check) -> Check:
    """Put a check on the list, under its own name."""
    if function.__name__ in CHECKS:
        raise ValueError(f"there are two checks {function.__name__}")
    CHECKS[function.__name__] = function
    return function


class Ran:
    """A job that a check runs, and everything that was observed of it."""

    def __init__(self, bench: Bench, run: int, buffers: dict[str, str]) -> None:
        self.bench = bench
        self.run = run
        self.buffers = buffers
        self.observed: list[base.Observation] = []
        self._news = trio.Event()

    async def end(self) -> base.Observation:
        """The last observation."""
        with trio.fail_after(PATIENCE):
            last = await self.bench.engine.follow(self.run, self._report)
        self._tell(last)
        return last

    async def logged(self, text: str) -> None:
        """Until the job has logged this line; while `end` runs in another task."""
        with trio.fail_after(PATIENCE):
            while text not in self.lines():
                await self._news.wait()

    async def logs(self, text: str) -> None:
        """Follow the job, in this task, until it has logged this line."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.end)
            await self.logged(text)
            nursery.cancel_scope.cancel()

    async def cancel(self) -> None:
        """As a user would."""
        await self.bench.engine.cancel(self.run, "Canceled by user")

    async def end_cancelled_when(self, text: str) -> base.Observation:
        """Follow the job, and cancel it as soon as it has logged this line; the last observation."""

        async def cancel() -> None:
            await self.logged(text)
            await self.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel)
            return await self.end()

    async def _report(self, observation: base.Observation) -> None:
        self._tell(observation)

    def _tell(self, observation: base.Observation) -> None:
        self.observed.append(observation)
        news, self._news = self._news, trio.Event()
        news.set()

    def records(self) -> list[list[str]]:
        """What the job has logged: of each line its time, its stream and its text."""
        path = self.bench.engine.log_path(self.run)
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                return [line.rstrip("\n").split(" ", 2) for line in file]
        except FileNotFoundError:
            return []

    def lines(self) -> list[str]:
        """The same without times and streams."""
        return [record[2] for record in self.records()]

    async def written(self, name: str) -> tuple[str, bytes]:
        """What became of an output."""
        return await self.bench.outcome(self.buffers[name])


async def start(
    bench: Bench,
    script: str,
    *,
    inputs: dict[str, bytes] | None = None,
    outputs: tuple[str, ...] = (),
    timeout_seconds: int = 600,
    age: int = 0,
    replicas: int = 1,
    worker: base.Worker | None = None,
    **more: object,
) -> Ran:
    """Start a shell text as a job whose run was created `age` seconds ago; `more` is for its codespec."""
    buffers = {name: await bench.filled(content) for name, content in (inputs or {}).items()}
    buffers |= {name: await bench.empty() for name in outputs}
    codespec = model.JobCodespec(
        image=bench.image,
        buffers=model.BufferParameters(inputs=list(inputs or {}), outputs=list(outputs)),
        **({"command": ["sh", "-c", script]} | more),  # type: ignore[arg-type] # msgspec's, checked when called
    )
    run = bench.next_run()
    await bench.engine.check(codespec, worker.codespec if worker else None)
    job = base.Job(
        run=run,
        codespec=codespec,
        buffers=buffers,
        created_at=units.to_micros(clock.now()) - age * 1_000_000,
        timeout_seconds=timeout_seconds,
        replicas=replicas,
        worker=worker,
        engine=bench.engine.traits.name,
    )
    await bench.engine.start(job)
    return Ran(bench, run, buffers)


async def run(bench: Bench, script: str, **more: object) -> tuple[Ran, base.Observation]:
    """Run a shell text to its end."""
    ran = await start(bench, script, **more)  # type: ignore[arg-type] # as above
    return ran, await ran.end()


expect, longer = verdicts.expect, verdicts.longer


def expect_in(wanted: str, found: str | None) -> None:
    """Fail with both where a text lacks a part."""
    if found is None or wanted not in found:
        raise AssertionError(f"found {found!r}, wanted one with {wanted!r} in it")

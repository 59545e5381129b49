"""What every engine promises, for the runs service above it.

An engine executes jobs and nothing else: it keeps no catalog, makes no buffers and decides no status of a run
but how its job ended. It remembers by itself what it was asked to start, so that a daemon that was killed at
any instant finds out: `follow` works for a run whichever daemon started it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

import trio

from tyger import model


class Traits(NamedTuple):
    """What an engine can do, as data. What a run asks for and is False is refused when it is created.

    `node_pools` says that a target may choose among kinds of machines; `docker` that images are those of a
    Docker or Podman engine on this host, where a client may pull them; `kubernetes` that pods are run.
    """

    name: str
    workers: bool = False
    sockets: bool = False
    gpu: bool = False
    replicas: bool = False
    ephemeral_buffers: bool = False
    node_pools: bool = False
    docker: bool = False
    kubernetes: bool = False


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be executed: a codespec, and a buffer for each of its parameters.

    `system`: a run of the system's own, which no user has submitted (`engines.several`).
    """

    run: int
    codespec: model.JobCodespec
    buffers: Mapping[str, str]
    timeout_seconds: int
    system: bool = False

    @property
    def inputs(self) -> list[str]:
        """The names of the input parameters."""
        return (self.codespec.buffers.inputs if self.codespec.buffers else None) or []

    @property
    def outputs(self) -> list[str]:
        """The names of the output parameters."""
        return (self.codespec.buffers.outputs if self.codespec.buffers else None) or []


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What is known about a job. Moments are microseconds since the epoch, `log_size` is in bytes.

    `incomplete` are the outputs that the job's end left unfinished; meaningful with a final status.
    """

    status: Literal["Pending", "Running", "Succeeded", "Failed", "Canceled"]
    reason: str | None = None
    started_at: int | None = None
    finished_at: int | None = None
    log_size: int = 0
    incomplete: tuple[str, ...] = field(default=())


class NeverStarted(Exception):  # noqa: N818 - a fact, not a failure
    """The engine knows nothing of this run: `start` was not called, or was cut before it had any effect."""


Report = Callable[[Observation], Awaitable[None]]


class Engine(Protocol):
    """Executes jobs. Runs are named by their id."""

    traits: Traits

    def check(self, codespec: model.JobCodespec) -> None:
        """Refuse what this engine, as it is configured, could not execute. Quick, before a run exists.

        Raises:
            Problem: INVALID_INPUT, saying what to do.
        """
        ...

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """The engine's own tasks; the other methods need it to run. Cancelled, jobs go on without us."""
        ...

    async def start(self, job: Job) -> None:
        """Start a job; returns when it is certain that the engine remembers it. Once per run.

        Raises:
            Problem: it could not be started, and never will be.
        """
        ...

    async def knows(self, run: int) -> bool:
        """Whether the engine was asked to start this run and has not forgotten it."""
        ...

    async def follow(self, run: int, report: Report) -> Observation:
        """Report what becomes of a run until it has ended; returns the last observation, unreported.

        Observations that change nothing may be reported, others may be skipped. Cancelled, nothing is lost:
        it can be called again, also by another daemon.

        Raises:
            NeverStarted: there is nothing to follow.
        """
        ...

    async def cancel(self, run: int, reason: str) -> None:
        """Ask a job to end: SIGTERM, after a grace SIGKILL. Returns at once; `follow` tells the end."""
        ...

    def log_path(self, run: int) -> str:
        """The file of the job's output, in records (`supervisor.log`), which only grows."""
        ...

    async def remove(self, run: int) -> None:
        """Forget an ended run: its log, its directories. Idempotent."""
        ...

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
from tygerd.engines import site


class Traits(NamedTuple):
    """What an engine can do, as data; `MEANINGS` says what each is.

    What a run asks for and is False is refused when it is created; so is a place that `site` does not have,
    where the engine has places at all.
    """

    name: str
    workers: bool = False
    sockets: bool = False
    gpu: bool = False
    replicas: bool = False
    ephemeral_buffers: bool = False
    limits: bool = False
    pull: bool = False
    node_pools: bool = False
    docker: bool = False
    kubernetes: bool = False
    site: site.Site | None = None


class Meaning(NamedTuple):
    """What a trait says of an engine that has it, and what becomes of a run that asks for it elsewhere.

    `otherwise` is empty where no run can ask for it.
    """

    held: str
    otherwise: str = "refused when the run is created"


MEANINGS: Mapping[str, Meaning] = {
    "workers": Meaning("workers beside a job, which is told their addresses"),
    "sockets": Meaning("buffers that are joined with a port on which the job listens"),
    "gpu": Meaning("GPUs for a codespec that asks for them"),
    "replicas": Meaning("several replicas of a job without outputs, and of workers"),
    "ephemeral_buffers": Meaning("buffers given as `_`: read while they are written, and kept nowhere"),
    "limits": Meaning("limits of processor time and memory are enforced"),
    "pull": Meaning("images are pulled, with `--pull` or where the configuration says so"),
    "node_pools": Meaning("a target chooses among kinds of machines", "runs wherever it may"),
    "docker": Meaning("images are those of a Docker or Podman engine on this host", ""),
    "kubernetes": Meaning("pods of a cluster are run", ""),
}
"""Of each trait, as `docs/engines.md` has it."""


@dataclass(frozen=True, kw_only=True)
class Worker:
    """What is executed beside a job, and stopped when that has ended. `node_pool` as with `Job`."""

    codespec: model.WorkerCodespec
    replicas: int = 1
    node_pool: str | None = None


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be executed: a codespec, and a buffer for each of its parameters.

    `engine` is the name of the engine that was chosen for it, and `system` says that it is a run of the
    system's own, which no user has submitted (`engines.several`). `created_at` is in microseconds since the
    epoch; the timeout counts from then. `node_pool` is the kind of machine that was asked for, and
    `access_ttl` for how many seconds an address of a buffer is valid; both for engines that have such.
    """

    run: int
    codespec: model.JobCodespec
    buffers: Mapping[str, str]
    created_at: int
    timeout_seconds: int
    replicas: int = 1
    worker: Worker | None = None
    engine: str = ""
    system: bool = False
    node_pool: str | None = None
    access_ttl: float = 3600.0

    @property
    def deadline(self) -> int:
        """When it must have ended, in microseconds since the epoch."""
        return self.created_at + self.timeout_seconds * 1_000_000

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
    `running_count` are the replicas that run, where there are several; `image_digest` names what the job's
    image was.
    """

    status: Literal["Pending", "Running", "Succeeded", "Failed", "Canceled"]
    reason: str | None = None
    started_at: int | None = None
    finished_at: int | None = None
    log_size: int = 0
    incomplete: tuple[str, ...] = field(default=())
    running_count: int | None = None
    image_digest: str | None = None


class NeverStarted(Exception):  # noqa: N818 - a fact, not a failure
    """The engine knows nothing of this run: `start` was not called, or was cut before it had any effect."""


class OutOfReach(Exception):  # noqa: N818 - a fact, not a failure
    """A run cannot be asked about with the configuration as it is, in words; another may have it go on."""


Report = Callable[[Observation], Awaitable[None]]

Progress = Callable[[str], Awaitable[None]]
"""Is told in a line, for people, how far the fetching of an image has come."""


class Engine(Protocol):
    """Executes jobs. Runs are named by their id."""

    @property
    def traits(self) -> Traits:
        """What it can do; may become known only once it has been reached."""
        ...

    async def unavailable(self) -> str | None:
        """Why it can execute nothing at present, in a clause such as `no socket at ...`; None: it can.

        Quick: what was found out a moment ago counts.
        """
        ...

    async def check(
        self, codespec: model.JobCodespec, worker: model.WorkerCodespec | None = None, *, pull: bool = False
    ) -> None:
        """Refuse what this engine, as it is configured, could not execute. Quick, before a run exists.

        An image that is missing is refused unless `prepare` with the same `pull` would fetch it.

        Raises:
            Problem: INVALID_INPUT, saying what to do; another kind when the engine cannot be asked.
        """
        ...

    async def prepare(self, image: str, progress: Progress, *, pull: bool = False) -> None:
        """Make an image present that `check` let pass, before a run exists; quick where it is.

        It is fetched with `pull`, or where it is missing and the configuration says so. Cancelled, it can be
        repeated.

        Raises:
            Problem: it cannot be had, saying what to do.
        """
        ...

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """The engine's own tasks; the other methods need it to run. Cancelled, jobs go on without us."""
        ...

    async def start(self, job: Job) -> None:
        """Start a job; returns when it is certain that the engine remembers it. Once per run.

        Raises:
            Problem: it could not be started, and never will be.
            OutOfReach: not by this daemon.
        """
        ...

    async def knows(self, run: int) -> bool:
        """Whether the engine was asked to start this run and has not forgotten it."""
        ...

    def has(self, run: int) -> bool:
        """Whether anything of this run is here, be it only half prepared. Does not block."""
        ...

    async def follow(self, run: int, report: Report) -> Observation:
        """Report what becomes of a run until it has ended; returns the last observation, unreported.

        Observations that change nothing may be reported, others may be skipped. Cancelled, nothing is lost:
        it can be called again, also by another daemon.

        Raises:
            NeverStarted: there is nothing to follow.
            OutOfReach: not by this daemon.
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

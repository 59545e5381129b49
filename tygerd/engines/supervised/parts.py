"""What a supervisor is told of a job whatever executes it: its streams, and its programs' names. Pure."""

from __future__ import annotations

from typing import NamedTuple

from tygerd import config
from tygerd.engines import base
from tygerd.engines.supervised import serving
from tygerd.supervisor import spec


class Part(NamedTuple):
    """One program of a run: its name, the directory of its pipes, and what stands before the lines it logs.

    `number` counts the replicas of its side from 0.
    """

    name: str
    number: int
    pipes: str
    label: str


def replicas(job: base.Job) -> list[Part]:
    """The replicas of the job."""
    if job.replicas == 1:
        return [Part("main", 0, "", _label(job, "[job]"))]
    names = [f"job-{number}" for number in range(job.replicas)]
    return [Part(name, number, str(number), _label(job, f"[{name}]")) for number, name in enumerate(names)]


def workers(job: base.Job) -> list[Part]:
    """The replicas of its worker, if it has one. They have no pipes."""
    count = job.worker.replicas if job.worker else 0
    names = [f"worker-{number}" for number in range(count)]
    return [
        Part(name, number, "", f"[{name}]" if count > 1 else "[worker]") for number, name in enumerate(names)
    ]


def _label(job: base.Job, pod: str) -> str:
    """As in a cluster: which pod, where there are several; which container, where a pod has several.

    A single pod's container is named by whoever reads the log (`runs.records`), as it always was.
    """
    if job.replicas == 1 and not job.worker:
        return ""
    return f"{pod}[main]" if job.inputs or job.outputs else pod


def frame(job: base.Job, *, daemon_socket: str, store: config.Store, pipe_mode: int = 0o600) -> spec.Spec:
    """The spec of a job without its programs. `pipe_mode` is that of its FIFOs."""
    return spec.Spec(
        run=job.run,
        mains=(),
        daemon_socket=daemon_socket,
        inputs=tuple(spec.Pipe(name, job.buffers[name], pipe_mode) for name in job.inputs),
        outputs=tuple(spec.Pipe(name, job.buffers[name], pipe_mode) for name in job.outputs),
        sockets=serving.sockets(job.codespec),
        timeout=job.timeout_seconds,
        deadline=job.deadline,
        block_size=store.block_size,
        flush_interval=store.flush_interval,
    )

"""What a submitted run must satisfy, and which buffers it still needs. Pure but for new ids.

Everything is checked before anything is made: the original finds left-over arguments only after it has made
the missing buffers, which then leak.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from tyger import errors, model
from tygerd import quantity
from tygerd.buffers import access, ids, tags
from tygerd.engines import base
from tygerd.runs import resource

EPHEMERAL = "_"
"""The argument that asks for a buffer which exists only while its run does."""

MOST_REPLICAS = 100
"""Of a job, and of a worker: far above what one host executes, and a bound on what a typing error starts."""


class Arguments(NamedTuple):
    """A run's buffers: those it was given, by parameter, and the parameters that need one, in order."""

    given: Mapping[str, str]
    missing: list[str]


def check_form(run: model.Run) -> None:
    """Refuse what no server takes, whatever it knows; all but the codespec.

    Raises:
        Problem: INVALID_INPUT.
    """
    resource.span(run.job.buffer_ttl, "$.job.bufferTtl")
    resource.span(run.buffer_access_ttl, "$.bufferAccessTtl")
    if run.kind == "system":
        raise _refused("System runs cannot be created directly")
    for name, replicas in (
        ("job", run.job.replicas),
        ("worker", run.worker.replicas if run.worker else None),
    ):
        if replicas is not None and not 1 <= replicas <= MOST_REPLICAS:
            raise _refused(f"{name}.replicas must be between 1 and {MOST_REPLICAS}, not {replicas}")
    tags.check(run.tags or {})


def check_access(run: model.Run, *, with_buffers: bool) -> None:
    """Refuse access URLs of a life that none can have; without buffers there are none.

    Raises:
        Problem: INVALID_INPUT, as when one is asked for.
    """
    if with_buffers:
        access.lifetime(resource.span(run.buffer_access_ttl, "$.bufferAccessTtl"))


def check(run: model.Run, traits: base.Traits) -> None:
    """Refuse what not this engine can do; before the codespec is looked at.

    Raises:
        Problem: INVALID_INPUT, naming it.
    """
    if run.worker is not None and not traits.workers:
        raise _refused("Runs with workers are only supported on Kubernetes")
    if traits.site is not None:
        traits.site.cluster(run.cluster)
        traits.site.pool(run.job.node_pool)
        traits.site.pool(run.worker.node_pool if run.worker else None)
    for replicas, of in ((run.job.replicas, "job"), (run.worker and run.worker.replicas, "worker")):
        if replicas not in (None, 1) and not traits.replicas:
            raise _refused(f"replicas: the {traits.name} engine runs one replica of a {of}, not {replicas}")
    for name, buffer in (run.job.buffers or {}).items():
        if buffer == EPHEMERAL and not traits.ephemeral_buffers:
            raise _refused(
                f"buffers: '{name}' is '_', but ephemeral buffers are not supported by the {traits.name}"
                " engine; leave it out to have a buffer made"
            )


def check_pull(traits: base.Traits) -> None:
    """Refuse to fetch images with an engine that has none.

    Raises:
        Problem: INVALID_INPUT.
    """
    if not traits.pull:
        raise _refused(f"pull: the {traits.name} engine has no images that could be pulled")


def job_codespec(codespec: model.Codespec) -> model.JobCodespec:
    """The codespec of a job. Raises `Problem`, INVALID_INPUT, for another's."""
    if not isinstance(codespec, model.JobCodespec):
        raise _refused("the job's codespec is of kind 'worker'; a job needs one of kind 'job'")
    return codespec


def worker_codespec(codespec: model.Codespec) -> model.WorkerCodespec:
    """The codespec of workers. Raises `Problem`, INVALID_INPUT, for another's."""
    if not isinstance(codespec, model.WorkerCodespec):
        raise _refused("the worker's codespec is of kind 'job'; a worker needs one of kind 'worker'")
    return codespec


def check_codespecs(
    codespec: model.JobCodespec, worker: model.WorkerCodespec | None, traits: base.Traits
) -> None:
    """Refuse codespecs that ask for what not this engine can do.

    Raises:
        Problem: INVALID_INPUT, naming it.
    """
    if codespec.sockets and not traits.sockets:
        raise _refused(f"sockets are not supported by the {traits.name} engine")
    for each in (codespec, worker):
        if each is not None and not traits.limits and (which := _limited(each)):
            raise _refused(
                f"limits: the {traits.name} engine does not limit a job's {which}; leave"
                f" resources.limits.{which} out"
            )
        gpu = each.resources.gpu if each and each.resources else None
        if gpu is None or traits.gpu or not quantity.parse(gpu).nanos:
            continue
        if traits.docker:
            raise _refused(
                "The Docker engine does not have the NVIDIA runtime installed, which is required for GPU"
                " support."
            )
        raise _refused(f"gpu: the {traits.name} engine gives no GPU to a job; leave resources.gpu out")


def check_pools(
    run: model.Run, codespec: model.JobCodespec, worker: model.WorkerCodespec | None, traits: base.Traits
) -> None:
    """Refuse a pool of nodes that has not what a codespec needs.

    Raises:
        Problem: INVALID_INPUT, naming both.
    """
    if traits.site is None:
        return
    for target, each in ((run.job, codespec), (run.worker, worker)):
        if target is not None and each is not None and each.resources is not None:
            traits.site.pool(target.node_pool, each.resources.gpu)


def check_replicas(run: model.Run, codespec: model.JobCodespec) -> None:
    """Refuse several replicas of a job that could not all have its buffers or its ports.

    Raises:
        Problem: INVALID_INPUT, naming the buffer.
    """
    if run.job.replicas in (None, 1):
        return
    if codespec.sockets:  # not all engines have ports for each of them
        raise _refused(f"replicas: a job with sockets has one replica, not {run.job.replicas}")
    buffers = codespec.buffers or model.BufferParameters()
    for name in buffers.outputs or []:
        raise _refused(
            f"replicas: all {run.job.replicas} replicas would write the output '{name}', and only one writer"
            " can; a job with outputs has one replica"
        )
    for name in buffers.inputs or []:
        if (run.job.buffers or {}).get(name) == EPHEMERAL:
            raise _refused(
                f"replicas: all {run.job.replicas} replicas would read the ephemeral buffer '{name}', which"
                " can be read once"
            )


def arguments(run: model.Run, codespec: model.JobCodespec) -> Arguments:
    """Match a run's buffer arguments with its codespec's parameters, inputs before outputs.

    Raises:
        Problem: INVALID_INPUT for an argument without a parameter.
    """
    buffers = codespec.buffers or model.BufferParameters()
    parameters = [*(buffers.inputs or []), *(buffers.outputs or [])]
    given = run.job.buffers or {}
    for name, buffer in given.items():
        if name not in parameters:
            raise _refused(
                f"Buffer argument '[{name}, {buffer}]' does not correspond to a buffer parameter"
                " on the codespec"
            )
    return Arguments(given, [name for name in parameters if name not in given])


def started(given: Mapping[str, str]) -> dict[str, str]:
    """The arguments with an id for each ephemeral buffer, in which the run's own is still to be put."""
    return {
        name: f"{resource.TEMPORARY}{ids.new()}" if buffer == EPHEMERAL else buffer
        for name, buffer in given.items()
    }


def _limited(codespec: model.CodespecBase) -> str | None:
    """Of what it asks for a limit."""
    limits = codespec.resources.limits if codespec.resources else None
    for which in ("cpu", "memory"):
        value = getattr(limits, which, None)
        if value is not None and quantity.parse(value).nanos:
            return which
    return None


def _refused(message: str) -> errors.Problem:
    return errors.Problem(errors.INVALID_INPUT, message)

"""A run as the API shows it, and as the catalog keeps it. Pure.

The row's `body` is the run as it was submitted, resolved and filled in; what changes later (status, moments,
tags) stands in columns and is put in here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TypeVar

import msgspec

from tyger import errors, model, units
from tygerd.catalog import etags
from tygerd.catalog import runs as queries
from tygerd.runs import states

DEFAULT_TIMEOUT = 43_200
DEFAULT_ACCESS_TTL = timedelta(hours=1)

TEMPORARY = "temp-"
"""What the id of an ephemeral buffer begins with while its run has no id."""

PROCESS = "process"
"""The engine of which nothing is shown: what clients of the original see of its runs is as it was there."""

C = TypeVar("C", model.JobCodespec, model.WorkerCodespec)

_decoder = msgspec.json.Decoder(model.Run)


def normalized(
    wanted: model.Run,
    codespec: model.JobCodespec,
    buffers: Mapping[str, str],
    worker: model.WorkerCodespec | None = None,
    cluster: str | None = None,
) -> model.Run:
    """The run that is kept and shown, without its tags: resolved, defaults filled in, nothing of ours.

    `cluster` is the one that it is for, where its engine has such.
    """
    job = model.JobTarget(
        codespec=codespec,
        buffers=dict(buffers) or None,
        tags=wanted.job.tags,
        buffer_ttl=_canonical(wanted.job.buffer_ttl, "$.job.bufferTtl"),
        node_pool=wanted.job.node_pool,
        replicas=1 if wanted.job.replicas is None else wanted.job.replicas,
    )
    target = None
    if wanted.worker is not None and worker is not None:
        target = model.WorkerTarget(
            codespec=worker, node_pool=wanted.worker.node_pool, replicas=wanted.worker.replicas
        )
    access_ttl = _canonical(wanted.buffer_access_ttl, "$.bufferAccessTtl")
    return model.Run(
        job=job,
        worker=target,
        cluster=cluster,
        timeout_seconds=DEFAULT_TIMEOUT if wanted.timeout_seconds is None else wanted.timeout_seconds,
        buffer_access_ttl=access_ttl or units.format_timespan(DEFAULT_ACCESS_TTL),
    )


def named(run: model.Run, run_id: int) -> model.Run:
    """The run with its id in those of its ephemeral buffers, by which they are reached (rest-api.md 6.2)."""
    buffers = run.job.buffers or {}
    final = {
        name: f"run-{run_id}-{buffer}" if buffer.startswith(TEMPORARY) else buffer
        for name, buffer in buffers.items()
    }
    if final == buffers:
        return run
    return msgspec.structs.replace(run, job=msgspec.structs.replace(run.job, buffers=final))


def encode(run: model.Run) -> str:
    """The `body` of a row: a codespec's name and version are not kept (rest-api.md 6.1)."""
    job = msgspec.structs.replace(run.job, codespec=_bare(codespec_of(run)))
    worker = run.worker
    if worker is not None:
        worker = msgspec.structs.replace(worker, codespec=_bare(worker_codespec_of(worker)))
    return msgspec.json.encode(msgspec.structs.replace(run, job=job, worker=worker)).decode()


def decode(row: queries.RunRow) -> model.Run:
    """The body of a row, without what has become of the run."""
    return _decoder.decode(row.body)


def shown(row: queries.RunRow, body: model.Run | None = None) -> model.Run:
    """The run as the API shows it; `body` where its codespec's name and version are still known."""
    run = body or decode(row)
    return msgspec.structs.replace(
        run,
        id=row.id,
        e_tag=etag(row, run),
        status=states.known(row.status),
        status_reason=row.status_reason,
        running_count=row.running_count,
        created_at=_printed(row.created_at),
        started_at=_printed(row.started_at),
        finished_at=_printed(row.finished_at),
        tags=row.tags or None,
        **({} if row.engine == PROCESS else {"engine": row.engine, "image_digest": row.image_digest}),
    )


def etag(row: queries.RunRow, body: model.Run | None = None) -> str:
    """The run's ETag, which covers its status as well as its tags."""
    run = body or decode(row)
    return etags.of_run(
        row.id,
        status=row.status,
        status_reason=row.status_reason,
        running_count=row.running_count,
        started_at=row.started_at,
        finished_at=row.finished_at,
        cluster=run.cluster,
        job_node_pool=run.job.node_pool,
        worker_node_pool=run.worker.node_pool if run.worker else None,
        has_worker=run.worker is not None,
        tags=row.tags,
    )


def is_wide(run: model.Run) -> bool:
    """Whether it consists of several programs, replicas or workers (rest-api.md 10)."""
    return run.worker is not None or run.job.replicas not in (None, 1)


def codespec_of(run: model.Run) -> model.JobCodespec:
    """The codespec of a run that was resolved."""
    if not isinstance(run.job.codespec, model.JobCodespec):
        raise TypeError("the run's codespec was never resolved")
    return run.job.codespec


def worker_codespec_of(target: model.WorkerTarget) -> model.WorkerCodespec:
    """The codespec of the workers of a run that was resolved."""
    if not isinstance(target.codespec, model.WorkerCodespec):
        raise TypeError("the worker's codespec was never resolved")
    return target.codespec


def span(text: str | None, path: str) -> timedelta | None:
    """A duration of the request.

    Raises:
        Problem: INVALID_INPUT.
    """
    try:
        return None if text is None else units.parse_timespan(text)
    except errors.Problem as problem:
        detail = f"Error deserializing input: {problem.message} Path: {path}"
        raise errors.Problem(errors.INVALID_INPUT, detail) from None


def _bare(codespec: C) -> C:
    return msgspec.structs.replace(codespec, name=None, version=None, created_at=None)


def _canonical(text: str | None, path: str) -> str | None:
    parsed = span(text, path)
    return None if parsed is None else units.format_timespan(parsed)


def _printed(micros: int | None) -> str | None:
    return None if micros is None else units.format_micros(micros)

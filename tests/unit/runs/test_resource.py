"""A run as it is kept and shown."""

from __future__ import annotations

import msgspec
import pytest

from tests.unit.runs.conftest import wanted
from tyger import errors, model
from tygerd.catalog import runs as queries
from tygerd.runs import resource

CODESPEC = model.JobCodespec(
    image="x", name="n", version=3, created_at="2024-01-25T18:20:49+00:00", command=["true"]
)


def row(body: str, **more) -> queries.RunRow:
    fields = {
        "id": 17,
        "status": "Pending",
        "status_reason": None,
        "running_count": None,
        "created_at": 1_706_206_849_951_262,
        "started_at": None,
        "finished_at": None,
        "logs_archived_at": None,
        "final": False,
        "owner_uid": 0,
        "owner": "o",
        "epoch": 1,
        "engine": "process",
        "image_digest": None,
        "tags": {},
    }
    return queries.RunRow(body=body, **(fields | more))


def test_defaults_are_filled_in():
    run = resource.normalized(wanted(), CODESPEC, {})
    assert (run.timeout_seconds, run.buffer_access_ttl, run.job.replicas) == (43200, "01:00:00", 1)
    assert run.job.buffers is None


def test_what_was_given_stays():
    asked = wanted(
        timeout_seconds=0,
        buffer_access_ttl="0:05",
        cluster="c",
        id=9,
        status="Running",
        job={"buffer_ttl": "1", "tags": {"a": "b"}, "node_pool": "p"},
    )
    run = resource.normalized(asked, CODESPEC, {"in": "id"})
    assert (run.timeout_seconds, run.buffer_access_ttl, run.cluster, run.id, run.status) == (
        0,
        "00:05:00",
        None,
        None,
        None,
    )
    assert run.job == model.JobTarget(
        codespec=CODESPEC,
        buffers={"in": "id"},
        tags={"a": "b"},
        buffer_ttl="1.00:00:00",
        node_pool="p",
        replicas=1,
    )


def test_durations_that_are_none():
    for asked in (wanted(buffer_access_ttl="soon"), wanted(job={"buffer_ttl": "1h"})):
        with pytest.raises(errors.Problem, match="Error deserializing input"):
            resource.normalized(asked, CODESPEC, {})


def test_what_is_kept_has_no_name_of_a_codespec_and_what_is_answered_has():
    run = resource.normalized(wanted(tags={"a": "b"}), CODESPEC, {})
    kept = row(resource.encode(run), tags={"a": "b"})
    assert msgspec.to_builtins(resource.shown(kept, run))["job"]["codespec"]["name"] == "n"
    assert msgspec.to_builtins(resource.shown(kept)) == {
        "id": 17,
        "eTag": resource.etag(kept),
        "status": "Pending",
        "createdAt": "2024-01-25T18:20:49.951262+00:00",
        "job": {"codespec": {"kind": "job", "image": "x", "command": ["true"]}, "replicas": 1},
        "timeoutSeconds": 43200,
        "tags": {"a": "b"},
        "bufferAccessTtl": "01:00:00",
    }


def test_the_etag_follows_status_and_tags():
    body = resource.encode(resource.normalized(wanted(), CODESPEC, {}))
    tags = [
        resource.etag(row(body)),
        resource.etag(row(body, status="Running")),
        resource.etag(row(body, tags={"a": ""})),
    ]
    assert len(set(tags)) == 3


def test_a_reference_that_was_never_resolved():
    with pytest.raises(TypeError):
        resource.codespec_of(model.Run(job=model.JobTarget(codespec="x")))


WORKER = model.WorkerCodespec(image="w", name="n", version=2, endpoints={"a": 1})


def test_workers_and_replicas_are_kept():
    target = model.WorkerTarget(codespec="n", node_pool="p", replicas=3)
    run = resource.normalized(wanted(worker=target, job={"replicas": 2}), CODESPEC, {}, WORKER)
    kept = resource.decode(row(resource.encode(run)))
    assert kept.job.replicas == 2
    assert kept.worker.replicas == 3
    # A codespec's name and version are known to the answer to its creation only.
    assert run.worker.codespec == WORKER
    assert kept.worker.codespec == msgspec.structs.replace(WORKER, name=None, version=None)
    assert resource.worker_codespec_of(kept.worker).endpoints == {"a": 1}
    with pytest.raises(TypeError):
        resource.worker_codespec_of(target)


def test_which_runs_have_several_programs():
    def wide(**more):
        return resource.is_wide(resource.normalized(wanted(job=more), CODESPEC, {}))

    assert not wide()
    assert wide(replicas=2)
    target = model.WorkerTarget(codespec="n")
    assert resource.is_wide(resource.normalized(wanted(worker=target), CODESPEC, {}, WORKER))


def test_workers_count_in_the_etag():
    body = resource.encode(resource.normalized(wanted(), CODESPEC, {}))
    target = model.WorkerTarget(codespec="n", node_pool="p")
    beside = resource.encode(resource.normalized(wanted(worker=target), CODESPEC, {}, WORKER))
    assert resource.etag(row(body)) != resource.etag(row(beside))


def test_the_engine_is_shown_where_it_is_not_the_process_engine():
    body = resource.encode(resource.normalized(wanted(), CODESPEC, {}))
    shown = resource.shown(row(body, engine="container", image_digest="sha256:1"))
    assert (shown.engine, shown.image_digest) == ("container", "sha256:1")
    shown = resource.shown(row(body, image_digest="sha256:1"))
    assert (shown.engine, shown.image_digest) == (None, None)

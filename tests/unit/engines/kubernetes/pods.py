"""Jobs, and pods as a cluster would show them, for the tests beside this file."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from tyger import model, units
from tygerd import enginesettings
from tygerd.engines import base
from tygerd.engines.kubernetes import objects

INSTALLATION = "0123456789abcdef0123456789abcdef"
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""Of tests with examples: a machine may be busy with other things."""

T0 = 1_700_000_000_000_000
"""A whole second, in microseconds."""


def place(**settings):
    return objects.Place(INSTALLATION, "ns", enginesettings.Kubernetes(**settings))


def job(*, run=7, created_at=T0, inputs=(), outputs=(), replicas=1, worker=None, node_pool=None, **codespec):
    parameters = model.BufferParameters(inputs=list(inputs), outputs=list(outputs))
    codespec = {"image": "busybox", "command": ["true"], "buffers": parameters} | codespec
    return base.Job(
        run=run,
        codespec=model.JobCodespec(**codespec),
        buffers={name: f"buffer-{name}" for name in (*inputs, *outputs)},
        created_at=created_at,
        timeout_seconds=600,
        replicas=replicas,
        worker=worker,
        node_pool=node_pool,
    )


def worker(replicas=1, node_pool=None, **codespec):
    codespec = {"image": "server", "command": ["serve"]} | codespec
    return base.Worker(codespec=model.WorkerCodespec(**codespec), replicas=replicas, node_pool=node_pool)


def at(seconds):
    """A moment as Kubernetes writes it."""
    return units.format_timestamp(units.from_micros(T0 + int(seconds) * 1_000_000)).replace("+00:00", "Z")


def running(since=1):
    return {"running": {"startedAt": at(since)}}


def ended(code=0, finished=5, reason="Completed", message="", started=1):
    state = {"exitCode": code, "reason": reason, "startedAt": at(started), "finishedAt": at(finished)}
    return {"terminated": state | ({"message": message} if message else {})}


def waiting(reason="PodInitializing", message=""):
    return {"waiting": {"reason": reason} | ({"message": message} if message else {})}


def status(name, state, *, before=None, ready=False, image="busybox", image_id=""):
    return {
        "name": name,
        "image": image,
        "imageID": image_id,
        "state": state,
        "lastState": before or {},
        "ready": ready,
        "started": "running" in state,
    }


def pod(part="job-0", *containers, init=(), phase="Running", run=7, deleted=False, node="node", **more):
    """A pod with these statuses; `more` is for its own status."""
    conditions = more.pop("conditions", None) or [
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": at(0)},
        {"type": "Initialized", "status": "True", "lastTransitionTime": at(0)},
    ]
    metadata = {"name": objects.name_of(INSTALLATION, run, part), "labels": {"tyger-run": str(run)}}
    if deleted:
        metadata["deletionTimestamp"] = at(4)
    return {
        "metadata": metadata,
        "spec": {"nodeName": node} if node else {},
        "status": {
            "phase": phase,
            "conditions": conditions,
            "containerStatuses": list(containers),
            "initContainerStatuses": list(init),
            **more,
        },
    }

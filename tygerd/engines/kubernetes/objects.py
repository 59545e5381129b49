"""What is created in a cluster for a run: complete objects as JSON, contract compute.md 3 and 4. Pure.

Everything is owned by the run's Secret, which always exists: with that gone, the cluster takes the rest away.
The owner's uid is known only once it is there (`owned`). A job's pod keeps a finalizer until its end was
noted, as nobody else remembers how it ended.

Source of the format: the Kubernetes API, v1 and apps/v1, 1.30 and newer (sidecars are init containers with
`restartPolicy: Always`).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from tyger import errors, model
from tygerd import enginesettings
from tygerd.engines import base, endpoints
from tygerd.engines.container import images
from tygerd.engines.kubernetes import containers, placement, pumpargs
from tygerd.engines.process import environment
from tygerd.engines.supervised import serving

Object = containers.Object

RUN, JOB, WORKER, INSTALLATION = "tyger-run", "tyger-job", "tyger-worker", "tyger-installation"
"""Labels: the run's number, again for each of its sides, and whose it is."""

IDENTITY = "azure.workload.identity/use"
"""Label on which Azure's webhook acts."""

FINALIZER = "tyger.local/status"
"""Of a job's pod, until its end was noted."""

PUMP_GRACE = 86_400
"""Seconds that the kubelet gives the pumps to bring outputs home once main has ended. It is the whole pod's
grace; who ends a pod from here says a shorter one.
"""

DEADLINE_MARGIN = 300
"""Seconds after a run's deadline that the kubelet ends its pods by itself, for want of a daemon.

Not at the same time: it would leave them the whole of `PUMP_GRACE`, and a kubelet that waits does not listen
to who says a shorter one.
"""

MOST_SECONDS = 2**31 - 1
"""The longest time that the API takes for a deadline."""


class Place(NamedTuple):
    """What the objects depend on and what is the same for all runs. `namespace` is where they are."""

    installation: str
    namespace: str
    settings: enginesettings.Kubernetes


class Objects(NamedTuple):
    """All of a run, without their owner. Workers are first, if there are any."""

    secret: Object
    pods: list[Object]
    service: Object | None = None
    stateful_set: Object | None = None


def name_of(installation: str, run: int, part: str) -> str:
    """The name of an object: there is one of each, whoever creates it."""
    return f"run-{run}-{installation[:8]}-{part}"


def labels_of_all(installation: str) -> dict[str, str]:
    """The labels of everything that this installation has in the cluster."""
    return {INSTALLATION: installation}


def run_of(item: Object) -> int | None:
    """The run that an object belongs to; None where its label says nothing of the kind."""
    text = str((item.get("metadata", {}).get("labels") or {}).get(RUN, ""))
    return int(text) if text.isascii() and text.isdigit() else None


def owned(item: Object, owner: Object) -> Object:
    """An object that goes when its owner goes. `owner` is what the cluster has."""
    reference = {
        "apiVersion": "v1",
        "kind": "Secret",
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
    }
    return {**item, "metadata": {**item["metadata"], "ownerReferences": [reference]}}


def check(codespec: model.CodespecBase, settings: enginesettings.Kubernetes) -> None:
    """Refuse what no cluster takes, or what the configuration does not have.

    Raises:
        Problem: INVALID_INPUT, naming the field.
    """
    images.check(codespec.image)
    environment.check_words(codespec)
    if isinstance(codespec, model.WorkerCodespec):
        endpoints.check(codespec.endpoints or {})
    if codespec.working_dir and not codespec.working_dir.startswith("/"):
        raise _refused(f"workingDir: it must be an absolute path, not '{codespec.working_dir}'")
    if codespec.identity and not settings.identities:
        raise _refused(f"Identity '{codespec.identity}' is not supported.")
    if codespec.identity and codespec.identity not in settings.identities:
        names = ", ".join(f"'{name}'" for name in settings.identities)
        raise _refused(f"Unknown identity '{codespec.identity}'. Valid options are: {names}.")


def compose(job: base.Job, place: Place) -> Objects:
    """All that a run needs. The Secret is still empty: addresses of buffers are made when it is created.

    Raises:
        Problem: INVALID_INPUT, the configuration does not have what the run was created for.
    """
    check(job.codespec, place.settings)
    labels = _labels(job, place, JOB, job.codespec)
    secret: Object = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name_of(place.installation, job.run, "job"), "labels": labels},
        "type": "Opaque",
    }
    pods = [_job_pod(job, place, number, labels) for number in range(job.replicas)]
    if job.worker is None:
        return Objects(secret, pods)
    check(job.worker.codespec, place.settings)
    service, stateful_set = _workers(job, job.worker, place)
    return Objects(secret, pods, service, stateful_set)


def hosts(job: base.Job, place: Place) -> list[str]:
    """The names at which a job reaches its workers, contract compute.md 4.4."""
    name = name_of(place.installation, job.run, "worker")
    suffix = f"{name}.{place.namespace}.svc.cluster.local"
    return [f"{name}-{number}.{suffix}" for number in range(job.worker.replicas if job.worker else 0)]


# --- pods --------------------------------------------------------------------------------------------------


def _job_pod(job: base.Job, place: Place, number: int, labels: dict[str, str]) -> Object:
    settings, codespec = place.settings, job.codespec
    pumped = bool(job.inputs or job.outputs or codespec.sockets)
    piped = serving.piped(codespec)
    told = {environment.pipe_variable(name): f"{pumpargs.FIFOS}/{name}" for name in piped}
    workers = hosts(job, place)
    if job.worker:
        told |= endpoints.variables(job.worker.codespec, workers)
    volumes, mounts = containers.volumes(codespec)
    first: list[Object] = []
    if workers:  # the pumps make their pipes themselves: each container before main costs a run a second
        first.append(containers.prepare(settings, (), workers))
    if pumped:
        first.append(containers.pumps(job, settings))
        volumes += containers.pump_volumes(name_of(place.installation, job.run, "job"))
    if piped:  # read-only: pipes can be written to all the same, but neither removed nor replaced by files
        mounts.append({"name": containers.FIFOS, "mountPath": pumpargs.FIFOS, "readOnly": True})
    main = containers.main(job.run, codespec, settings, told, mounts)
    annotations = _annotations(job) | ({"tyger-has-socket": "true"} if codespec.sockets else {})
    spec = _pod_spec(codespec, place, job.node_pool, [main], volumes) | {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": min(max(1, job.timeout_seconds) + DEADLINE_MARGIN, MOST_SECONDS),
        "serviceAccountName": settings.identities.get(codespec.identity or "", settings.job_service_account),
        "terminationGracePeriodSeconds": PUMP_GRACE if pumped else _grace(settings),
    }
    if first:
        spec["initContainers"] = first
    name = name_of(place.installation, job.run, f"job-{number}")
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": labels,
            "annotations": annotations,
            "finalizers": [FINALIZER],
        },
        "spec": spec,
    }


def _workers(job: base.Job, worker: base.Worker, place: Place) -> tuple[Object, Object]:
    name = name_of(place.installation, job.run, "worker")
    labels = _labels(job, place, WORKER, worker.codespec)
    codespec = worker.codespec
    volumes, mounts = containers.volumes(codespec)
    main = containers.main(job.run, codespec, place.settings, {}, mounts)
    spec = _pod_spec(codespec, place, worker.node_pool, [main], volumes)
    spec["terminationGracePeriodSeconds"] = _grace(place.settings)
    if codespec.identity:
        spec["serviceAccountName"] = place.settings.identities[codespec.identity]
    metadata = {"name": name, "labels": labels}
    service: Object = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        # A name stays although its program has ended: that is the program's affair, not the network's.
        "spec": {"clusterIP": "None", "selector": labels, "publishNotReadyAddresses": True},
    }
    stateful_set: Object = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata,
        "spec": {
            "podManagementPolicy": "Parallel",
            "replicas": worker.replicas,
            "serviceName": name,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels, "annotations": _annotations(job)}, "spec": spec},
        },
    }
    return service, stateful_set


def _pod_spec(
    codespec: model.CodespecBase,
    place: Place,
    pool: str | None,
    containers: list[Object],
    volumes: list[Object],
) -> Object:
    """What pods of both sides have."""
    settings = place.settings
    spec: Object = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        # Main is no init: it ends on signals as anywhere else, and its orphans are reaped.
        "shareProcessNamespace": True,
        "containers": containers,
        **placement.of(codespec, pool, settings),
    }
    if volumes:
        spec["volumes"] = volumes
    registry = codespec.image.split("/", 1)[0]
    secrets = [settings.pull_secrets[key] for key in ("*", registry) if key in settings.pull_secrets]
    if secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in dict.fromkeys(secrets)]
    if settings.main_security == "restricted":
        spec["securityContext"] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    return spec


def _labels(job: base.Job, place: Place, side: str, codespec: model.CodespecBase) -> dict[str, str]:
    return {
        RUN: str(job.run),
        side: str(job.run),
        INSTALLATION: place.installation,
        IDENTITY: "true" if codespec.identity else "false",
    }


def _annotations(job: base.Job) -> dict[str, str]:
    workers = job.worker.replicas if job.worker else 0
    return {"tyger-job-replica-count": str(job.replicas), "tyger-worker-replica-count": str(workers)}


def _grace(settings: enginesettings.Kubernetes) -> int:
    """Whole seconds, as the API wants them; 0 would be no grace and no signal."""
    return max(1, math.ceil(settings.cancel_grace))


def _refused(message: str) -> errors.Problem:
    return errors.Problem(errors.INVALID_INPUT, message)

"""The containers of a run's pods, and the volumes that they share. Pure.

`main` is the codespec's program; `pumps` moves the bytes of all of a pod's buffers and sockets beside it, and
`prepare` waits for workers before. Ours meet the Pod Security standard `restricted`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tyger import model
from tygerd import enginesettings
from tygerd.engines import base
from tygerd.engines.kubernetes import pumpargs
from tygerd.engines.supervised import serving

Object = dict[str, Any]
"""An object of the API, or a part of one."""

MAIN, PUMPS, PREPARE = "main", "pumps", "prepare"
"""Their names."""

HOME = "/tmp/home"  # noqa: S108 - inside a pod
"""The home of a program: empty, and its own."""

FIFOS = "fifos"
"""The volume of the pipes."""

API_ACCESS = "/var/run/secrets/kubernetes.io/serviceaccount"
"""Where programs expect the token for the API."""

TOKEN_SECONDS = 3600
"""The life of that token; the kubelet renews it."""

PUMP_USER = 52_173
"""A user that no image has: processes of a pod see each other, and into most the same user's may look."""

_PULL = {"never": "Never", "missing": "IfNotPresent", "always": "Always"}

_RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""What the Pod Security standard of that name asks of a container."""


def main(
    run: int,
    codespec: model.CodespecBase,
    settings: enginesettings.Kubernetes,
    told: Mapping[str, str],
    mounts: Sequence[Object],
) -> Object:
    """The container of a codespec's program. `told` are the variables for its pipes and workers.

    They stand before the codespec's own, so that a value of those may name them; as with the other engines
    nothing of the codespec's takes their place.
    """
    own = {name: value for name, value in (codespec.env or {}).items() if name not in told}
    env = {"TYGER_RUN_ID": str(run), "HOME": HOME, **told}
    first = {name: value for name, value in env.items() if name not in own}
    container: Object = {
        "name": MAIN,
        "image": codespec.image,
        "env": [{"name": name, "value": value} for name, value in (*first.items(), *own.items())],
        "securityContext": _security(settings),
        "volumeMounts": list(mounts),
    }
    for key, value in (
        ("command", codespec.command),
        ("args", codespec.args),
        ("workingDir", codespec.working_dir),
        ("imagePullPolicy", _PULL.get(settings.pull)),
        ("resources", _resources(codespec.resources, settings)),
    ):
        if value:
            container[key] = value
    return container


def _security(settings: enginesettings.Kubernetes) -> Object:
    """Of a job's own container, and a worker's."""
    restricted = settings.main_security == "restricted"
    context: Object = dict(_RESTRICTED) if restricted else {"allowPrivilegeEscalation": False}
    if settings.user is not None:
        user, _, group = settings.user.partition(":")
        context["runAsUser"] = int(user)
        if group:
            context["runAsGroup"] = int(group)
    return context


def prepare(settings: enginesettings.Kubernetes, piped: Sequence[str], hosts: Sequence[str]) -> Object:
    """Makes the pipes, and waits for the workers' names."""
    container = _ours(PREPARE, settings, pumpargs.prepare(piped, hosts))
    if piped:
        container["volumeMounts"] = [{"name": FIFOS, "mountPath": pumpargs.FIFOS}]
    return container


def pumps(job: base.Job, settings: enginesettings.Kubernetes) -> Object:
    """Moves all of a job's buffers and sockets for as long as the pod lives."""
    ephemeral = f"run-{job.run}-temp-"
    relays = [name for name in (*job.inputs, *job.outputs) if job.buffers[name].startswith(ephemeral)]
    command = pumpargs.pod(job.inputs, job.outputs, serving.sockets(job.codespec), relays)
    container = _ours(PUMPS, settings, command)
    container["restartPolicy"] = "Always"
    # Main starts once this has ended: stopped before it takes notice, the pump would not know of main's end.
    container["lifecycle"] = {"postStart": {"exec": {"command": pumpargs.ready()}}}
    container["env"] = [
        {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
        for name, path in ((pumpargs.POD, "metadata.name"), (pumpargs.NAMESPACE, "metadata.namespace"))
    ]
    container["volumeMounts"] = [
        {"name": FIFOS, "mountPath": pumpargs.FIFOS},
        {"name": "pump", "mountPath": pumpargs.STATE},
        {"name": "buffers", "mountPath": pumpargs.ACCESS, "readOnly": True},
        {"name": "api", "mountPath": API_ACCESS, "readOnly": True},
    ]
    return container


def volumes(codespec: model.CodespecBase) -> tuple[list[Object], list[Object]]:
    """What every program has, and where it has it: its home, and the shared memory that it asks for."""
    made: list[Object] = [{"name": "home", "emptyDir": {}}]
    mounts: list[Object] = [{"name": "home", "mountPath": HOME}]
    if codespec.resources and codespec.resources.shm is not None:
        limit = str(codespec.resources.shm)
        made.append({"name": "dshm", "emptyDir": {"medium": "Memory", "sizeLimit": limit}})
        mounts.append({"name": "dshm", "mountPath": "/dev/shm"})  # noqa: S108 - inside a pod
    return made, mounts


def pump_volumes(secret: str) -> list[Object]:
    """What the pumps need; `secret` has the addresses of the buffers."""
    return [
        {"name": FIFOS, "emptyDir": {}},
        {"name": "pump", "emptyDir": {}},
        {"name": "buffers", "secret": {"secretName": secret, "defaultMode": 0o444}},
        {
            "name": "api",  # as the admission controller makes it where every container may have it
            "projected": {
                "defaultMode": 0o444,
                "sources": [
                    {"serviceAccountToken": {"path": "token", "expirationSeconds": TOKEN_SECONDS}},
                    {
                        "configMap": {
                            "name": "kube-root-ca.crt",
                            "items": [{"key": "ca.crt", "path": "ca.crt"}],
                        }
                    },
                    {
                        "downwardAPI": {
                            "items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]
                        }
                    },
                ],
            },
        },
    ]


def _ours(name: str, settings: enginesettings.Kubernetes, command: list[str]) -> Object:
    """A container of our image."""
    container: Object = {
        "name": name,
        "image": settings.pump_image,
        "imagePullPolicy": _PULL[settings.pump_pull],
        "command": command,
        "securityContext": {**_RESTRICTED, "runAsUser": PUMP_USER, "readOnlyRootFilesystem": True},
    }
    resources = {
        key: dict(amounts)
        for key, amounts in (("requests", settings.pump_requests), ("limits", settings.pump_limits))
        if amounts
    }
    if resources:
        container["resources"] = resources
    return container


def _resources(wanted: model.Resources | None, settings: enginesettings.Kubernetes) -> Object:
    """What main requests and is limited to."""
    if wanted is None:
        return {}
    found: Object = {}
    for key, amounts in (("requests", wanted.requests), ("limits", wanted.limits)):
        given = {"cpu": amounts and amounts.cpu, "memory": amounts and amounts.memory}
        if wanted.gpu is not None:
            given[settings.gpu_resource] = wanted.gpu
        if some := {name: str(value) for name, value in given.items() if value is not None}:
            found[key] = some
    return found

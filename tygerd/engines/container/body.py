"""What the engine is asked to create for each program of a run. Pure.

A program sees its image, the pipes of its replica, and of this host nothing else: no capability, no way to
gain one, no network unless the run needs it. Of its environment later wins: the image's, HOME, TYGER_RUN_ID,
the codespec's `env`, the pipes, the workers; `$(VAR)` sees all but the first two. Its home is empty, its own,
and in memory.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from tyger import errors, model
from tygerd import enginesettings, quantity
from tygerd.engines import base, endpoints, expansion
from tygerd.engines.container import find, images
from tygerd.engines.process import environment
from tygerd.engines.supervised import parts, serving
from tygerd.supervisor import spec

HOME = "/tmp/home"  # noqa: S108 - inside the container
LEAST_MEMORY = 6 * 1024 * 1024
"""Docker's own bound: below it nothing starts."""

_LOGS: dict[str, dict[str, Any]] = {
    "Docker": {"Type": "local", "Config": {"max-size": "1000g", "max-file": "1", "compress": "false"}},
    "Podman": {"Type": "json-file", "Config": {}},  # which is its k8s-file
}
"""How an engine keeps what a program prints: all of it, byte for byte, but for newlines that `local` loses,
which the supervisor puts in (`locallog`). Docker's json-file changes what is no text, which a supervisor
that counts bytes would take for more than it has read.
"""

LEAST_CPU = 10**7
"""Billionths of a processor: the kernel counts in no finer slices."""

_ANY_PORT = {"net.ipv4.ip_unprivileged_port_start": "0"}
"""Of a container's own network: its programs have no capability, and may yet serve port 80, as with Docker,
which sets this by itself, and as in Kubernetes.
"""

RUN, INSTALLATION, PART = "tyger-run", "tyger-installation", "tyger-run-container-name"
"""Labels: the run's number, whose it is, and which of the run's programs."""


class Place(NamedTuple):
    """What the requests depend on and what is the same for all runs. `init`: the engine has one."""

    installation: str
    facts: find.Facts
    settings: enginesettings.Container
    init: bool

    @property
    def network(self) -> str:
        """The name of the network of all runs that need one."""
        return f"tyger-{self.installation[:8]}"


def check(codespec: model.CodespecBase, image: images.Image | None) -> None:
    """Refuse what could not be asked for, or not be started. None: the image is still to be pulled.

    Raises:
        Problem: INVALID_INPUT, naming the field.
    """
    environment.check_words(codespec)
    if isinstance(codespec, model.WorkerCodespec):
        endpoints.check(codespec.endpoints or {})
    if image is not None and not _words(codespec, image):
        raise _refused(
            f"the codespec has no command, and the image '{codespec.image}' starts nothing by itself: add one"
        )
    if codespec.working_dir and not codespec.working_dir.startswith("/"):
        raise _refused(f"workingDir: it must be an absolute path, not '{codespec.working_dir}'")
    memory = _amount(codespec, "memory")
    if memory is not None and 0 < memory < LEAST_MEMORY * 10**9:
        raise _refused(
            f"resources.limits.memory: no program starts with less than 6Mi, not {memory // 10**9}"
        )


def needs_network(job: base.Job) -> bool:
    """Whether a run cannot do without one."""
    return bool(job.codespec.sockets or job.worker)


def network(place: Place, job: base.Job) -> str | None:
    """The network of a run; None where it has none."""
    return place.network if needs_network(job) or place.settings.network == "bridge" else None


def main(
    place: Place, job: base.Job, image: images.Image, part: parts.Part, directory: str, socket: str
) -> spec.MainSpec:
    """A replica of the job. `directory` is the run's; `socket` is the engine's."""
    inside = f"/run/secrets/{job.run}/pipes"
    pipes = {name: f"{inside}/{name}.pipe" for name in serving.piped(job.codespec)}
    known = {environment.pipe_variable(name): path for name, path in pipes.items()}
    hosts = {}
    if job.worker:
        names = [part.name for part in parts.workers(job)]
        hosts = {f"run-{job.run}-{name}": name for name in names}
        known |= endpoints.variables(job.worker.codespec, list(hosts))
    body = _body(place, job, job.codespec, image, part, known)
    host = body["HostConfig"]
    if pipes:
        host |= mount(os.path.normpath(os.path.join(directory, spec.PIPES, part.pipes)), inside)
    gpu = job.codespec.resources.gpu if job.codespec.resources else None
    if gpu is not None and quantity.parse(gpu).nanos:
        host["DeviceRequests"] = [{"Driver": "", "Count": -1, "Capabilities": [["gpu"]]}]
    ports = [f"{each.port}/tcp" for each in job.codespec.sockets or ()]
    if ports and place.facts.rootless:  # its own address is in a network that only its user's engine sees
        body["ExposedPorts"] = {port: {} for port in ports}
        host["PortBindings"] = {port: [{"HostIp": "127.0.0.1", "HostPort": ""}] for port in ports}
    return _spec(place, job, part, socket, body, hosts)


def worker(place: Place, job: base.Job, image: images.Image, part: parts.Part, socket: str) -> spec.MainSpec:
    """A replica of the worker, whose codespec the job has."""
    if job.worker is None:
        raise TypeError("the run has no worker")
    body = _body(place, job, job.worker.codespec, image, part, {})
    body["Hostname"] = f"run-{job.run}-{part.name}"
    return _spec(place, job, part, socket, body, {})


def confined(place: Place) -> dict[str, Any]:
    """The part of HostConfig that keeps a program in its container."""
    return {
        "Init": place.init,
        "CapDrop": ["ALL"],
        "CapAdd": [name.removeprefix("CAP_") for name in place.settings.capabilities],
        "SecurityOpt": ["no-new-privileges"],
        "ReadonlyRootfs": place.settings.root == "read-only",
        "LogConfig": _LOGS[place.facts.name],
        "NetworkMode": "none",
    }


def mount(source: str, target: str) -> dict[str, Any]:
    """The part of HostConfig that shows a directory with pipes, with a label of its own under SELinux.

    Read-only: pipes can be written to all the same, but neither removed nor replaced by files; and nobody
    fills our disk, or leaves programs there that belong to root.
    """
    if ":" in source:  # which `Binds` cannot say
        return {"Mounts": [{"Type": "bind", "Source": source, "Target": target, "ReadOnly": True}]}
    return {"Binds": [f"{source}:{target}:ro,Z"]}


def name_of(place: Place, run: int, part: str) -> str:
    """The name of a container: there is one of each, whoever creates it."""
    return f"tyger-run-{run}-{part}-{place.installation[:8]}"


def _spec(
    place: Place, job: base.Job, part: parts.Part, socket: str, body: dict[str, Any], hosts: dict[str, str]
) -> spec.MainSpec:
    container = spec.ContainerSpec(socket, name_of(place, job.run, part.name), body, hosts)
    return spec.MainSpec(part.name, container=container, pipes=part.pipes, label=part.label)


def _body(
    place: Place,
    job: base.Job,
    codespec: model.CodespecBase,
    image: images.Image,
    part: parts.Part,
    known: Mapping[str, str],
) -> dict[str, Any]:
    ours = {"TYGER_RUN_ID": str(job.run)}
    own = expansion.expand_environment(codespec.env or {}, {**ours, **known})
    variables = {**ours, **own, **known}
    words = [expansion.expand(word, variables) for word in _words(codespec, image)]
    host = confined(place) | _limits(place, codespec) | {"Tmpfs": _tmpfs(place)}
    if (joined := network(place, job)) is not None:
        host["NetworkMode"] = joined
        host["Sysctls"] = _ANY_PORT
    body: dict[str, Any] = {
        "Image": image.id,
        "Entrypoint": words[:1],
        "Cmd": words[1:],
        "Env": [f"{name}={value}" for name, value in {"HOME": HOME, **variables}.items()],
        "Labels": {
            RUN: str(job.run),
            INSTALLATION: place.installation,
            PART: part.name,
            spec.IMAGE_LABEL: codespec.image,
        },
        "HostConfig": host,
    }
    if image.checks_health:  # nobody would look; and Podman makes timers, also for a check that is `NONE`
        body["Healthcheck"] = {"Test": ["NONE"]}
    if codespec.working_dir:
        body["WorkingDir"] = codespec.working_dir
    if place.settings.user:
        body["User"] = place.settings.user
    return body


def _words(codespec: model.CodespecBase, image: images.Image) -> list[str]:
    """The whole command line, by the engines' own rule: a command of ours leaves nothing of the image's."""
    if codespec.command:
        return [*codespec.command, *(codespec.args or [])]
    return [*image.entrypoint, *(codespec.args or image.command)]


def check_limits(facts: find.Facts, codespec: model.CodespecBase) -> None:
    """Refuse limits that this engine cannot set, as where it has no right to its control groups.

    Raises:
        Problem: INVALID_INPUT, naming it.
    """
    which = next((name for name in ("cpu", "memory") if _amount(codespec, name)), None)
    if which is not None and not facts.limits:
        raise _refused(
            f"limits: the {facts.name} engine cannot limit a job's {which} on this host; leave"
            f" resources.limits.{which} out"
        )


def _limits(place: Place, codespec: model.CodespecBase) -> dict[str, Any]:
    """Limits of resources that are enforced; what is merely requested is not."""
    limits: dict[str, Any] = {}
    if place.facts.limits and (cpu := _amount(codespec, "cpu")):
        most = int(place.facts.cpus * 10**9) or cpu
        limits["NanoCpus"] = min(max(cpu, LEAST_CPU), most)
    if place.facts.limits and (memory := _amount(codespec, "memory")):
        limits["Memory"] = limits["MemorySwap"] = memory // 10**9  # both: no swap beside it
    shm = codespec.resources.shm if codespec.resources else None
    if shm is not None and (size := quantity.parse(shm).nanos // 10**9):
        limits["ShmSize"] = size
    return limits


def _amount(codespec: model.CodespecBase, which: str) -> int | None:
    """A limit in billionths of its unit."""
    limits = codespec.resources.limits if codespec.resources else None
    value = getattr(limits, which, None)
    return None if value is None else quantity.parse(value).nanos


def _tmpfs(place: Place) -> dict[str, str]:
    options = "rw,exec,nosuid,nodev,mode=1777"
    own = {HOME: options}
    return {"/tmp": options, **own} if place.settings.root == "read-only" else own  # noqa: S108 - as HOME


def _refused(message: str) -> errors.Problem:
    return errors.Problem(errors.INVALID_INPUT, message)

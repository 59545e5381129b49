"""The tables of tygerd.toml about engines: where runs are executed, and how. Part of `config`.

Every key, its default and its help text stand here and nowhere else.
"""

from __future__ import annotations

import os
import re
from typing import Annotated, Literal

import msgspec

from tygerd import quantity, tables
from tygerd.identity import kinds

Help = tables.Help
Seconds = tables.Seconds
Table = tables.Table

_OBJECT_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")  # a DNS subdomain (RFC 1123)
_LEAST_PUMP = quantity.parse("24Mi")  # with 16Mi it does not even start
_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


class Image(Table, frozen=True):
    """[[engine.process.images]]: what stands for a container image on this host."""

    image: Annotated[
        str,
        Help(
            description="Image reference that this entry stands for: exact, or a glob such as `*/ffmpeg:*`."
        ),
    ]
    root: Annotated[
        str | None,
        Help(
            description="Directory that holds the image's file system. Unset, or `/`: the file system of this"
            " host, read-only, with the homes, /tmp and /run empty."
        ),
    ] = None
    entrypoint: Annotated[
        list[str],
        Help(
            description="Program and first arguments that run where a codespec names no `command`. A job sees"
            " the directory of a program with an absolute path also where it lies in a home."
        ),
    ] = msgspec.field(default_factory=list)
    env: Annotated[
        dict[str, str],
        Help(
            description="Environment variables that the image sets; a codespec's own win. A job sees the"
            " directories in this PATH also where they lie in a home; for X/bin it sees all of X."
        ),
    ] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.image:
            raise ValueError("image must not be empty")
        if self.root is not None and not os.path.isabs(self.root):
            raise ValueError(f"root must be an absolute path, not {self.root}")


class Process(Table, frozen=True):
    """[engine.process]: runs as processes of this host."""

    bubblewrap: Annotated[
        Literal["auto", "require", "off"],
        Help(
            description="Whether jobs are confined with bubblewrap: `auto` where it works, `require` refuses"
            " to run without it, `off` never."
        ),
    ] = "auto"
    cancel_grace: Annotated[
        Seconds, Help(description="Time between SIGTERM and SIGKILL when a run is cancelled or timed out.")
    ] = Seconds(10)
    images: Annotated[
        list[Image], Help(description="Which images this host can run, the first match counts.")
    ] = msgspec.field(default_factory=list)


class Container(Table, frozen=True):
    """[engine.container]: runs as containers of a Docker or Podman engine."""

    socket: Annotated[
        str | None,
        Help(
            description="Path of the engine's Unix socket. Unset: DOCKER_HOST or CONTAINER_HOST where they"
            " name one, then the usual places of the user's and the system's Docker and Podman."
        ),
    ] = None
    pull: Annotated[
        Literal["never", "missing", "always"],
        Help(
            description="When an image is pulled that nobody asked for with --pull: `never`, `missing` when"
            " the engine does not have it, `always` before each run."
        ),
    ] = "never"
    auth_file: Annotated[
        str | None,
        Help(
            description="File with the registries' credentials, as `docker login` and `podman login` write"
            " it. Unset: REGISTRY_AUTH_FILE, then the usual places of both."
        ),
    ] = None
    network: Annotated[
        Literal["needed", "bridge"],
        Help(
            description="Which runs have a network: `needed` only those whose codespec has sockets or that"
            " have workers, `bridge` all."
        ),
    ] = "needed"
    user: Annotated[
        str | None,
        Help(description='User of the programs, as "uid:gid" or a name in the image. Unset: the image\'s.'),
    ] = None
    capabilities: Annotated[
        list[str],
        Help(description="Capabilities that programs keep, such as `SYS_PTRACE`; all others are dropped."),
    ] = msgspec.field(default_factory=list)
    root: Annotated[
        Literal["writable", "read-only"],
        Help(
            description="Whether a program can write into its image's file system; into /tmp it can always."
        ),
    ] = "writable"
    cancel_grace: Annotated[
        Seconds, Help(description="Time between SIGTERM and SIGKILL when a run is cancelled or timed out.")
    ] = Seconds(10)

    def __post_init__(self) -> None:
        if self.socket is not None and not os.path.isabs(self.socket.removeprefix("unix://")):
            raise ValueError(f"socket must be the absolute path of a Unix socket, not {self.socket}")
        for name in self.capabilities:
            if not re.fullmatch(r"(CAP_)?[A-Z][A-Z_]*", name):
                raise ValueError(f"capabilities are named like SYS_PTRACE, not {name!r}")


class NodePool(Table, frozen=True):
    """[[engine.kubernetes.node_pools]]: nodes of one kind, which a run can ask for by their name."""

    name: Annotated[str, Help(description="What the label `node_pool_label` says on each of its nodes.")]
    vm_size: Annotated[
        str | None, Help(description="Azure's name for its kind of machine, such as `Standard_NC6s_v3`.")
    ] = None
    gpu: Annotated[
        bool | None,
        Help(description="Whether its nodes have GPUs. Unset: a `vm_size` of `Standard_N...` has."),
    ] = None

    def __post_init__(self) -> None:
        if not _LABEL_VALUE.fullmatch(self.name):
            raise ValueError(f"a node pool's name is the value of a label, which {self.name!r} cannot be")

    @property
    def has_gpu(self) -> bool:
        """Whether its nodes have GPUs (contract compute.md 3)."""
        if self.gpu is not None:
            return self.gpu
        return (self.vm_size or "").lower().startswith("standard_n")


class Kubernetes(Table, frozen=True):
    """[engine.kubernetes]: runs as pods of a Kubernetes cluster."""

    kubeconfig: Annotated[
        str | None,
        Help(
            description="Kubeconfig file that says where the cluster is and who we are. Unset: as kubectl,"
            " the files that KUBECONFIG names, joined, else ~/.kube/config; in a pod that has neither,"
            " the pod's service account."
        ),
    ] = None
    context: Annotated[
        str | None, Help(description="Which of its contexts is used. Unset: its `current-context`.")
    ] = None
    namespace: Annotated[
        str | None,
        Help(description="Where all objects of runs are. Unset: the context's or the pod's, else `default`."),
    ] = None
    credential: Annotated[
        kinds.Principal | None,
        Help(description="Who we are to a cluster that asks Entra ID. Unset: the kubeconfig's user."),
    ] = None
    cluster: Annotated[
        str, Help(description="What the cluster is called by runs that name the one they are for.")
    ] = "kubernetes"
    job_service_account: Annotated[
        str, Help(description="Service account of the pods of jobs without an identity.")
    ] = "tyger-job"
    identities: Annotated[
        dict[str, str],
        Help(description="Identities that codespecs may name, and the service account that each one is."),
    ] = msgspec.field(default_factory=dict)
    node_pools: Annotated[list[NodePool], Help(description="Which kinds of nodes a run can ask for.")] = (
        msgspec.field(default_factory=list)
    )
    node_pool_label: Annotated[
        str, Help(description="Label of a node whose value is the name of its pool; AKS sets this one.")
    ] = "agentpool"
    node_selector: Annotated[
        dict[str, str],
        Help(description="Labels of the nodes that runs may use. `{}`: any that has no taint against it."),
    ] = msgspec.field(default_factory=lambda: {"tyger": "run"})
    gpu_resource: Annotated[
        str, Help(description="What the cluster calls GPUs: `amd.com/gpu` with those of AMD.")
    ] = "nvidia.com/gpu"
    pull: Annotated[
        Literal["default", "never", "missing", "always"],
        Help(
            description="When a node pulls a job's image: `never`, `missing` when it does not have it,"
            " `always` before each run, `default` as the cluster does: always if the tag is"
            " `latest`, else missing."
        ),
    ] = "default"
    pull_secrets: Annotated[
        dict[str, str],
        Help(
            description="Registries whose images cannot be pulled without a secret, and the secret's name in"
            ' the namespace. `"*"` is any registry.'
        ),
    ] = msgspec.field(default_factory=dict)
    pull_grace: Annotated[
        Seconds,
        Help(description="For how long pulling a job's image may fail before the run does."),
    ] = Seconds(60)
    pump_image: Annotated[
        str, Help(description="Image of the container that moves a pod's buffers; see `packaging/container`.")
    ] = "localhost/tyger-pump:latest"
    pump_pull: Annotated[
        Literal["never", "missing", "always"], Help(description="When a node pulls that image.")
    ] = "missing"
    pump_requests: Annotated[
        dict[str, str],
        Help(
            description='What its container requests, like `{cpu = "100m", memory = "64Mi"}`; where a quota'
            " of the namespace asks for it."
        ),
    ] = msgspec.field(default_factory=dict)
    pump_limits: Annotated[
        dict[str, str],
        Help(
            description="Its limits, in the same form. With less memory than 128Mi it may run out of it once"
            " much flows, and the run fails; less than 24Mi is refused."
        ),
    ] = msgspec.field(default_factory=dict)
    main_security: Annotated[
        Literal["baseline", "restricted"],
        Help(
            description="Pod Security standard that a job's own container meets: `baseline` runs as its image"
            " says and gains no privileges, `restricted` is no root and has no capabilities either."
        ),
    ] = "baseline"
    user: Annotated[
        str | None,
        Help(description='User of the programs, as "uid" or "uid:gid". Unset: the image\'s.'),
    ] = None
    cancel_grace: Annotated[
        Seconds, Help(description="Time between SIGTERM and SIGKILL when a run is cancelled or timed out.")
    ] = Seconds(10)
    active_runs: Annotated[
        int, Help(description="How many runs have pods at a time; others wait for their turn.", ge=1)
    ] = 5000  # contract compute.md 15
    connections: Annotated[
        int, Help(description="Requests to the API server that are under way at a time.", ge=1)
    ] = 16
    request_timeout: Annotated[
        Seconds, Help(description="For how long the API server may keep silent about a request.")
    ] = Seconds(30)

    def __post_init__(self) -> None:
        for key, name in [
            ("namespace", self.namespace),
            ("job_service_account", self.job_service_account),
            *((f"identities.{identity}", account) for identity, account in self.identities.items()),
            *((f"pull_secrets.{registry}", secret) for registry, secret in self.pull_secrets.items()),
        ]:
            if name is not None and not _OBJECT_NAME.fullmatch(name):
                raise ValueError(f"{key} must be a name in Kubernetes, such as tyger-job, not {name!r}")
        if self.user is not None and not re.fullmatch(r"[0-9]{1,9}(:[0-9]{1,9})?", self.user):
            raise ValueError(f"user must be like 1000 or 1000:1000, not {self.user}")
        for table, amounts in (("pump_requests", self.pump_requests), ("pump_limits", self.pump_limits)):
            for resource, amount in amounts.items():
                try:
                    given = quantity.parse(amount)
                except ValueError as error:
                    raise ValueError(f"{table}.{resource}: {amount} {error}") from None
                if (table, resource) == ("pump_limits", "memory") and given.nanos < _LEAST_PUMP.nanos:
                    raise ValueError(f"pump_limits.memory must be at least 24Mi, better 128Mi, not {amount}")
        if not self.cluster:
            raise ValueError("cluster must not be empty")
        if not self.pump_image:
            raise ValueError("pump_image must not be empty")
        folded = [pool.name.lower() for pool in self.node_pools]
        for name in folded:
            if folded.count(name) > 1:
                raise ValueError(f"node_pools has two with the name {name}")


class Engine(Table, frozen=True):
    """[engine]: where runs are executed."""

    use: Annotated[
        Literal["auto", "process", "container", "kubernetes"],
        Help(
            description="Which engine executes a run that names none with --engine. `auto`: a container"
            " engine that answers and has the image, or may pull it; else the process engine, where the image"
            " is mapped; else the cluster, if there is a table for it. In a file without tables of engines,"
            ' `engine = "process"` is short for it.'
        ),
    ] = "auto"
    process: Annotated[Process, Help(description="Runs as processes of this host.")] = Process()
    container: Annotated[Container, Help(description="Runs as containers of this host's engine.")] = (
        Container()
    )
    kubernetes: Annotated[
        Kubernetes | None, Help(description="Runs as pods of a cluster. Unset: there is no such engine.")
    ] = None

    def __post_init__(self) -> None:
        if self.use == "kubernetes" and self.kubernetes is None:
            raise ValueError('use = "kubernetes" needs a table [engine.kubernetes], which may be empty')

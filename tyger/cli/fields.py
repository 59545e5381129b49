"""The order of fields in what we print (contract cli.md 1.6), as data, and the projection onto it.

An object from the daemon is printed through its table: fields in the table's order, unknown ones dropped,
empty optional ones left out, maps sorted, times with `Z`. Pure; no input or output.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Field(NamedTuple):
    """One field: its name, whether it is printed even when empty, and how its value is shaped."""

    name: str
    always: bool
    shape: Callable[[object], object]


def plain(value: object) -> object:
    """A scalar or a list of scalars: as it is."""
    return value


def time(value: object) -> object:
    """A timestamp: `Z` for UTC, another offset as it came; no zeros at the end of a fraction."""
    if not isinstance(value, str):
        return value
    place = -1 if value.endswith(("Z", "z")) else -6
    moment, zone = value[:place], value[place:]
    if "." in moment and moment.endswith(("0", ".")):
        moment = moment.rstrip("0").removesuffix(".")
    return moment + ("Z" if zone in ("+00:00", "-00:00", "z") else zone)


def count(value: object) -> object:
    """A number that the daemon leaves out when it is 0."""
    return 0 if value is None else value


def sorted_map(value: object) -> object:
    """A map of scalars, sorted by key."""
    return dict(sorted(value.items())) if isinstance(value, dict) else value


class Table:
    """The fields of one kind of object, in order. `"name"` is always printed, `"name?"` unless empty."""

    def __init__(self, *names: str, **shapes: Callable[[object], object]) -> None:
        self.fields = [
            Field(name.removesuffix("?"), not name.endswith("?"), shapes.get(name.removesuffix("?"), plain))
            for name in names
        ]

        self._plans: dict[tuple[str, ...], list[Field]] = {}
        """By the names that an object has, which most of a list have in common: what to look at."""

    def __call__(self, value: object) -> object:
        """The projection of `value`; what is not an object stays as it is (a codespec reference, say)."""
        if not isinstance(value, dict):
            return value
        names = tuple(value)
        plan = self._plans.get(names)
        if plan is None:
            plan = self._plans[names] = [one for one in self.fields if one.always or one.name in value]
        projected: dict[str, object] = {}
        for name, always, shape in plan:
            content = value.get(name)
            if content or always:
                projected[name] = content if shape is plain else shape(content)
        return projected


def each(table: Table) -> Callable[[object], object]:
    """A list of such objects."""

    def shape(value: object) -> object:
        return [table(item) for item in value] if isinstance(value, list) else value

    return shape


BUFFER = Table(
    "id",
    "createdAt",
    "location?",
    "tags?",
    "eTag?",
    "expiresAt?",
    createdAt=time,
    tags=sorted_map,
    expiresAt=time,
)

_OVERCOMMITTABLE = Table("cpu?", "memory?")

CODESPEC = Table(
    "kind",
    "name?",
    "version?",
    "createdAt?",
    "buffers?",
    "sockets?",
    "image",
    "command?",
    "args?",
    "workingDir?",
    "env?",
    "identity?",
    "resources?",
    "maxReplicas?",
    "endpoints?",
    createdAt=time,
    buffers=Table("inputs?", "outputs?"),
    sockets=each(Table("port", "inputBuffer?", "outputBuffer?")),
    env=sorted_map,
    resources=Table(
        "requests?", "limits?", "gpu?", "shm?", requests=_OVERCOMMITTABLE, limits=_OVERCOMMITTABLE
    ),
    endpoints=sorted_map,
)

_TARGET = Table(
    "codespec",
    "buffers?",
    "tags?",
    "bufferTtl?",
    "nodePool?",
    "replicas?",
    codespec=CODESPEC,
    buffers=sorted_map,
    tags=sorted_map,
)

RUN = Table(
    "id?",
    "status?",
    "statusReason?",
    "runningCount?",
    "createdAt",
    "startedAt?",
    "finishedAt?",
    "kind?",
    "job",
    "worker?",
    "cluster?",
    "timeoutSeconds?",
    "tags?",
    "eTag?",
    "bufferAccessTtl?",
    "engine?",
    "imageDigest?",
    createdAt=time,
    startedAt=time,
    finishedAt=time,
    job=_TARGET,
    worker=_TARGET,
    tags=sorted_map,
)

RUN_METADATA = Table(
    "id",
    "status",
    "statusReason?",
    "runningCount?",
    "createdAt",
    "startedAt?",
    "finishedAt?",
    createdAt=time,
    startedAt=time,
    finishedAt=time,
)

STORAGE_ACCOUNT = Table("name", "location", "endpoint")

TRANSFER = Table(
    "id",
    "kind",
    "buffer",
    "location?",
    "state",
    "reason?",
    "code?",
    "waiting?",
    "paused?",
    "stalled?",
    "priority?",
    "bytes",
    "blocks?",
    "shipped?",
    "startedAt?",
    "finishedAt?",
    "owner?",
    "run?",
    bytes=count,
    startedAt=time,
    finishedAt=time,
)

METADATA = Table(
    "authority?",
    "audience?",
    "cliAppUri?",
    "cliAppId?",
    "dataPlaneProxy?",
    "capabilities?",
    "apiVersions?",
    "storageEndpoints?",
    "rbacEnabled?",
)

LOGIN = Table("serverUrl", "principal?", "proxy?", "metadata", metadata=METADATA)

"""The schemas of the compatible Swagger document, contract rest-api.md 3.4: their order and shape are its.

Written down and not made from `tyger.model`: order, formats and what may be null are the contract's, which
our own types do not have. A test compares the names of both.
"""

from __future__ import annotations

from typing import Any

STATUSES = ["Pending", "Running", "Failed", "Succeeded", "Canceling", "Canceled"]
"""In the order of their numbers."""

_PROPERTIES = {
    "Buffer": (
        "id string, location string?, createdAt date-time?, isSoftDeleted boolean, expiresAt date-time?,"
        " tags map?, eTag string?"
    ),
    "BufferAccess": "uri uri",
    "BufferPage": "items list:Buffer, nextLink uri?",
    "BufferParameters": "inputs list:string?, outputs list:string?",
    "BufferUpdate": "id string?, expiresAt date-time?, tags map?",
    "Codespec": (
        "kind kind:codespec, name string?, version int32?, createdAt date-time?, image nonempty,"
        " command list:string?, args list:string?, workingDir string?, env map?, identity string?,"
        " resources CodespecResources, maxReplicas int32?"
    ),
    "CodespecPage": "items list:anyCodespec, nextLink uri?",
    "CodespecResources": (
        "limits OvercommittableResources, requests OvercommittableResources, gpu string?, shm string?"
    ),
    "DatabaseVersionInUse": "id int32",
    "ErrorBody": "error ErrorInfo",
    "ErrorInfo": "code string, message string, apiVersions list:string?",
    "ExportBuffersRequest": (
        "sourceStorageAccountName string?, destinationStorageEndpoint string, filters map?"
    ),
    "ImportBuffersRequest": "storageAccountName string?",
    "JobCodespec": "buffers BufferParameters, sockets list:Socket?",
    "JobRunCodeTarget": "buffers map?, tags map?, bufferTtl date-span?",
    "OvercommittableResources": "cpu string?, memory string?",
    "Run": (
        "kind kind:run, id int64?, eTag string?, status status?, statusReason string?, runningCount int32?,"
        " createdAt date-time?, startedAt date-time?, finishedAt date-time?, job JobRunCodeTarget,"
        " worker anyTarget?, timeoutSeconds int32?, cluster string?, tags map?, bufferAccessTtl date-span?"
    ),
    "RunCodeTarget": "codespec codespec, nodePool string?, replicas int32",
    "RunPage": "items list:Run, nextLink uri?",
    "RunUpdate": "id int64?, tags map?",
    "ServiceMetadata": (
        "rbacEnabled boolean, authority string?, audience string?, apiAppUri string?, apiAppId string?,"
        " cliAppUri string?, cliAppId string?, capabilities list:string?, apiVersions list:string?,"
        " storageEndpoints list:uri?"
    ),
    "Socket": "port int32, inputBuffer string?, outputBuffer string?",
    "StorageAccount": "name string, location string, endpoint string",
    "WorkerCodespec": "endpoints map:int32?",
}
"""The properties of each: a name, and a type that `of` knows; `?` says that it may be null."""

_BASE = {"JobCodespec": "Codespec", "WorkerCodespec": "Codespec", "JobRunCodeTarget": "RunCodeTarget"}

_REQUIRED = {"Codespec": ["image"], "Run": ["job"], "RunCodeTarget": ["codespec"]}

_WORDS = {
    "Codespec": {
        "kind": "Whether a job or its workers run this.",
        "name": "The codespec's name. It is missing where the codespec stands inside a run.",
        "version": "Counts the changes from 1 on. The server sets it.",
        "createdAt": "When this version was made. The server sets it.",
        "image": "The container image to start.",
        "command": "Replaces the image's entry point.",
        "args": "The arguments of the command or entry point.",
        "workingDir": "The directory in which the program starts.",
        "env": "Environment variables and their values.",
        "identity": "The workload identity that the program has in the cluster.",
        "maxReplicas": "How many replicas are sensible at most.",
    },
    "JobRunCodeTarget": {
        "buffers": "Which buffer each parameter gets. A buffer is created for one that is missing here.",
        "tags": "The tags of the buffers that are created for this run.",
        "bufferTtl": "How long the buffers live that are created for this run.",
    },
    "Run": {
        "id": "The run's number. The server sets it.",
        "eTag": "Changes whenever the run does.",
        "status": "How far the run is. The server sets it.",
        "statusReason": "What led to this status.",
        "runningCount": "How many replicas of the job are running.",
        "createdAt": "When the run was created. The server sets it.",
        "startedAt": "When the job's program started.",
        "finishedAt": "When the run ended.",
        "worker": "The nodes that help the job in a distributed run.",
        "timeoutSeconds": "After so many seconds the run is ended.",
        "cluster": "The cluster that the run is for.",
        "tags": "The run's own tags.",
        "bufferAccessTtl": "How long the access URLs that the job gets are valid. They are renewed in time.",
    },
    "RunCodeTarget": {
        "codespec": "A codespec by its name or name and version - or all of it.",
        "nodePool": "The pool of nodes to run on.",
        "replicas": "How many copies run side by side.",
    },
    "WorkerCodespec": {"endpoints": "The ports that the workers listen on by the names of the endpoints."},
}


def reference(name: str) -> dict[str, Any]:
    """A pointer to the schema of that name."""
    return {"$ref": f"#/components/schemas/{name}"}


_SCALARS: dict[str, dict[str, Any]] = {
    "string": {"type": "string"},
    "nonempty": {"minLength": 1, "type": "string"},
    "boolean": {"type": "boolean"},
    "int32": {"type": "integer", "format": "int32"},
    "int64": {"type": "integer", "format": "int64"},
    "date-time": {"type": "string", "format": "date-time"},
    "date-span": {"type": "string", "format": "date-span"},
    "uri": {"type": "string", "format": "uri"},
    "status": {"enum": STATUSES, "type": "string"},
    "kind:codespec": {"enum": ["job", "worker"]},
    "kind:run": {"enum": ["user", "system"]},
    "anyCodespec": {
        "oneOf": [reference("JobCodespec"), reference("WorkerCodespec")],
        "additionalProperties": False,
    },
    "anyTarget": {
        "oneOf": [reference("RunCodeTarget"), reference("JobRunCodeTarget")],
        "additionalProperties": False,
    },
    "codespec": {"oneOf": [{"type": "string"}, reference("Codespec")]},
}


def of(kind: str, words: str | None = None) -> dict[str, Any]:
    """The schema of a type: a scalar's name, `map`, `list:TYPE`, or the name of a schema."""
    name = kind.removesuffix("?")
    if name[0].isupper():
        return reference(name)
    if name == "map" or name.startswith("map:"):
        schema: dict[str, Any] = {"type": "object", "additionalProperties": of(name[4:] or "string")}
    elif name.startswith("list:"):
        schema = {"type": "array", "items": of(name[5:])}
    else:
        schema = dict(_SCALARS[name])
    form = schema.pop("format", None)
    if words is not None:
        schema["description"] = words
    if form is not None:
        schema["format"] = form
    if kind.endswith("?"):
        schema["nullable"] = True
    return schema


def schemas() -> dict[str, Any]:
    """All of them, in alphabetical order."""
    return {name: _schema(name) for name in _PROPERTIES}


def properties(name: str) -> list[str]:
    """The names of a schema's own properties."""
    return [each.split()[0] for each in _PROPERTIES[name].split(", ")]


def _schema(name: str) -> dict[str, Any]:
    words = _WORDS.get(name, {})
    pairs = (each.split() for each in _PROPERTIES[name].split(", "))
    own = {prop: of(kind, words.get(prop)) for prop, kind in pairs}
    required: dict[str, Any] = {"required": _REQUIRED[name]} if name in _REQUIRED else {}
    rest: object = {} if name in _BASE else False
    body: dict[str, Any] = {"type": "object", "properties": own, "additionalProperties": rest}
    schema = required | body
    return {"allOf": [reference(_BASE[name]), schema]} if name in _BASE else schema

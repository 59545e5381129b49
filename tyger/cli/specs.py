"""The fields of codespec files and run files, as data (contract cli.md 5.2 and 6.2).

Inside an inline codespec scalars become text as they do in a codespec file. The original refuses them there;
`docs/compatibility.md` lists the difference.
"""

from __future__ import annotations

from typing import Any

from tyger.cli import yamlfile
from tyger.cli.yamlfile import ignored, integer, list_of, map_of, quantity, record, strict_text, text

_OVERCOMMITTABLE = record({"cpu": quantity, "memory": quantity})

CODESPEC = record(
    {
        "kind": yamlfile.choice("job", "worker"),
        "name": strict_text,
        "version": ignored,
        "createdAt": ignored,
        "image": text,
        "buffers": record({"inputs": list_of(text), "outputs": list_of(text)}),
        "sockets": list_of(record({"port": integer, "inputBuffer": text, "outputBuffer": text})),
        "command": list_of(text),
        "args": list_of(text),
        "workingDir": text,
        "env": map_of(text),
        "identity": text,
        "resources": record(
            {"requests": _OVERCOMMITTABLE, "limits": _OVERCOMMITTABLE, "gpu": quantity, "shm": quantity}
        ),
        "maxReplicas": integer,
        "endpoints": map_of(integer),
    }
)

_TARGET = {"codespec": yamlfile.text_or(CODESPEC), "nodePool": text, "replicas": integer}

RUN = record(
    {
        "job": record({**_TARGET, "buffers": map_of(text), "tags": map_of(text), "bufferTtl": text}),
        "worker": record(_TARGET),
        "cluster": text,
        "timeoutSeconds": integer,
        "tags": map_of(text),
        "bufferAccessTtl": text,
        "kind": yamlfile.choice("user"),
        "id": ignored,
        "eTag": ignored,
        "status": ignored,
        "statusReason": ignored,
        "runningCount": ignored,
        "createdAt": ignored,
        "startedAt": ignored,
        "finishedAt": ignored,
    }
)


def read_codespec(path: str) -> dict[str, Any]:
    """The codespec in a file. Raises `Problem`."""
    return yamlfile.read(path, "codespec file", CODESPEC)


def read_run(path: str) -> dict[str, Any]:
    """The run in a file; inline codespecs get the kind their place asks for. Raises `Problem`."""
    run = yamlfile.read(path, "run file", RUN)
    for place, kind in (("job", "job"), ("worker", "worker")):
        codespec = run.get(place, {}).get("codespec")
        if isinstance(codespec, dict):
            codespec["kind"] = kind
    return run

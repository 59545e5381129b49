"""The fields of codespec files and run files, as data (contract cli.md 5.2 and 6.2).

Inside an inline codespec scalars become text as they do in a codespec file. The original refuses them there;
`docs/compatibility.md` lists the difference.
"""

from __future__ import annotations

from typing import Any

from tyger.cli import yamlfile

_OVERCOMMITTABLE = yamlfile.record({"cpu": yamlfile.quantity, "memory": yamlfile.quantity})

CODESPEC = yamlfile.record(
    {
        "kind": yamlfile.choice("job", "worker"),
        "name": yamlfile.strict_text,
        "version": yamlfile.ignored,
        "createdAt": yamlfile.ignored,
        "image": yamlfile.text,
        "buffers": yamlfile.record(
            {"inputs": yamlfile.list_of(yamlfile.text), "outputs": yamlfile.list_of(yamlfile.text)}
        ),
        "sockets": yamlfile.list_of(
            yamlfile.record(
                {"port": yamlfile.integer, "inputBuffer": yamlfile.text, "outputBuffer": yamlfile.text}
            )
        ),
        "command": yamlfile.list_of(yamlfile.text),
        "args": yamlfile.list_of(yamlfile.text),
        "workingDir": yamlfile.text,
        "env": yamlfile.map_of(yamlfile.text),
        "identity": yamlfile.text,
        "resources": yamlfile.record(
            {
                "requests": _OVERCOMMITTABLE,
                "limits": _OVERCOMMITTABLE,
                "gpu": yamlfile.quantity,
                "shm": yamlfile.quantity,
            }
        ),
        "maxReplicas": yamlfile.integer,
        "endpoints": yamlfile.map_of(yamlfile.integer),
    }
)

_TARGET = {"codespec": yamlfile.text_or(CODESPEC), "nodePool": yamlfile.text, "replicas": yamlfile.integer}

RUN = yamlfile.record(
    {
        "job": yamlfile.record(
            {
                **_TARGET,
                "buffers": yamlfile.map_of(yamlfile.text),
                "tags": yamlfile.map_of(yamlfile.text),
                "bufferTtl": yamlfile.text,
            }
        ),
        "worker": yamlfile.record(_TARGET),
        "cluster": yamlfile.text,
        "timeoutSeconds": yamlfile.integer,
        "tags": yamlfile.map_of(yamlfile.text),
        "bufferAccessTtl": yamlfile.text,
        "kind": yamlfile.choice("user"),
        "id": yamlfile.ignored,
        "eTag": yamlfile.ignored,
        "status": yamlfile.ignored,
        "statusReason": yamlfile.ignored,
        "runningCount": yamlfile.ignored,
        "createdAt": yamlfile.ignored,
        "startedAt": yamlfile.ignored,
        "finishedAt": yamlfile.ignored,
        "engine": yamlfile.text,
        "imageDigest": yamlfile.ignored,
    }
)


def read_codespec(path: str) -> dict[str, Any]:
    """The codespec in a file, or in standard input for `-`. Raises `Problem`."""
    return yamlfile.read(path, "file", CODESPEC, dash=True)


def read_run(path: str) -> dict[str, Any]:
    """The run in a file, or in standard input for `-`. Raises `Problem`.

    Inline codespecs get the kind their place asks for.
    """
    run = yamlfile.read(path, "file", RUN, dash=True)
    for place, kind in (("job", "job"), ("worker", "worker")):
        codespec = run.get(place, {}).get("codespec")
        if isinstance(codespec, dict):
            codespec["kind"] = kind
    return run

"""The figures of runs: how soon a job has a byte, as a process and as a container.

From the request that makes a run to the moment at which its job has read a byte from its pipe, over the bare
command, and over a bare `podman run` of the same image. The container's image is this host's `sh`, `head` and
`date` with their libraries. Podman is one of its own, with an empty store (`tests/support/podman.py`).
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import rig as rigs
import table

from tyger import client

SCRIPT = "head -c 1 <$INPUT_PIPE >/dev/null; date +%s%N"
IMAGE = "localhost/bench:1"
SAMPLES = 8
"""Times `--repeat`: the slowest of forty is as good as their p99."""


def process(options: table.Options) -> list[table.Row]:
    """Over a shell that is started with the byte in its pipe."""

    def bare() -> float:
        reader, writer = os.pipe()
        os.write(writer, b"x")
        os.close(writer)
        start = time.time_ns()
        done = subprocess.run(
            ["sh", "-c", SCRIPT],
            env={**os.environ, "INPUT_PIPE": f"/dev/fd/{reader}"},
            pass_fds=(reader,),
            stdout=subprocess.PIPE,
            check=True,
        )
        os.close(reader)
        return (int(done.stdout) - start) / 1e9

    with rigs.Rig(options.directory) as rig:
        return _rows("submit to first byte, process", rig, "bench", options, bare, 60)


def container(options: table.Options) -> list[table.Row]:
    """Over `podman run` of the same image, with the byte in its standard input."""
    with _podman() as podman, _rig(options, podman) as rig:
        command = [*podman.command, "run", "--rm", "--interactive", "--network", "none"]
        command += ["--env", "INPUT_PIPE=/dev/stdin", IMAGE, "sh", "-c", SCRIPT]

        def bare() -> float:
            start = time.time_ns()
            done = subprocess.run(
                command,
                env=podman.env,
                input=b"x",
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                check=True,
            )
            return (int(done.stdout) - start) / 1e9

        return _rows("submit to first byte, container", rig, IMAGE, options, bare, 150)


def _rows(
    figure: str, rig: rigs.Rig, image: str, options: table.Options, bare: Callable[[], float], limit: float
) -> list[table.Row]:
    control = client.Client(rig.socket)
    source = rig.tyger("buffer", "create")
    rig.tyger("buffer", "write", source, stdin=b"x")
    codespec = {
        "kind": "job",
        "image": image,
        "command": ["sh", "-c", f"{{ {SCRIPT}; }} >$OUTPUT_PIPE"],
        "buffers": {"inputs": ["input"], "outputs": ["output"]},
    }
    body = {"job": {"codespec": codespec, "buffers": {"input": source}}}

    def subject() -> float:
        start = time.time_ns()
        run: Any = json.loads(control.request("POST", "/runs", body=body).body)
        stamp = rig.tyger("buffer", "read", run["job"]["buffers"]["output"])
        with control.stream("GET", f"/runs/{run['id']}", query=[("watch", "true")]) as watched:
            for _ in watched.lines():
                pass  # to its end: the next run begins on a quiet machine
        return (int(stamp) - start) / 1e9

    subject()  # what is made once is made
    pair = rigs.in_turns(options.repeat * SAMPLES, bare, subject)
    return [
        table.over(f"{figure}, p50", pair, limit),
        table.over(f"{figure}, p99", rigs.Pair(_slow(pair.reference), _slow(pair.subject)), limit),
    ]


def _slow(samples: list[float]) -> list[float]:
    """Their 99th percentile."""
    return [statistics.quantiles(samples, n=100, method="inclusive")[98]]


@contextlib.contextmanager
def _podman() -> Iterator[Any]:
    """A Podman with the image, and its service."""
    root = rigs.HERE.parent
    sys.path[:0] = [str(root), str(root / "examples")]
    import images

    from tests.support import podman as support

    if (reason := support.missing()) is not None:
        raise rigs.Missing(reason)
    with support.service() as podman:
        paths = [f"/bin/{name}" for name in ("sh", "head", "date")]
        files = {path: pathlib.Path(path) for path in paths}
        files |= images.libraries(files.values())
        images.Engine(podman.socket).load(IMAGE, images.Image(files, ["ENV PATH=/bin"]))
        yield podman


@contextlib.contextmanager
def _rig(options: table.Options, podman: Any) -> Iterator[rigs.Rig]:
    rig = rigs.Rig(options.directory)
    use = f'[engine]\nuse = "container"\n[engine.container]\nsocket = "{podman.socket}"\n'
    rig.configure(rigs.CONFIG.partition("[[engine")[0] + use)
    with rig:
        yield rig


FIGURES: dict[str, Callable[[table.Options], list[table.Row]]] = {
    "submit": process,
    "submit-container": container,
}

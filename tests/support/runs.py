"""Runs in recorded exchanges: made, waited for, taken apart. Jobs are shell scripts of this host."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pathlib
import time
from collections.abc import Iterator
from typing import Any

from tests.support import answers, daemon, exchanges

V = "api-version=1.0"
CONFIG = """
[engine]
use = "process"
[engine.process]
bubblewrap = "off"
cancel_grace = 1

[[engine.process.images]]
image = "sh"
entrypoint = ["/bin/sh", "-c"]

[[engine.process.images]]
image = "quay.io/*"
entrypoint = ["/bin/true"]
"""
"""The configuration of a module whose runs are executed."""


def script(text: str, **fields: Any) -> dict[str, Any]:
    """An inline codespec that runs a shell script."""
    return {"kind": "job", "image": "sh", "args": [text] if text else [], **fields}


def shell(text: str, run: dict[str, Any] | None = None, **target: Any) -> dict[str, Any]:
    """The body of a run that does so. In `target` are `inputs` and `outputs`, names of buffers."""
    names = {side: list(target.pop(side, ())) for side in ("inputs", "outputs")}
    spec = script(text, **({"buffers": names} if any(names.values()) else {}))
    return {"job": {"codespec": spec, **target}, **(run or {})}


def body(talk: exchanges.Talk, request: str, status: str = "200 OK", *headers: str) -> Any:
    """What a request is answered in JSON."""
    talk.hold(request + answers.answer(status, "[[body:any]]", *headers))
    return json.loads(talk["body"])


def create(talk: exchanges.Talk, run: dict[str, Any], *headers: str) -> dict[str, Any]:
    """Make a run, its id remembered as `id`; the answer's body."""
    made: dict[str, Any] = body(
        talk, answers.ask("POST", f"/runs?{V}", run, *headers), "201 Created", "Location: /runs/[[id:number]]"
    )
    assert str(made["id"]) == talk["id"]
    return made


def get(talk: exchanges.Talk, run_id: int | str) -> dict[str, Any]:
    """A run as it is now."""
    found: dict[str, Any] = body(talk, answers.ask("GET", f"/runs/{run_id}?{V}"))
    return found


def watch(talk: exchanges.Talk, run_id: int | str) -> Iterator[dict[str, Any]]:
    """The snapshots of a run as they come, to the proper end of the stream."""
    talk.hold(answers.ask("GET", f"/runs/{run_id}?watch=true&{V}"))
    talk.hear_head(f"< 200 OK\n< {answers.JSON}\n< Transfer-Encoding: chunked\n")
    while line := talk.line():
        yield json.loads(line)


def ended(talk: exchanges.Talk, run_id: int | str) -> dict[str, Any]:
    """Wait until a run has ended; its last snapshot."""
    *_, last = watch(talk, run_id)
    return last


def log(talk: exchanges.Talk, run_id: int | str, query: str = "") -> str:
    """A run's log."""
    talk.hold(answers.ask("GET", f"/runs/{run_id}/logs?{V}{query}"))
    talk.hear_head("< 200 OK\n< Transfer-Encoding: chunked\n")
    return talk.rest()


class Gate:
    """Something that jobs wait for: `wait` is the line of their script that does."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        # Opened for both and kept open: a reader that comes back too early would take the end of the last
        # writer for its own.
        self.wait = f"exec 9<> '{path}'; read line <&9"
        os.mkfifo(path)

    def open(self, line: str = "") -> None:
        """Let one job that waits, or is about to, go on; one that never comes fails the test."""
        deadline = time.monotonic() + daemon.PATIENCE
        while True:
            try:
                fd = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                assert time.monotonic() < deadline, "no job waits at the gate"
                time.sleep(0.002)  # nothing tells a writer that a reader has come but an open without an end
            else:
                with open(fd, "w", encoding="utf-8") as pipe:
                    pipe.write(f"{line}\n")
                return


@contextlib.contextmanager
def gate(host: daemon.Daemon) -> Iterator[Gate]:
    """A gate of its own."""
    path = host.path / f"gate.{len(list(host.path.glob('gate.*')))}"
    yield Gate(path)

"""The figures of what the daemon remembers: lists out of a hundred thousand, and how fast it takes more in.

The catalog is filled before the daemon starts (`rows`). Lists are asked for over the real socket, on one
connection, and all of the answer is read. A list's value is the 99th percentile of its slowest kind.
"""

from __future__ import annotations

import json
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping

import figures_local
import rig as rigs
import rows
import table

from tygerd.api import paging

SAMPLES = 100
CREATED = 1000
PAGE = 200


def _after_buffer(number: int) -> str:
    return paging.moment_token((rows.created_at(number), rows.buffer_id(number)))


def _after_run(number: int) -> str:
    return paging.moment_token((rows.created_at(number), number + 1))


BUFFERS: Mapping[str, str] = {
    "all": "",
    "a deep page": f"_ct={_after_buffer(500)}",
    "deleted": "softDeleted=true",
    "half": "tag[kind]=raw",
    "a third, deep": f"tag[site]=north&_ct={_after_buffer(30_000)}",
    "two common tags": "tag[kind]=raw&tag[site]=north",
    "four of all": "tag[scan]=777",
    "one in a thousand": "tag[flagged]=yes",
    "a rare and a common tag": "tag[flagged]=yes&tag[site]=west",
    "the oldest": "tag[campaign]=first",
    "the oldest of a third": "tag[site]=west&tag[campaign]=first",
    "tags that never meet": "tag[kind]=raw&tag[parity]=odd",
    "an unknown tag": "tag[unknown]=x",
    "without half": "excludeTag[kind]=raw",
    "without nearly all": "excludeTag[archived]=true",
    "without nearly all, deep": f"excludeTag[archived]=true&_ct={_after_buffer(95_100)}",
}

RUNS: Mapping[str, str] = {
    "all": "",
    "a deep page": f"_ct={_after_run(500)}",
    "nearly all": "status=succeeded",
    "two statuses": "status=failed&status=canceled",
    "two statuses, deep": f"status=running&status=succeeded&_ct={_after_run(30_000)}",
    "a rare status": "status=running",
    "half": "tag[kind]=raw",
    "two common tags": "tag[kind]=raw&tag[site]=north",
    "four of all": "tag[scan]=777",
    "the oldest of a third": "tag[campaign]=first&tag[site]=west",
    "a rare status of a common tag": "status=running&tag[kind]=image",
    "a common status of a rare tag": "status=failed&tag[flagged]=yes",
    "tags that never meet": "tag[kind]=raw&tag[parity]=odd",
    "a month's half": "since=2026-05-01T00:00:00Z&tag[kind]=raw",
}


class Connection:
    """One connection to the daemon, on which one request follows another."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._file = self._socket.makefile("rb")

    def ask(self, method: str, target: str, body: bytes = b"") -> bytes:
        """One request; its answer's body. A refusal ends the benchmark."""
        head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        self._socket.sendall(head.encode() + body)
        status, length = self._file.readline(), 0
        while (line := self._file.readline()) != b"\r\n":
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        answer = self._file.read(length)
        if not status.startswith(b"HTTP/1.1 2"):
            sys.exit(f"bench: {method} {target}: {status!r} {answer!r}")
        return answer

    def close(self) -> None:
        """Close it."""
        self._file.close()
        self._socket.close()


def catalog(options: table.Options) -> list[table.Row]:
    """All figures of one filled catalog, as filling it takes half a minute."""
    rig = rigs.Rig(options.directory)
    try:
        rows.fill(rig.path / "state")
        rig.start()
        found = [
            pages(rig, "a page of 200 of 100,000 buffers", "/buffers", BUFFERS),
            pages(rig, "a page of 200 of 100,000 runs", "/runs", RUNS),
            run_list(rig, options),
            create(rig, options),
        ]
    finally:
        rig.close()
    return found


def pages(rig: rigs.Rig, figure: str, path: str, kinds: Mapping[str, str]) -> table.Row:
    """Every kind of list in turns, so that a slow minute hits all."""
    connection = Connection(rig.socket)
    took: dict[str, list[float]] = {kind: [] for kind in kinds}
    before = rig.cpu()
    for _ in range(SAMPLES):
        for kind, query in kinds.items():
            target = f"{path}?api-version=1.0&limit={PAGE}" + (f"&{query}" if query else "")
            took[kind].append(rigs.timed(lambda target=target: connection.ask("GET", target)) * 1000)  # type: ignore[misc]
    cpu = (rig.cpu() - before) / SAMPLES / len(kinds) * 1000
    connection.close()
    worst = max(took, key=lambda kind: percentile(took[kind], 0.99))
    middle = statistics.median(sample for samples in took.values() for sample in samples)
    return table.Row(
        f"{figure}, p99",
        "",
        f"{worst}; p50 of all {middle:.1f} ms, processor {cpu:.1f} ms",
        percentile(took[worst], 0.99),
        "ms",
        50,
        more_is_better=False,
        samples=took,
    )


def run_list(rig: rigs.Rig, options: table.Options) -> table.Row:
    """The whole command, which prints a thousand runs, beside an interpreter with what all need."""
    bare = [sys.executable, "-c", "import click, socket, json"]
    pair = rigs.in_turns(
        max(options.repeat, 5),
        lambda: figures_local.repeated(bare, rig.environ, times=3),
        lambda: figures_local.repeated([rigs.TYGER, "run", "list"], rig.environ, times=3),
    )
    printed = json.loads(
        subprocess.run([rigs.TYGER, "run", "list"], env=rig.environ, capture_output=True, check=True).stdout
    )
    if len(printed) != 1000:
        sys.exit(f"bench: tyger run list printed {len(printed)} runs")
    reference, subject = pair.medians()
    return table.Row(
        "tyger run list of 100,000 runs",
        table.milliseconds(reference),
        table.milliseconds(subject),
        subject * 1000,
        "ms",
        120,
        more_is_better=False,
        samples={"reference": pair.reference, "subject": pair.subject},
    )


def create(rig: rigs.Rig, options: table.Options) -> table.Row:
    """One client that waits for each answer before it asks again, with `durability = "process"`."""
    connection = Connection(rig.socket)
    body = b'{"tags":{"scan":"7","site":"north"}}'

    def many(ask: Callable[[], object]) -> float:
        start = time.monotonic()
        for _ in range(CREATED):
            ask()
        return CREATED / (time.monotonic() - start)

    pair = rigs.in_turns(
        options.repeat,
        lambda: many(lambda: connection.ask("GET", "/metadata")),
        lambda: many(lambda: connection.ask("POST", "/buffers?api-version=1.0", body)),
    )
    connection.close()
    reference, subject = pair.medians()
    return table.Row(
        "buffer create by one client",
        f"{reference:.0f}/s metadata",
        f"{subject:.0f}/s, nothing synced",
        subject,
        "/s",
        500,
        more_is_better=True,
        samples={"reference": pair.reference, "subject": pair.subject},
    )


def percentile(samples: list[float], share: float) -> float:
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


FIGURES: dict[str, Callable[[table.Options], list[table.Row]]] = {"catalog": catalog}

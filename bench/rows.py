"""A catalog of a laboratory that has worked for years: 100,000 buffers and as many runs, all ended.

The rows are written as the daemon writes them, but without their containers: lists never look at those. Tags
are of every kind that a filter may meet: of half the rows, of one row in a thousand, of a few rows at the old
end only.
"""

from __future__ import annotations

import base64
import json
import os
import pathlib
import sqlite3
from collections.abc import Iterator

from tyger import units
from tygerd.catalog import db, schema
from tygerd.stores import local

COUNT = 100_000
NEWEST = units.to_micros(units.parse_timestamp("2026-06-01T12:00:00Z"))
STEP = 300_000_000
"""Microseconds between two rows: a hundred thousand of them are a year."""


def fill(state: pathlib.Path, count: int = COUNT) -> None:
    """Make the catalog of a state directory that no daemon uses."""
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    opened = db.Catalog.open(os.fspath(state / "catalog.sqlite3"))
    opened.close()
    # Row by row through SQLAlchemy it takes a minute.
    connection = sqlite3.connect(state / "catalog.sqlite3")
    for table, rows in (
        (schema.buffers, (_buffer(number, count, opened.installation) for number in range(count))),
        (schema.buffer_tags, _tags("buffer_id", count)),
        (schema.runs, (_run(number, count, opened.installation) for number in range(count))),
        (schema.run_tags, _tags("run_id", count)),
    ):
        names = [column.name for column in table.columns]
        holders = ", ".join(f":{name}" for name in names)
        connection.executemany(f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({holders})", rows)
    connection.commit()
    connection.close()


def buffer_id(number: int) -> str:
    """The id of the buffer that is `number` rows younger than the oldest."""
    digest = (number * 0x9E3779B97F4A7C15F39CC0605CEDC835 + 1) % 2**128  # spread, as random ids are
    return base64.b32encode(digest.to_bytes(16, "big")).decode().rstrip("=").lower()


def created_at(number: int, count: int = COUNT) -> int:
    """When the row was made that is `number` rows younger than the oldest, microseconds."""
    return NEWEST - (count - 1 - number) * STEP


def tags(number: int, count: int) -> dict[str, str]:
    """The tags of a row, the oldest of `count` being 0."""
    found = {
        "kind": ("raw", "image")[number % 2],
        "parity": ("even", "odd")[number % 2],  # never together with the other kind
        "site": ("north", "south", "west")[number % 3],
        "scan": str(number // 4),
    }
    if number % 1000 == 0:
        found["flagged"] = "yes"
    if number < count // 20:
        found["campaign"] = "first"
    if number < count * 95 // 100:
        found["archived"] = "true"
    return found


def _buffer(number: int, count: int, installation: str) -> dict[str, object]:
    deleted = number % 10 == 9
    return {
        "id": buffer_id(number),
        "location": local.NAME,
        "created_at": created_at(number, count),
        "is_soft_deleted": deleted,
        "expires_at": 2**53 if deleted else None,
        "is_ready": True,
        "owner_uid": os.getuid(),
        "owner": installation,
        "epoch": 1,
        "account": local.NAME,
    }


def _run(number: int, count: int, installation: str) -> dict[str, object]:
    if number % 5000 == 7:
        status = "Running"
    elif number % 20 == 3:
        status = "Failed"
    elif number % 100 == 4:
        status = "Canceled"
    else:
        status = "Succeeded"
    moment = created_at(number, count)
    return {
        "id": number + 1,
        "body": _body(number, count),
        "status": status,
        "status_reason": "Main exited with code 3" if status == "Failed" else None,
        "running_count": None,
        "created_at": moment,
        "started_at": moment + 1_250_000,
        "finished_at": moment + 61_250_000,
        "logs_archived_at": moment + 61_300_000,
        "final": True,  # also those that seem to run: no daemon shall look for them
        "owner_uid": os.getuid(),
        "owner": installation,
        "epoch": 1,
        "engine": "process",
        "image_digest": None,
    }


def _body(number: int, count: int) -> str:
    return json.dumps(
        {
            "kind": "user",
            "job": {
                "codespec": {
                    "kind": "job",
                    "image": "registry.example.com/recon/grappa@sha256:" + "0123456789abcdef" * 4,
                    "command": ["python3", "/opt/recon/main.py", "--input", "$(INPUT_PIPE)"],
                    "args": ["--output", "$(OUTPUT_PIPE)", "--coil-compression", "8"],
                    "env": {"OMP_NUM_THREADS": "8", "RECON_PROFILE": "clinical"},
                    "resources": {"requests": {"cpu": "4", "memory": "8G"}, "gpu": "1"},
                    "buffers": {"inputs": ["input"], "outputs": ["output"]},
                },
                "buffers": {"input": buffer_id(number), "output": buffer_id((number + 1) % count)},
                "replicas": 1,
            },
            "timeoutSeconds": 43200,
            "bufferAccessTtl": "01:00:00",
        },
        separators=(",", ":"),
    )


def _tags(column: str, count: int) -> Iterator[dict[str, object]]:
    for number in range(count):
        owner = buffer_id(number) if column == "buffer_id" else number + 1
        for key, value in tags(number, count).items():
            yield {column: owner, "key": key, "value": value, "created_at": created_at(number, count)}

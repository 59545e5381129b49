"""ETags: decimal texts of a 64-bit hash over what a client can see change, contract rest-api.md 2.4.

Computed as the original computes them, so that a state has one ETag whichever server shows it. Pure.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

import xxhash

_NOTHING = b"\xff"
_TICKS_AT_1970 = 621_355_968_000_000_000  # 100 ns since the year 1
_STATUSES = ("Pending", "Running", "Failed", "Succeeded", "Canceling", "Canceled")


def of_buffer(
    buffer_id: str, *, is_soft_deleted: bool, expires_at: int | None, tags: Mapping[str, str]
) -> str:
    """The ETag of a buffer; `expires_at` in microseconds."""
    milliseconds = 0 if expires_at is None else expires_at // 1000
    state = b"True" if is_soft_deleted else b"False"
    return _hash(buffer_id.encode() + state + struct.pack("<q", milliseconds) + _tags(tags))


def of_run(
    run_id: int,
    *,
    status: str | None,
    status_reason: str | None,
    running_count: int | None,
    started_at: int | None,
    finished_at: int | None,
    cluster: str | None,
    job_node_pool: str | None,
    worker_node_pool: str | None,
    has_worker: bool,
    tags: Mapping[str, str],
) -> str:
    """The ETag of a run; moments in microseconds."""
    parts = [
        struct.pack("<q", run_id),
        bytes([255 if status is None else _STATUSES.index(status)]),
        _text(status_reason),
        struct.pack("<iqq", running_count or 0, _ticks(started_at), _ticks(finished_at)),
        _text(cluster),
        _text(job_node_pool),
        _text(worker_node_pool) if has_worker else b"",
        _tags(tags),
    ]
    return _hash(b"".join(parts))


def _hash(data: bytes) -> str:
    return str(xxhash.xxh3_64_intdigest(data))


def _text(text: str | None) -> bytes:
    return text.encode() if text else _NOTHING


def _ticks(micros: int | None) -> int:
    return 0 if micros is None else micros * 10 + _TICKS_AT_1970


def _tags(tags: Mapping[str, str]) -> bytes:
    if not tags:
        return _NOTHING
    return b"".join(f"{key}\0{value}".encode() for key, value in sorted(tags.items()))

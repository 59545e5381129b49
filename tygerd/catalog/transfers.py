"""Queries about transfers: plain functions of a Connection, for `Catalog.read` and `Catalog.write`.

Timestamps are microseconds (`units.to_micros`). `bytes` and `blocks` are as last written here: the truth
about a running transfer is in its container's journal.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TypedDict, Unpack

import sqlalchemy as sa

from tygerd.catalog import schema

_transfers = schema.transfers


@dataclass(frozen=True, slots=True)
class TransferRow:
    """One write (reads are not kept)."""

    id: str
    buffer: str
    run: int | None
    state: str
    reason: str | None
    block_size: int
    flush_interval: float
    bytes: int
    blocks: int
    created_at: int
    finished_at: int | None
    owner_uid: int
    owner: str
    epoch: int
    account: str = "local"
    paused: bool = False
    stalled: str | None = None
    priority: str = "live"
    shipped: int = 0
    code: str | None = None


class TransferChanges(TypedDict, total=False):
    """What `update` can set; what is left out stays."""

    state: str
    reason: str | None
    bytes: int
    blocks: int
    finished_at: int | None
    owner: str
    epoch: int
    paused: bool
    stalled: str | None
    priority: str
    shipped: int
    code: str | None


def insert(connection: sa.Connection, row: TransferRow) -> None:
    """Add a transfer."""
    connection.execute(sa.insert(_transfers).values(asdict(row)))


def update(connection: sa.Connection, transfer_id: str, **changes: Unpack[TransferChanges]) -> bool:
    """Set the given columns; False when there is no such transfer."""
    query = sa.update(_transfers).where(_transfers.c.id == transfer_id).values(dict(changes))
    return connection.execute(query).rowcount == 1


def get(connection: sa.Connection, transfer_id: str) -> TransferRow | None:
    """The transfer, or None."""
    found = connection.execute(sa.select(_transfers).where(_transfers.c.id == transfer_id)).mappings().first()
    return TransferRow(**found) if found is not None else None


def newest(connection: sa.Connection, limit: int) -> list[TransferRow]:
    """The newest transfers, newest first."""
    query = (
        sa.select(_transfers).order_by(_transfers.c.created_at.desc(), _transfers.c.id.desc()).limit(limit)
    )
    return [TransferRow(**row) for row in connection.execute(query).mappings()]


def unfinished(connection: sa.Connection) -> list[TransferRow]:
    """The transfers without an end, oldest first: what a starting daemon must look after."""
    query = sa.select(_transfers).where(_transfers.c.finished_at.is_(None)).order_by(_transfers.c.created_at)
    return [TransferRow(**row) for row in connection.execute(query).mappings()]

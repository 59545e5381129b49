"""Queries about buffers: plain functions of a Connection, for `Catalog.read` and `Catalog.write`.

Timestamps are microseconds (`units.to_micros`). A row that is not ready (its directory is being made, or
being removed) is seen by no query here but `unready`. Which changes of state are allowed is `buffers.states`'
affair.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import sqlalchemy as sa

from tygerd.catalog import newest, schema
from tygerd.catalog import tags as tag_queries

_buffers = schema.buffers
_TAGS = schema.buffer_tags.c.buffer_id
_INSERT = sa.insert(_buffers)


@dataclass(frozen=True, slots=True)
class BufferRow:
    """One buffer."""

    id: str
    location: str
    created_at: int
    is_soft_deleted: bool
    expires_at: int | None
    owner_uid: int
    owner: str
    epoch: int
    tags: dict[str, str]
    account: str = "local"


class Kept(NamedTuple):
    """A container and the store that holds it."""

    id: str
    account: str


@dataclass(frozen=True, slots=True)
class Filter:
    """Which buffers a query is about: those with all of `tags` and none of `exclude`."""

    tags: Mapping[str, str] = field(default_factory=dict)
    exclude: Mapping[str, str] = field(default_factory=dict)

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """As SQL."""
        return tag_queries.filters(_buffers.c.id, _TAGS, tags=self.tags, exclude=self.exclude)


def insert(connection: sa.Connection, row: BufferRow, *, ready: bool = False) -> None:
    """Add a buffer, which shows if it is ready."""
    values = {name: getattr(row, name) for name in _COLUMNS}
    connection.execute(_INSERT, {**values, "is_ready": ready})
    tag_queries.insert(connection, _TAGS, row.id, row.tags, row.created_at)


def set_ready(connection: sa.Connection, ids: Collection[str]) -> None:
    """The directories of these are made: from now on they are buffers."""
    connection.execute(sa.update(_buffers).where(_buffers.c.id.in_(ids)).values(is_ready=True))


def unready(connection: sa.Connection) -> list[Kept]:
    """What is being made or removed; at the start of a daemon, what a crash interrupted."""
    query = sa.select(_buffers.c.id, _buffers.c.account).where(sa.not_(_buffers.c.is_ready))
    return [Kept(*row) for row in connection.execute(query)]


def forget(connection: sa.Connection, ids: Collection[str]) -> None:
    """Remove the rows; their directories are gone."""
    connection.execute(sa.delete(_buffers).where(_buffers.c.id.in_(ids)))


def get(connection: sa.Connection, buffer_id: str) -> BufferRow | None:
    """The buffer in whatever state, or None."""
    found = _rows(connection, _select().where(_buffers.c.id == buffer_id))
    return found[0] if found else None


def page(
    connection: sa.Connection,
    *,
    limit: int,
    soft_deleted: bool,
    chosen: Filter,
    after: tuple[int, str] | None = None,
) -> list[BufferRow]:
    """Newest first; `after` is the (created_at, id) of the last buffer of the page before."""
    if chosen.tags or chosen.exclude:
        choice = newest.Choice(
            ["is_ready = 1 AND is_soft_deleted = :soft_deleted"], {"soft_deleted": soft_deleted}, after
        )
        ids = newest.ids(connection, _TAGS, choice, tags=chosen.tags, exclude=chosen.exclude, limit=limit)
        rows = {row.id: row for row in _rows(connection, _select().where(_buffers.c.id.in_(ids)))}
        return [rows[buffer_id] for buffer_id in ids]
    query = _select().where(_buffers.c.is_soft_deleted == soft_deleted)
    if after is not None:
        query = query.where(sa.tuple_(_buffers.c.created_at, _buffers.c.id) < after)
    return _rows(connection, query.order_by(_buffers.c.created_at.desc(), _buffers.c.id.desc()).limit(limit))


def count(connection: sa.Connection, *, soft_deleted: bool | None, chosen: Filter, now: int) -> int:
    """How many buffers that have not expired; None counts both states."""
    query = sa.select(sa.func.count()).select_from(_buffers)
    query = query.where(_buffers.c.is_ready, _lives(now), *chosen.conditions())
    if soft_deleted is not None:
        query = query.where(_buffers.c.is_soft_deleted == soft_deleted)
    return connection.execute(query).scalar_one()


def usable(connection: sa.Connection, ids: Collection[str], now: int) -> set[str]:
    """Those of `ids` that are active and have not expired."""
    query = sa.select(_buffers.c.id).where(
        _buffers.c.is_ready, _buffers.c.id.in_(ids), sa.not_(_buffers.c.is_soft_deleted), _lives(now)
    )
    return set(connection.scalars(query))


def set_expiry(connection: sa.Connection, buffer_id: str, expires_at: int | None) -> None:
    """Set the expiry of one buffer."""
    connection.execute(sa.update(_buffers).where(_buffers.c.id == buffer_id).values(expires_at=expires_at))


def set_state(
    connection: sa.Connection, buffer_id: str, *, is_soft_deleted: bool, expires_at: int | None
) -> None:
    """Set state and expiry of one buffer."""
    change = sa.update(_buffers).where(_buffers.c.id == buffer_id)
    connection.execute(change.values(is_soft_deleted=is_soft_deleted, expires_at=expires_at))


def set_states(
    connection: sa.Connection,
    *,
    was_soft_deleted: bool,
    is_soft_deleted: bool,
    expires_at: int | None,
    chosen: Filter,
    now: int,
) -> int:
    """The same for every buffer in one state that has not expired; how many there were."""
    change = sa.update(_buffers).where(
        _buffers.c.is_ready, _buffers.c.is_soft_deleted == was_soft_deleted, _lives(now), *chosen.conditions()
    )
    return connection.execute(change.values(is_soft_deleted=is_soft_deleted, expires_at=expires_at)).rowcount


def set_tags(connection: sa.Connection, buffer_id: str, tags: Mapping[str, str]) -> None:
    """Replace all tags of an existing buffer."""
    tag_queries.replace(connection, _TAGS, buffer_id, tags)


def soft_delete_expired(connection: sa.Connection, *, now: int, expires_at: int) -> int:
    """Active buffers whose expiry has come become soft-deleted ones with a new expiry; how many."""
    change = sa.update(_buffers).where(
        _buffers.c.is_ready, sa.not_(_buffers.c.is_soft_deleted), _buffers.c.expires_at <= now
    )
    return connection.execute(change.values(is_soft_deleted=True, expires_at=expires_at)).rowcount


def claim_purgeable(connection: sa.Connection, *, now: int, limit: int) -> list[Kept]:
    """Some soft-deleted buffers whose expiry has come; from now on they do not show."""
    query = sa.select(_buffers.c.id, _buffers.c.account).where(
        _buffers.c.is_ready, _buffers.c.is_soft_deleted, _buffers.c.expires_at <= now
    )
    claimed = [Kept(*row) for row in connection.execute(query.limit(limit))]
    ids = [kept.id for kept in claimed]
    connection.execute(sa.update(_buffers).where(_buffers.c.id.in_(ids)).values(is_ready=False))
    return claimed


def account(connection: sa.Connection, buffer_id: str) -> str | None:
    """The store that holds the buffer, in whatever state; None when there is no such buffer."""
    query = sa.select(_buffers.c.account).where(_buffers.c.id == buffer_id, _buffers.c.is_ready)
    found: str | None = connection.scalar(query)
    return found


def next_expiry(connection: sa.Connection) -> int | None:
    """When the next buffer expires, perhaps in the past; None when none will."""
    query = sa.select(sa.func.min(_buffers.c.expires_at)).where(
        _buffers.c.expires_at.is_not(None), _buffers.c.is_ready
    )
    moment: int | None = connection.scalar(query)
    return moment


_COLUMNS: Sequence[str] = (
    "id",
    "location",
    "created_at",
    "is_soft_deleted",
    "expires_at",
    "owner_uid",
    "owner",
    "epoch",
    "account",
)


def _select() -> sa.Select[Any]:
    return sa.select(*(_buffers.c[name] for name in _COLUMNS)).where(_buffers.c.is_ready)


def _lives(now: int) -> sa.ColumnElement[bool]:
    return sa.or_(_buffers.c.expires_at.is_(None), _buffers.c.expires_at > now)


def _rows(connection: sa.Connection, query: sa.Select[Any]) -> list[BufferRow]:
    found = connection.execute(query).all()
    tags = tag_queries.of(connection, _TAGS, [row[0] for row in found])
    return [
        BufferRow(id_, location, created, deleted, expires, uid, owner, epoch, tags[id_], account)
        for id_, location, created, deleted, expires, uid, owner, epoch, account in found
    ]

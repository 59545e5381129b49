"""Queries about the buffers of one storage account, for export and import."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import sqlalchemy as sa

from tygerd.catalog import buffers, schema
from tygerd.catalog import tags as tag_queries

_buffers = schema.buffers


def oldest(
    connection: sa.Connection,
    account: str,
    *,
    tags: Mapping[str, str],
    limit: int,
    after: tuple[int, str] | None = None,
) -> list[buffers.BufferRow]:
    """Buffers of an account with all of `tags`, oldest first, soft-deleted and expired ones too.

    `after` is the (created_at, id) of the last one of the page before.
    """
    conditions = tag_queries.filters(_buffers.c.id, schema.buffer_tags.c.buffer_id, tags=tags)
    query = sa.select(_buffers.c.id).where(_buffers.c.is_ready, _buffers.c.account == account, *conditions)
    if after is not None:
        query = query.where(sa.tuple_(_buffers.c.created_at, _buffers.c.id) > after)
    found = connection.scalars(query.order_by(_buffers.c.created_at, _buffers.c.id).limit(limit)).all()
    rows = (buffers.get(connection, buffer_id) for buffer_id in found)
    return [row for row in rows if row is not None]


def insert_unknown(connection: sa.Connection, rows: Collection[buffers.BufferRow]) -> list[str]:
    """Add those buffers whose ids are not taken, containers and all; the ids of those that were added."""
    ids = [row.id for row in rows]
    known = set(connection.scalars(sa.select(_buffers.c.id).where(_buffers.c.id.in_(ids))))
    new = [row for row in rows if row.id not in known]
    for row in new:
        buffers.insert(connection, row, ready=True)
    return [row.id for row in new]

"""Tags of buffers and runs: one pair of tables each, the same queries.

Each function takes the tag table's column that refers to the tagged row (`buffer_tags.c.buffer_id` or
`run_tags.c.run_id`); the table's other columns are `key` and `value`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import sqlalchemy as sa

from tygerd.catalog import schema

Id = TypeVar("Id", str, int)

ALONE = 12
"""Tags that have a condition each. SQLite refuses a statement with a thousand conditions."""

_INSERTS = {table.name: sa.insert(table) for table in (schema.buffer_tags, schema.run_tags)}


def filters(
    tagged: sa.ColumnElement[Any],
    column: sa.Column[Any],
    *,
    tags: Mapping[str, str],
    exclude: Mapping[str, str] | None = None,
) -> list[sa.ColumnElement[bool]]:
    """Conditions on the row whose id is `tagged`: it has all of `tags`, none of `exclude`."""
    wanted, unwanted = list(tags.items()), list((exclude or {}).items())
    found: list[sa.ColumnElement[bool]] = [tagged.in_(_with(column, tag)) for tag in wanted[:ALONE]]
    found += [tagged.not_in(_with(column, tag)) for tag in unwanted[:ALONE]]
    for some, count in ((wanted[ALONE:], len(wanted[ALONE:])), (unwanted[ALONE:], 0)):
        if some:
            pair = sa.tuple_(column.table.c.key, column.table.c.value)
            query = sa.select(sa.func.count()).where(column == tagged, pair.in_(some))
            found.append(query.scalar_subquery() == count)
    return found


def _with(column: sa.Column[Any], tag: tuple[str, str]) -> sa.Select[Any]:
    tags = column.table.c
    return sa.select(column).where(tags.key == tag[0], tags.value == tag[1])


def of(connection: sa.Connection, column: sa.Column[Any], ids: Iterable[Id]) -> dict[Id, dict[str, str]]:
    """The tags of each of `ids`, in key order; an id without tags maps to an empty dict."""
    found: dict[Id, dict[str, str]] = {id_: {} for id_ in ids}
    if not found:
        return found
    tags = column.table.c
    query = sa.select(column, tags.key, tags.value).where(column.in_(list(found))).order_by(column, tags.key)
    for id_, key, value in connection.execute(query).all():
        found[id_][key] = value
    return found


def insert(
    connection: sa.Connection,
    column: sa.Column[Any],
    id_: str | int,
    tags: Mapping[str, str],
    created_at: int,
) -> None:
    """Give a row without tags these; `created_at` is the row's own."""
    if tags:
        owner = {column.name: id_, "created_at": created_at}
        rows = [{**owner, "key": key, "value": value} for key, value in tags.items()]
        connection.execute(_INSERTS[column.table.name], rows)


def replace(
    connection: sa.Connection, column: sa.Column[Any], id_: str | int, tags: Mapping[str, str]
) -> None:
    """Give an existing row these tags instead of all that it has."""
    connection.execute(sa.delete(column.table).where(column == id_))
    if tags:
        owner = schema.tagged(column)
        created_at = connection.execute(sa.select(owner.c.created_at).where(owner.c.id == id_)).scalar_one()
        insert(connection, column, id_, tags, created_at)

"""Queries about codespecs: plain functions of a Connection, for `Catalog.read` and `Catalog.write`.

A version is never changed and never removed. Which bodies are equal is `codespecs.service`'s affair.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from tygerd.catalog import schema

_codespecs = schema.codespecs


@dataclass(frozen=True, slots=True)
class CodespecRow:
    """One version. `body` is JSON without name, version and createdAt; `created_at` is microseconds."""

    name: str
    version: int
    created_at: int
    owner_uid: int
    body: str


def insert(connection: sa.Connection, row: CodespecRow) -> None:
    """Add a version."""
    values = {column.name: getattr(row, column.name) for column in _codespecs.c}
    connection.execute(sa.insert(_codespecs).values(values))


def latest(connection: sa.Connection, name: str) -> CodespecRow | None:
    """The newest version, or None."""
    query = sa.select(_codespecs).where(_codespecs.c.name == name)
    return _first(connection, query.order_by(_codespecs.c.version.desc()))


def get(connection: sa.Connection, name: str, version: int) -> CodespecRow | None:
    """That version, or None."""
    query = sa.select(_codespecs).where(_codespecs.c.name == name, _codespecs.c.version == version)
    return _first(connection, query)


def page(
    connection: sa.Connection, *, limit: int, prefix: str | None = None, after: str | None = None
) -> list[CodespecRow]:
    """The newest version of each name, in byte order of names, those after `after`.

    `prefix` is the beginning of a LIKE pattern, as the contract has it: `_` and `%` are wildcards, and a
    backslash takes the sense from the character behind it, as in PostgreSQL.
    """
    newest = sa.select(_codespecs.c.name, sa.func.max(_codespecs.c.version).label("version"))
    if prefix is not None:
        newest = newest.where(_codespecs.c.name.like(prefix + "%", escape="\\"))
    if after is not None:
        newest = newest.where(_codespecs.c.name > after)
    chosen = newest.group_by(_codespecs.c.name).order_by(_codespecs.c.name).limit(limit).subquery()
    query = sa.select(_codespecs).join(
        chosen, sa.and_(_codespecs.c.name == chosen.c.name, _codespecs.c.version == chosen.c.version)
    )
    return [CodespecRow(**row) for row in connection.execute(query.order_by(_codespecs.c.name)).mappings()]


def _first(connection: sa.Connection, query: sa.Select[Any]) -> CodespecRow | None:
    found = connection.execute(query.limit(1)).mappings().first()
    return CodespecRow(**found) if found is not None else None

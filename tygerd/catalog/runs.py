"""Queries about runs: plain functions of a Connection, for `Catalog.read` and `Catalog.write`.

Timestamps are microseconds (`units.to_micros`). Which changes of status are allowed is the runs service's
affair; what is written here is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypedDict, Unpack

import msgspec
import sqlalchemy as sa

from tygerd.catalog import newest, schema
from tygerd.catalog import tags as tag_queries

_runs = schema.runs
_TAGS = schema.run_tags.c.run_id


class RunRow(msgspec.Struct, frozen=True):  # a dataclass is made ten times as slowly
    """One run. `body` is the JSON given to `insert_run`; the other fields are the state as it is now."""

    id: int
    body: str
    status: str
    status_reason: str | None
    running_count: int | None
    created_at: int
    started_at: int | None
    finished_at: int | None
    logs_archived_at: int | None
    final: bool
    owner_uid: int
    owner: str
    epoch: int
    engine: str
    image_digest: str | None
    tags: dict[str, str]


class RunChanges(TypedDict, total=False):
    """What `set_run_state` can set; what is left out stays."""

    body: str
    status: str
    status_reason: str | None
    running_count: int | None
    started_at: int | None
    finished_at: int | None
    logs_archived_at: int | None
    final: bool
    owner: str
    epoch: int
    image_digest: str | None


def insert_run(
    connection: sa.Connection,
    run_json: str,
    tags: Mapping[str, str],
    owner_uid: int,
    now: int,
    *,
    owner: str,
    status: str = "Pending",
    epoch: int = 1,
    engine: str = "process",
) -> int:
    """Add a run; its id, which was never given before."""
    values = {
        "body": run_json,
        "status": status,
        "created_at": now,
        "final": False,
        "owner_uid": owner_uid,
        "owner": owner,
        "epoch": epoch,
        "engine": engine,
    }
    result = connection.execute(sa.insert(_runs).values(values))
    (run_id,) = result.inserted_primary_key or (None,)
    if not isinstance(run_id, int):
        raise TypeError(f"the database gave the run no number but {run_id!r}")
    tag_queries.insert(connection, _TAGS, run_id, tags, now)
    return run_id


def get_run(connection: sa.Connection, run_id: int) -> RunRow | None:
    """The run, or None."""
    found = _rows(connection, _select().where(_runs.c.id == run_id))
    return found[0] if found else None


def set_run_state(connection: sa.Connection, run_id: int, **changes: Unpack[RunChanges]) -> bool:
    """Set the given columns; False when there is no such run."""
    query = sa.update(_runs).where(_runs.c.id == run_id).values(dict(changes))
    return connection.execute(query).rowcount == 1


def set_tags(connection: sa.Connection, run_id: int, tags: Mapping[str, str]) -> None:
    """Replace all tags of an existing run."""
    tag_queries.replace(connection, _TAGS, run_id, tags)


def list_runs(
    connection: sa.Connection,
    *,
    limit: int,
    since: int | None = None,
    statuses: Sequence[str] = (),
    tags: Mapping[str, str] | None = None,
    after: tuple[int, int] | None = None,
) -> list[RunRow]:
    """Newest first: created strictly after `since`, in one of `statuses` (none: any), with all of `tags`.

    `after` is the (created_at, id) of the last run of the page before.
    """
    if tags or statuses:
        kinds = {f"status{number}": status for number, status in enumerate(sorted(set(statuses)))}
        choice = newest.Choice([f"status = :{name}" for name in kinds], kinds, after, since)
        ids = newest.ids(connection, _TAGS, choice, tags=tags or {}, exclude={}, limit=limit)
        rows = {row.id: row for row in _rows(connection, _select().where(_runs.c.id.in_(ids)))}
        return [rows[run_id] for run_id in ids]
    query = _select()
    if since is not None:
        query = query.where(_runs.c.created_at > since)
    if after is not None:
        query = query.where(sa.tuple_(_runs.c.created_at, _runs.c.id) < after)
    return _rows(connection, query.order_by(_runs.c.created_at.desc(), _runs.c.id.desc()).limit(limit))


def count_runs(
    connection: sa.Connection, *, since: int | None = None, tags: Mapping[str, str] | None = None
) -> dict[str, int]:
    """How many runs are in each status; a status without runs is absent."""
    query = (
        sa.select(_runs.c.status, sa.func.count()).where(*_conditions(since, tags)).group_by(_runs.c.status)
    )
    return {status: count for status, count in connection.execute(query)}  # noqa: C416 - typed rows to a dict


def unfinished_runs(connection: sa.Connection) -> list[RunRow]:
    """The runs that are not final, oldest first: what a starting daemon must look after."""
    return _rows(connection, _select().where(sa.not_(_runs.c.final)).order_by(_runs.c.id))


def run_for_key(connection: sa.Connection, key: str) -> int | None:
    """The run that was created with this idempotency key, if one was."""
    keys = schema.idempotency_keys.c
    return connection.scalar(sa.select(keys.run_id).where(keys.key == key))


def remember_key(connection: sa.Connection, key: str, run_id: int, now: int) -> None:
    """Note that `key` made `run_id`; in the transaction that inserts the run."""
    connection.execute(sa.insert(schema.idempotency_keys).values(key=key, run_id=run_id, created_at=now))


def _conditions(since: int | None, tags: Mapping[str, str] | None) -> Iterable[sa.ColumnElement[bool]]:
    conditions = tag_queries.filters(_runs.c.id, _TAGS, tags=tags or {})
    return [*conditions, _runs.c.created_at > since] if since is not None else conditions


_COLUMNS = [_runs.c[name] for name in RunRow.__struct_fields__ if name != "tags"]


def _select() -> sa.Select[Any]:
    return sa.select(*_COLUMNS)


def _rows(connection: sa.Connection, query: sa.Select[Any]) -> list[RunRow]:
    found = connection.execute(query).all()
    tags = tag_queries.of(connection, _TAGS, [row[0] for row in found])
    make: Callable[..., RunRow] = RunRow
    return [make(*row, tags[row[0]]) for row in found]

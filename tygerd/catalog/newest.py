"""Which rows a page of a filtered list has: the newest that carry some tags and lack others.

Theory of operation. Every list is ordered by age, and so is the index of each tag (`..._tags_by_age`). A page
is found from such indexes alone, in one of two ways, and no row that is not on it is read:

- Few rows carry one of the wanted tags: these are looked at one by one.
- Else the indexes are merged as the sorted lists that they are: SQLite does so for the arms of a compound
  SELECT that come in the order that is asked for, and stops when the page is full. The work is at worst one
  step for each entry, 15 ms for a hundred thousand; looking each of them up would take ten times that.

The statements are text because SQLAlchemy puts parentheses around the arms of a compound SELECT of several
kinds, which SQLite refuses. Without them SQLite goes from left to right; PostgreSQL would need them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from tygerd.catalog import schema

FEW = 1000
"""Rows with a tag that are looked at one by one: 2 ms."""

MERGED = 12
"""Indexes that are merged at most; a list by more tags than anybody would name takes the slow way for the
rest.
"""


@dataclass(frozen=True)
class Choice:
    """Which rows of a table are wanted, apart from their tags.

    `kinds` are conditions, as SQL, on the table's columns: a row is wanted that fulfils any, and none fulfils
    two. Each has an index that continues with `created_at DESC, id DESC`. `values` are their parameters.
    `after` is the (created_at, id) of the last row of the page before, `since` a created_at below all.
    """

    kinds: Sequence[str]
    values: Mapping[str, object] = field(default_factory=dict)
    after: tuple[int, str | int] | None = None
    since: int | None = None


def ids(
    connection: sa.Connection,
    column: sa.Column[Any],
    choice: Choice,
    *,
    tags: Mapping[str, str],
    exclude: Mapping[str, str],
    limit: int,
    few: int = FEW,
) -> list[Any]:
    """The ids of the newest `limit` rows, newest first.

    `column` is the tag table's that refers to the rows (`buffer_tags.c.buffer_id`, say).
    """
    statement = _Statement(column, choice)
    wanted, unwanted = list(tags.items()), list(exclude.items())
    text = None
    for tag in wanted[:MERGED]:
        count, newest = _extent(connection, column, tag, few)
        if count <= few:
            text = statement.among(tag, [other for other in wanted if other != tag], unwanted)
            break
        statement.begin_at(newest)
    text = text or statement.merged(wanted, unwanted)
    found = connection.execute(sa.text(text + " LIMIT :limit"), {**statement.values, "limit": limit})
    return [row[1] for row in found]


def _extent(
    connection: sa.Connection, column: sa.Column[Any], tag: tuple[str, str], few: int
) -> tuple[int, int]:
    """How many rows carry a tag (`few` + 1: more than few), and when the newest was created."""
    tags = column.table.c
    some = sa.select(tags.created_at).where(tags.key == tag[0], tags.value == tag[1])
    ages = some.order_by(tags.created_at.desc(), column.desc()).limit(few + 1).subquery()
    found = connection.execute(sa.select(sa.func.count(), sa.func.max(ages.c.created_at))).one()
    return found[0], found[1] or 0


class _Statement:
    """One statement as it is put together; `values` are its parameters so far."""

    def __init__(self, column: sa.Column[Any], choice: Choice) -> None:
        self.values: dict[str, object] = dict(choice.values)
        self._rows = schema.tagged(column).name
        self._tags, self._owner = column.table.name, column.name
        self._choice = choice
        self._newest: int | None = None
        self._numbers = itertools.count()

    def begin_at(self, newest: int) -> None:
        """No row that is wanted is younger than this: begin there, in all indexes."""
        self._newest = newest if self._newest is None else min(self._newest, newest)

    def merged(self, wanted: Sequence[tuple[str, str]], unwanted: Sequence[tuple[str, str]]) -> str:
        """Indexes merged: those of the rows, of each wanted tag, and of each unwanted one."""
        inner = wanted[:MERGED]
        outer = unwanted[: MERGED - len(inner)]
        rest = self._all_of(f"{self._rows}.id", wanted[len(inner) :], unwanted[len(outer) :])
        rows = [self._arm(self._rows, "id", [kind, *rest]) for kind in self._choice.kinds or ("1 = 1",)]
        carriers = [self._arm(self._tags, self._owner, [self._is(tag)]) for tag in inner]
        # Tags first: what they leave is seldom much. But a union binds no stronger than what follows it.
        arms = [" UNION ALL ".join(rows), *carriers] if len(rows) > 1 else [*carriers, *rows]
        text = " INTERSECT ".join(arms)
        for tag in outer:
            text += f" EXCEPT {self._arm(self._tags, self._owner, [self._is(tag)])}"
        return text + " ORDER BY 1 DESC, 2 DESC"

    def among(
        self, tag: tuple[str, str], wanted: Sequence[tuple[str, str]], unwanted: Sequence[tuple[str, str]]
    ) -> str:
        """The rows with `tag`, one by one."""
        kinds = " OR ".join(f"({kind})" for kind in self._choice.kinds)
        conditions = [
            f"{self._rows}.id = t.{self._owner}",
            self._is(tag, "t."),
            *self._range("t.created_at", f"t.{self._owner}"),
            *([f"({kinds})"] if kinds else []),
            *self._all_of(f"{self._rows}.id", wanted, unwanted),
        ]
        # SQLite takes the tables of a CROSS JOIN in the order in which they stand.
        return (
            f"SELECT t.created_at, t.{self._owner} FROM {self._tags} AS t CROSS JOIN {self._rows}"  # noqa: S608 - names of ours
            f" WHERE {' AND '.join(conditions)} ORDER BY t.created_at DESC, t.{self._owner} DESC"
        )

    def _arm(self, table: str, row_id: str, conditions: Sequence[str]) -> str:
        every = [*conditions, *self._range("created_at", row_id)]
        return f"SELECT created_at, {row_id} FROM {table} WHERE {' AND '.join(every)}"  # noqa: S608 - as above

    def _range(self, age: str, row_id: str) -> Iterator[str]:
        after = self._choice.after
        if self._newest is not None and (after is None or self._newest < after[0]):
            self.values["newest"] = self._newest
            yield f"{age} <= :newest"
        elif after is not None:
            self.values["after_age"], self.values["after_id"] = after
            yield f"({age}, {row_id}) < (:after_age, :after_id)"
        if self._choice.since is not None:
            self.values["since"] = self._choice.since
            yield f"{age} > :since"

    def _all_of(
        self, row_id: str, wanted: Sequence[tuple[str, str]], unwanted: Sequence[tuple[str, str]]
    ) -> list[str]:
        """Conditions on a row's tags, looked up for each row."""
        found = []
        for some, count in ((wanted, len(wanted)), (unwanted, 0)):
            if some:
                pairs = ", ".join(f"({self._name(key)}, {self._name(value)})" for key, value in some)
                found.append(
                    f"(SELECT count(*) FROM {self._tags} AS x WHERE x.{self._owner} = {row_id}"  # noqa: S608 - as above
                    f" AND (x.key, x.value) IN (VALUES {pairs})) = {count}"
                )
        return found

    def _is(self, tag: tuple[str, str], prefix: str = "") -> str:
        return f"{prefix}key = {self._name(tag[0])} AND {prefix}value = {self._name(tag[1])}"

    def _name(self, value: str) -> str:
        """A parameter for a value."""
        name = f"p{next(self._numbers)}"
        self.values[name] = value
        return f":{name}"

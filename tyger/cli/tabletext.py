"""Tables for people: which columns each kind of object has, how wide they are, how old things are. Pure.

A table that goes to a terminal is cut to its width, each line by itself; elsewhere nothing is cut.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tyger.cli import fields, progress

ELLIPSIS = "…"

NARROWEST = 8
"""Columns that a column which may be cut keeps."""

GAP = "  "


class Column(NamedTuple):
    """One column: its heading, what stands in it, and whether it may be cut where the terminal is narrow."""

    heading: str
    show: Callable[[Mapping[str, Any], dt.datetime], str]
    elastic: bool = False


# --- cells -----------------------------------------------------------------------------------------------


def one_line(text: str) -> str:
    """Text that stays on its line, whatever a program or a server put into it."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else " " for character in text)


def span(seconds: float) -> str:
    """A duration in its one largest unit, as `42s`, `5m`, `3h`, `12d`, `2y`."""
    whole = max(0, int(seconds))
    for size, unit in ((365 * 86400, "y"), (86400, "d"), (3600, "h"), (60, "m")):
        if whole >= size:
            return f"{whole // size}{unit}"
    return f"{whole}s"


def _field(name: str) -> Callable[[Mapping[str, Any], dt.datetime], str]:
    def show(value: Mapping[str, Any], _now: dt.datetime) -> str:
        content = value.get(name)
        return "" if content is None else one_line(str(content))

    return show


def _joined(*path: str) -> Callable[[Mapping[str, Any], dt.datetime], str]:
    def show(value: Mapping[str, Any], _now: dt.datetime) -> str:
        content: Any = value
        for name in path:
            content = content.get(name) if isinstance(content, Mapping) else None
        if isinstance(content, Mapping):
            return one_line(",".join(f"{key}={text}" for key, text in sorted(content.items())))
        return one_line(",".join(map(str, content))) if isinstance(content, list) else ""

    return show


def _moment(value: Mapping[str, Any], name: str) -> dt.datetime | None:
    text = value.get(name)
    if not isinstance(text, str):
        return None
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=dt.UTC)


def _age(value: Mapping[str, Any], now: dt.datetime) -> str:
    created = _moment(value, "createdAt")
    return "" if created is None else span((now - created).total_seconds())


def _left(value: Mapping[str, Any], now: dt.datetime) -> str:
    """How long it is until a buffer expires."""
    end = _moment(value, "expiresAt")
    if end is None:
        return ""
    return "over" if end <= now else "in " + span((end - now).total_seconds())


def _took(value: Mapping[str, Any], now: dt.datetime) -> str:
    """How long a run took, or has taken until now."""
    start = _moment(value, "startedAt")
    return "" if start is None else span(((_moment(value, "finishedAt") or now) - start).total_seconds())


def _clock(_value: Mapping[str, Any], now: dt.datetime) -> str:
    return f"{now.astimezone():%H:%M:%S}"


def _codespec(value: Mapping[str, Any], _now: dt.datetime) -> str:
    """The codespec's name and version, or the image of one that has no name."""
    job = value.get("job")
    codespec = job.get("codespec") if isinstance(job, Mapping) else None
    if isinstance(codespec, Mapping):
        codespec = codespec.get("image")
    return one_line(str(codespec or "")).replace("/versions/", ":")


def _bytes(name: str) -> Callable[[Mapping[str, Any], dt.datetime], str]:
    def show(value: Mapping[str, Any], _now: dt.datetime) -> str:
        count = value.get(name)
        return progress.binary(count) if isinstance(count, int) else ""

    return show


def why(transfer: Mapping[str, Any], _now: dt.datetime | None = None) -> str:
    """Why a transfer does not go on, or has failed; empty where nothing is to be said."""
    return one_line(str(transfer.get("waiting") or transfer.get("reason") or ""))


COLUMNS: Mapping[fields.Table, Sequence[Column]] = {
    fields.BUFFER: (
        Column("ID", _field("id")),
        Column("AGE", _age),
        Column("LOCATION", _field("location")),
        Column("EXPIRES", _left),
        Column("TAGS", _joined("tags"), elastic=True),
    ),
    fields.CODESPEC: (
        Column("NAME", _field("name")),
        Column("VERSION", _field("version")),
        Column("KIND", _field("kind")),
        Column("AGE", _age),
        Column("INPUTS", _joined("buffers", "inputs"), elastic=True),
        Column("OUTPUTS", _joined("buffers", "outputs"), elastic=True),
        Column("IMAGE", _field("image"), elastic=True),
    ),
    fields.RUN: (
        Column("ID", _field("id")),
        Column("STATUS", _field("status")),
        Column("AGE", _age),
        Column("TOOK", _took),
        Column("CODESPEC", _codespec, elastic=True),
        Column("TAGS", _joined("tags"), elastic=True),
        Column("REASON", _field("statusReason"), elastic=True),
    ),
    fields.RUN_METADATA: (
        Column("TIME    ", _clock),
        Column("STATUS   ", _field("status")),
        Column("TOOK", _took),
        Column("REASON", _field("statusReason"), elastic=True),
    ),
    fields.STORAGE_ACCOUNT: (
        Column("NAME", _field("name")),
        Column("LOCATION", _field("location")),
        Column("ENDPOINT", _field("endpoint"), elastic=True),
    ),
    fields.TRANSFER: (
        Column("ID", _field("id")),
        Column("KIND", _field("kind")),
        Column("BUFFER", _field("buffer")),
        Column("STATE", _field("state")),
        Column("BYTES", lambda value, _now: progress.binary(value.get("bytes") or 0)),
        Column("SHIPPED", _bytes("shipped")),
        Column("WHY", why, elastic=True),
    ),
}
"""What is listed, by the table of its fields."""


# --- layout ----------------------------------------------------------------------------------------------


def columns_of(text: str) -> int:
    """How many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(
        0 if unicodedata.combining(character) else 1 + (unicodedata.east_asian_width(character) in "WF")
        for character in text
    )


def cut(text: str, columns: int) -> str:
    """Text that takes so many columns at most; the last says that something is missing."""
    if columns_of(text) <= columns:
        return text
    while text and columns_of(text) >= columns:
        text = text[:-1]
    return text + ELLIPSIS


class Layout:
    """The lines of one table as its rows come. `limit`: the terminal's columns, None where there is none."""

    def __init__(self, columns: Sequence[Column], limit: int | None) -> None:
        self._columns = columns
        self._limit = limit
        self._widths = [0] * len(columns)
        self._begun = False

    def lines(self, values: Sequence[Mapping[str, Any]], now: dt.datetime) -> Iterator[str]:
        """The lines of some rows, below the headings where they are the first."""
        rows = [[column.show(value, now) for column in self._columns] for value in values]
        if not self._begun:
            rows.insert(0, [column.heading for column in self._columns])
        self._begun = True
        for row in rows:
            self._widths = [
                max(width, columns_of(cell)) for width, cell in zip(self._widths, row, strict=True)
            ]
        widths = self._fitted()
        for row in rows:
            cells = [
                cell if self._limit is None else cut(cell, width)
                for cell, width in zip(row, widths, strict=True)
            ]
            padded = [
                cell + " " * (width - columns_of(cell)) for cell, width in zip(cells, widths, strict=True)
            ]
            line = GAP.join(padded).rstrip()
            yield line if self._limit is None else cut(line, self._limit)

    def _fitted(self) -> list[int]:
        """The columns' widths on this terminal: the widest that may be cut is cut first."""
        widths = list(self._widths)
        if self._limit is None:
            return widths
        over = sum(widths) + len(GAP) * (len(widths) - 1) - self._limit
        while over > 0:
            elastic = [
                (widths[index], index)
                for index, column in enumerate(self._columns)
                if column.elastic and widths[index] > NARROWEST
            ]
            if not elastic:
                break
            widths[max(elastic)[1]] -= 1
            over -= 1
        return widths


def flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """One object as names and texts: members of members as `outer.inner`, a list's long items a line each.

    The names are for a terminal, as keys of tags may hold anything.
    """
    for key, content in value.items():
        name = one_line(key)
        if isinstance(content, Mapping) and content:
            yield from flat(content, f"{prefix}{name}.")
        elif isinstance(content, list) and any(_is_long(item) for item in content):
            yield from ((f"{prefix}{name}", _item(item)) for item in content)
        elif isinstance(content, list):
            yield f"{prefix}{name}", ", ".join(map(str, content)) or "none"
        else:
            yield f"{prefix}{name}", _scalar(content)


def _is_long(item: object) -> bool:
    """Whether an item of a list would not be told from its neighbours behind a comma."""
    return isinstance(item, Mapping) or " " in str(item)


def _item(item: object) -> str:
    if isinstance(item, Mapping):
        return ", ".join(
            f"{name} {_scalar(content)}" for name, content in item.items() if content is not None
        )
    return str(item)


def _scalar(content: object) -> str:
    if isinstance(content, bool):
        return "yes" if content else "no"
    return "none" if isinstance(content, Mapping) else str(content)

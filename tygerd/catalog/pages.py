"""Pages of a list that are bounded in bytes as well as in items. Pure but for the reading it is given.

A client may ask for 2000 items, and an item may hold a codespec of a megabyte: such a page would take
gigabytes of memory, and seconds in which nobody else is served. It is shorter then; its link leads on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

Row = TypeVar("Row")
Place = TypeVar("Place")

MOST_BYTES = 32 * 1024 * 1024
"""Of bodies on one page: thousands of ordinary items, and decoded and written in a tenth of a second."""

SLICE = 256
"""Rows that are read at once: more than most pages have, and a bound on what is read for nothing."""


async def collect(
    read: Callable[[int, Place | None], Awaitable[list[Row]]],
    *,
    limit: int,
    after: Place | None,
    place: Callable[[Row], Place],
    size: Callable[[Row], int],
) -> tuple[list[Row], bool]:
    """At most `limit` rows behind `after`, in order, and whether more follow.

    `read` gives so many rows behind a place, `place` says where a row stands, `size` how many bytes it has.
    One row is on every page that may have any, however large it is.
    """
    rows: list[Row] = []
    total = 0
    while True:
        wanted = min(SLICE, limit + 1 - len(rows))
        part = await read(wanted, place(rows[-1]) if rows else after)
        for row in part:
            total += size(row)
            if len(rows) == limit or (rows and total > MOST_BYTES):
                return rows, True
            rows.append(row)
        if len(part) < wanted:
            return rows, False

"""Lists of any length: which pages are asked for, and in which of the contract's two layouts they appear.

Contract cli.md 1.6 and rest-api.md 2.3: without `--limit` the first page has 1001 items and, when there are
more, 1000 are printed with a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import parse_qsl

from tyger import errors
from tyger.cli import fields, jsontext, session

UNLIMITED_ASKS, UNLIMITED_PRINTS = 1001, 1000

TRUNCATED = (
    "Warning: the output was truncated. Specify the --limit parameter to increase the number of elements."
)

PAGE = 2000
"""Items of a page at most (rest-api.md 2.3)."""

PART = 250
"""Items that are asked for at once: a page takes the daemon as long to prepare as it takes us to print."""

_Shape = Callable[[list[Any]], list[Any]]
"""Makes of items what is printed in the end: their text, or the items as they are."""


def show(
    invocation: session.Session,
    table: fields.Table,
    path: str,
    query: Sequence[tuple[str, str]],
    limit: int | None,
) -> None:
    """Fetch and print. Beyond a first page they are printed as they come, so a long list needs no memory."""
    console = invocation.console

    def shape(items: list[Any]) -> list[Any]:
        return items if console.printer else console.rows(table, items)

    asked = UNLIMITED_ASKS if limit is None else limit
    wanted = UNLIMITED_PRINTS if limit is None else limit
    first = _First(shape, min(asked, PAGE), wanted)
    link = first.fetch(invocation, path, query)
    shaped = _all(invocation, shape, first.shaped, link, wanted - first.count)
    if console.printer:
        console.printer.several(table, shaped)
    elif link:
        console.pages_of(shaped)
    else:
        console.page_of(shaped)
    if link and limit is None:
        console.warning(TRUNCATED)


class _First:
    """What one page of `asked` items would hold: `shaped`, made of `count` items.

    It is fetched in parts: while the daemon prepares one, the one before is decoded and shaped. Of a list
    that goes on after it only `wanted` are taken.
    """

    def __init__(self, shape: _Shape, asked: int, wanted: int) -> None:
        self.shaped: list[Any] = []
        self.count = 0
        self._shape, self._asked, self._wanted = shape, asked, wanted
        self._waiting: jsontext.Page | None = None

    def fetch(self, invocation: session.Session, path: str, query: Sequence[tuple[str, str]]) -> str | None:
        """Fetch it; the link to the rest, None where there is none."""
        part = min(self._asked, PART)
        pairs = [("limit", str(part)), *query]
        while True:
            page = _fetch(invocation, path, pairs, self._meanwhile)
            self._take(None)  # where the answer came at once
            self._waiting = page
            left = self._asked - self.count - part
            if not page.link or left <= 0:
                self._take(None if not page.link else self._wanted)
                left = self._asked - self.count  # a page may be shorter than was asked for
                if not page.link or left <= max(0, self._asked - self._wanted):
                    return page.link
            part = min(left, PART)
            path, pairs = _follow(page.link, part)

    def _meanwhile(self) -> None:
        if self._asked >= jsontext.MANY:
            jsontext.prepare()
        self._take(None)

    def _take(self, most: int | None) -> None:
        page, self._waiting = self._waiting, None
        if page is not None:
            items = _items(page)
            if most is not None:
                items = items[: most - self.count]
            self.count += len(items)
            self.shaped += self._shape(items)


def _all(
    invocation: session.Session, shape: _Shape, shaped: list[Any], link: str | None, wanted: int
) -> Iterator[Any]:
    """What is shaped, and of the pages behind it as much as is `wanted` still."""
    yield from shaped
    while wanted > 0 and link:
        page = _fetch(invocation, *_follow(link, None), jsontext.prepare)
        items, link = _items(page)[:wanted], page.link
        wanted -= len(items)
        yield from shape(items)


def _follow(link: str, limit: int | None) -> tuple[str, list[tuple[str, str]]]:
    """Path and query of a `nextLink`; `limit` in place of the link's own."""
    path, _, query = link.partition("?")
    # The client adds its own api-version; a second one would be ambiguous.
    pairs = [
        (name, str(limit) if name == "limit" and limit is not None else value)
        for name, value in parse_qsl(query, keep_blank_values=True)
        if name != "api-version"
    ]
    return "/" + path.lstrip("/"), pairs


def _fetch(
    invocation: session.Session,
    path: str,
    query: Sequence[tuple[str, str]],
    meanwhile: Callable[[], None],
) -> jsontext.Page:
    """One page. `meanwhile` is what there is to do until it comes. Raises as `Session.ask`."""
    answer = invocation.request("GET", path, query=query, meanwhile=meanwhile)
    try:
        return jsontext.page(answer.body)
    except ValueError as error:
        raise _not_understood(error) from error


def _items(page: jsontext.Page) -> list[Any]:
    try:
        return page.items()
    except ValueError as error:
        raise _not_understood(error) from error


def _not_understood(error: ValueError) -> errors.Problem:
    return errors.Problem(errors.PROTOCOL, f"unable to understand server response: {error}")

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

PAGE = 2000
"""Items of a page at most (rest-api.md 2.3)."""

PART = 250
"""Items that are asked for at once: a page takes the daemon as long to prepare as it takes us to print."""

_Shape = Callable[[object], object]

TRUNCATED = (
    "Warning: the output was truncated. Specify the --limit parameter to increase the number of elements."
)


def show(
    invocation: session.Session,
    table: fields.Table,
    path: str,
    query: Sequence[tuple[str, str]],
    limit: int | None,
) -> None:
    """Fetch and print. Beyond a first page they are printed as they come, so a long list needs no memory."""
    asked = UNLIMITED_ASKS if limit is None else limit
    console = invocation.console
    # A printer projects by itself, and not everything.
    shape = table if console.printer is None else fields.plain
    items, link = _first(invocation, shape, path, query, asked)
    if not link:
        console.page(table, items, projected=True)
        return
    wanted = UNLIMITED_PRINTS if limit is None else limit
    console.pages(table, _all(invocation, shape, items, link, wanted), projected=True)
    if limit is None:
        console.warning(TRUNCATED)


def _first(
    invocation: session.Session, shape: _Shape, path: str, query: Sequence[tuple[str, str]], asked: int
) -> tuple[list[Any], object]:
    """What one page of `asked` items would hold, and the link to the rest.

    It is fetched in parts: while the daemon prepares one, the one before is shaped.
    """
    asked = min(asked, PAGE)
    shaped: list[Any] = []
    waiting: list[Any] = []
    many = asked >= jsontext.MANY

    def meanwhile() -> None:
        if many:
            jsontext.prepare()
        shaped.extend([shape(item) for item in waiting])
        waiting.clear()

    place, pairs = path, [("limit", str(min(asked, PART))), *query]
    while True:
        page = _fetch(invocation, place, pairs, meanwhile)
        meanwhile()  # where the answer came at once
        waiting += _items(page)
        link, left = page.get("nextLink"), asked - len(shaped) - len(waiting)
        if not link or left <= 0:
            meanwhile()
            return shaped, link
        place, pairs = _follow(link, min(left, PART))


def _all(
    invocation: session.Session, shape: _Shape, items: list[Any], link: object, wanted: int
) -> Iterator[Any]:
    while True:
        yield from items[:wanted]
        wanted -= len(items)
        if wanted <= 0 or not link:
            return
        page = _fetch(invocation, *_follow(link, None), jsontext.prepare)
        items, link = [shape(item) for item in _items(page)], page.get("nextLink")


def _follow(link: object, limit: int | None) -> tuple[str, list[tuple[str, str]]]:
    """Path and query of a `nextLink`; `limit` in place of the link's own."""
    path, _, query = str(link).partition("?")
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
) -> dict[str, Any]:
    """One page. `meanwhile` is what there is to do until it comes. Raises as `Session.ask`."""
    answer = invocation.request("GET", path, query=query, meanwhile=meanwhile)
    try:
        return session.as_object(jsontext.loads(answer.body))
    except ValueError as error:
        raise errors.Problem(errors.PROTOCOL, f"unable to understand server response: {error}") from error


def _items(page: dict[str, Any]) -> list[Any]:
    items = page.get("items", [])
    if not isinstance(items, list):
        raise errors.Problem(errors.PROTOCOL, "unable to understand server response: `items` is not a list")
    return items

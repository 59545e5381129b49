"""Lists of any length: which pages are asked for, and in which of the contract's two layouts they appear.

Contract cli.md 1.6 and rest-api.md 2.3: without `--limit` 1001 items are asked for and, when there are
more, 1000 are printed with a warning.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import parse_qsl

from tyger import errors
from tyger.cli import fields, jsontext, session

UNLIMITED_ASKS, UNLIMITED_PRINTS = 1001, 1000

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
    """Fetch and print. Pages are printed as they come, so a long list needs no memory."""
    asked = UNLIMITED_ASKS if limit is None else limit
    first = _fetch(invocation, path, [("limit", str(asked)), *query], many=asked >= jsontext.MANY)
    items, link = _items(first), first.get("nextLink")
    if not link:
        invocation.console.page(table, items)
        return
    wanted = UNLIMITED_PRINTS if limit is None else limit
    invocation.console.pages(table, _all(invocation, items, link, wanted))
    if limit is None:
        invocation.console.warning(TRUNCATED)


def _all(invocation: session.Session, items: list[Any], link: object, wanted: int) -> Iterator[Any]:
    while True:
        yield from items[:wanted]
        wanted -= len(items)
        if wanted <= 0 or not link:
            return
        path, _, query = str(link).partition("?")
        # The client adds its own api-version; a second one would be ambiguous.
        pairs = [
            (name, value) for name, value in parse_qsl(query, keep_blank_values=True) if name != "api-version"
        ]
        page = _fetch(invocation, "/" + path.lstrip("/"), pairs, many=True)
        items, link = _items(page), page.get("nextLink")


def _fetch(
    invocation: session.Session, path: str, query: Sequence[tuple[str, str]], *, many: bool
) -> dict[str, Any]:
    """One page. Raises as `Session.ask`."""
    answer = invocation.request("GET", path, query=query, meanwhile=jsontext.prepare if many else None)
    try:
        return session.as_object(jsontext.loads(answer.body))
    except ValueError as error:
        raise errors.Problem(errors.PROTOCOL, f"unable to understand server response: {error}") from error


def _items(page: dict[str, Any]) -> list[Any]:
    items = page.get("items", [])
    if not isinstance(items, list):
        raise errors.Problem(errors.PROTOCOL, "unable to understand server response: `items` is not a list")
    return items

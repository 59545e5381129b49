"""JSON of long lists, quickly: what `json` reads, and what `json.dumps` writes with an indent of 2.

The standard library indents in Python, a generator for every level; a list of a thousand runs then takes
longer than everything else that `tyger run list` does. Pure.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from json import encoder
from typing import Any, NamedTuple

MANY = 100
"""Items of a list from which on it pays to import msgspec, 8 ms, which writes them ten times as fast."""

LONG = 100_000
"""Bytes of a text from which on msgspec is worth its import for reading, too."""

_quote: Callable[[str], str] = encoder.encode_basestring


def prepare() -> None:
    """Import what a long list needs, while there is nothing else to do."""
    import msgspec.json  # noqa: F401


def loads(text: bytes) -> object:
    """The value of a JSON text.

    Raises:
        ValueError: it is none.
    """
    if len(text) < LONG and "msgspec" not in sys.modules:
        return json.loads(text)
    import msgspec.json

    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return json.loads(text)  # which takes a little more, and says what is wrong as it does elsewhere


class Page(NamedTuple):
    """A page of a list, `{"items": [...], "nextLink": "..."}`: its link, and what decodes its items.

    `items` raises ValueError where they are none.
    """

    link: str | None
    items: Callable[[], list[Any]]


def page(text: bytes) -> Page:
    """A page of a list; with msgspec its items are passed over, so that the link is had at once.

    Raises:
        ValueError: it is none.
    """
    if "msgspec" in sys.modules:
        import msgspec.json

        try:
            raw = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
            whole = {key: msgspec.json.decode(part) for key, part in raw.items() if key != "items"}
        except msgspec.DecodeError:
            pass  # `json` says why, or knows better
        else:
            return Page(_link(whole), lambda: _list(loads(raw.get("items", b"[]"))))
    value = loads(text)
    if not isinstance(value, dict):
        raise ValueError("it is not an object")  # noqa: TRY004 - as for what is no JSON
    return Page(_link(value), lambda: _list(value.get("items", [])))


def _link(value: dict[str, Any]) -> str | None:
    link = value.get("nextLink")
    return str(link) if link else None


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("`items` is not a list")  # noqa: TRY004 - as above
    return value


def pretty(value: object, newline: str = "\n") -> str:
    """The text of `value`, two spaces a level, each line but the first begun with `newline`."""
    if isinstance(value, str):
        return _quote(value)
    if isinstance(value, dict):
        if not value:
            return "{}"
        inner = newline + "  "
        # Most values are texts: they are quoted here, without a call.
        items = [
            f"{_quote(key)}: {_quote(item) if type(item) is str else pretty(item, inner)}"
            for key, item in value.items()
        ]
        return f"{{{inner}{(',' + inner).join(items)}{newline}}}"
    if isinstance(value, list):
        if not value:
            return "[]"
        if len(value) >= MANY and (text := _many(value)) is not None:
            return text.replace("\n", newline)
        inner = newline + "  "
        elements = [_quote(item) if type(item) is str else pretty(item, inner) for item in value]
        return f"[{inner}{(',' + inner).join(elements)}{newline}]"
    return json.dumps(value, ensure_ascii=False)


def _many(value: list[object]) -> str | None:
    import msgspec.json

    try:
        return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    except (TypeError, ValueError, OverflowError):  # numbers and texts that only Python's JSON knows
        return None

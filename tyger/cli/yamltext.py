"""JSON values as YAML text that loads back as the same values, in YAML 1.1 and 1.2. Pure.

What could be read as anything but text is quoted, so no reader takes `no`, `1e3` or a timestamp for something
else. Not PyYAML, whose import alone takes longer than the rest of a short command.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

# Letters first, and nothing inside that YAML gives a meaning to: such text may stand without quotes.
_PLAIN = re.compile(r"[A-Za-z](?:[A-Za-z0-9_./+-]| (?=[A-Za-z0-9_./+-]))*", re.ASCII)

# What YAML 1.1 reads as a truth value or as nothing, in any letter case; `y` and `n` only in some readers.
_RESERVED = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})

_NAMED = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def dumps(value: object) -> str:
    """One value as a block of lines, each ended."""
    return "".join(f"{line}\n" for line in _lines(value))


def item(value: object) -> str:
    """One item of a sequence whose other items are printed before and behind it."""
    return "".join(f"{line}\n" for line in _item(value))


def _lines(value: object) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        for key, content in value.items():
            yield from _entry(scalar(str(key)), content)
    elif isinstance(value, list) and value:
        for content in value:
            yield from _item(content)
    else:
        yield scalar(value)


def _entry(key: str, content: object) -> Iterator[str]:
    if isinstance(content, (Mapping, list)) and content:
        yield f"{key}:"
        yield from _indented(_lines(content))
    else:
        yield f"{key}: {scalar(content)}"


def _item(content: object) -> Iterator[str]:
    first, *rest = _lines(content)
    yield f"- {first}"
    yield from _indented(rest)


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (f"  {line}" for line in lines)


def scalar(value: object) -> str:
    """A scalar, or an empty mapping or list, on one line."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            # YAML 1.1 wants a point in what has an exponent.
            text = repr(value)
            return text if "." in text else text.replace("e", ".0e")
        case str():
            return _text(value)
        case list():
            return "[]"
        case _:
            return "{}"


def _text(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _RESERVED:
        return text
    return '"' + "".join(_NAMED.get(character) or _escaped(character) for character in text) + '"'


def _escaped(character: str) -> str:
    """A character as it may stand between double quotes."""
    code = ord(character)
    # Line separators are printable to nobody and end a line for YAML; the byte-order mark is dropped.
    if character.isprintable() and code != 0xFEFF:
        return character
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"

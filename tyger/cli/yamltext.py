"""JSON values as YAML text that loads back as the same values, in YAML 1.1 and 1.2. Pure.

What could be read as anything but text is quoted, so no reader takes `no`, `1e3` or a timestamp for something
else. Not PyYAML, whose import alone takes longer than the rest of a short command.
"""

from __future__ import annotations

import functools
import re

# Letters first, and nothing inside that YAML gives a meaning to: such text may stand without quotes.
_PLAIN = re.compile(r"[A-Za-z](?:[A-Za-z0-9_./+-]| (?=[A-Za-z0-9_./+-]))*", re.ASCII)

# What YAML 1.1 reads as a truth value or as nothing, in any letter case; `y` and `n` only in some readers.
_RESERVED = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})

# What stands between double quotes as it is.
_BARE = re.compile(r"[ !#-\[\]-~]*")

_NAMED = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def dumps(value: object) -> str:
    """One value as a block of lines, each ended."""
    lines: list[str] = []
    _add(lines, value, "", "")
    return "\n".join([*lines, ""])


def item(value: object) -> str:
    """One item of a sequence whose other items are printed before and behind it."""
    lines: list[str] = []
    _add(lines, value, "- ", "  ")
    return "\n".join([*lines, ""])


def _add(lines: list[str], value: object, first: str, rest: str) -> None:
    """Add the lines of a value: `first` stands before the first of them, `rest` before the others."""
    if isinstance(value, dict) and value:
        for key, content in value.items():
            name = _text(key)
            if isinstance(content, (dict, list)) and content:
                lines.append(f"{first}{name}:")
                _add(lines, content, rest + "  ", rest + "  ")
            else:
                lines.append(f"{first}{name}: {scalar(content)}")
            first = rest
    elif isinstance(value, list) and value:
        for content in value:
            _add(lines, content, first + "- ", rest + "  ")
            first = rest
    else:
        lines.append(first + scalar(value))


def scalar(value: object) -> str:
    """A scalar, or an empty mapping or list, on one line."""
    match value:
        case str():
            return _text(value)
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
        case list():
            return "[]"
        case _:
            return "{}"


@functools.lru_cache(2048)  # keys, kinds, images: most texts of a list come again
def _text(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _RESERVED:
        return text
    if _BARE.fullmatch(text):
        return f'"{text}"'
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

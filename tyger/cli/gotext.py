"""Go's spellings where a script sees them: quoted text, CSV records, truth values, whole numbers.

The original is written in Go, so its standard library decides what a flag takes and how a value looks in a
log record (contract cli.md 1.3, 1.4). Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_ESCAPES = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    '"': '\\"',
    "\\": "\\\\",
}

_TRUTHS = {
    **dict.fromkeys(("1", "t", "T", "true", "True", "TRUE"), True),
    **dict.fromkeys(("0", "f", "F", "false", "False", "FALSE"), False),
}

_WHOLE = re.compile(r"[-+]?(?:0[xX](_?[0-9a-fA-F])+|0[bB](_?[01])+|0[oO]?(_?[0-7])*|[1-9](_?[0-9])*)")

_INT64 = range(-(2**63), 2**63)


def quote(text: str) -> str:
    """`text` in double quotes; what is not printable is escaped, and so is a byte that is no UTF-8."""
    return f'"{"".join(_escaped(character) for character in text)}"'


def one_line(text: str) -> str:
    """`text` as it is, but for what is not printable, which is escaped: for messages that quote a word."""
    return (
        text
        if text.isprintable()
        else "".join(character if character.isprintable() else _escaped(character) for character in text)
    )


def _escaped(character: str) -> str:
    if (known := _ESCAPES.get(character)) is not None:
        return known
    if character.isprintable():
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python keeps a byte that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def truth(text: str) -> bool:
    """The value of a flag that is on or off.

    Raises:
        ValueError: it is neither.
    """
    if (value := _TRUTHS.get(text)) is None:
        raise ValueError(f"{quote(text)} is neither true nor false")
    return value


def whole(text: str) -> int:
    """A whole number of 64 bits: decimal, or with a prefix `0x`, `0b`, `0o` or `0` in that base.

    Raises:
        ValueError: it is none, or too large.
    """
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"'{text}' is not a whole number")
    digits = text.lstrip("+-").replace("_", "")
    octal = len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()
    # No more than 64 bits, a sign and a prefix are of interest: long numbers cost time.
    value = int(digits, 8 if octal else 0) if len(digits) <= 70 else 2**64
    value = -value if text.startswith("-") else value
    if value not in _INT64:
        raise ValueError(f"'{text}' is out of range")
    return value


_NUMBER = re.compile(r"[0-9]*\.?[0-9]*")
_UNIT = re.compile(r"[^0-9.]*")


def size_complaint(text: str, known: Iterable[str]) -> str:
    """What is wrong with `text`, which is no size in the units that are `known`."""
    if (unit := _bad_unit(text, known)) is None:
        return f"units: invalid {text}"
    return f"units: unknown unit {unit} in {text}" if unit else f"units: missing unit in {text}"


def duration_complaint(text: str, known: Iterable[str]) -> str:
    """What is wrong with `text`, which is no duration in the units that are `known`."""
    if (unit := _bad_unit(text, known)) is None:
        return f"time: invalid duration {quote(text)}"
    if not unit:
        return f"time: missing unit in duration {quote(text)}"
    return f"time: unknown unit {quote(unit)} in duration {quote(text)}"


def _bad_unit(text: str, known: Iterable[str]) -> str | None:
    """The first unit that is unknown, empty where there is none; None where something else is wrong."""
    rest = text[1:] if text[:1] in ("+", "-") else text
    while rest:
        number = _NUMBER.match(rest)
        if number is None or not number[0].strip("."):
            return None
        rest = rest[number.end() :]
        unit = _UNIT.match(rest)
        named = unit[0] if unit is not None else ""
        if named not in known:
            return named
        rest = rest[len(named) :]
    return None


def csv_record(text: str) -> list[str]:
    """The fields of the first record: separated by commas, perhaps in double quotes, doubled inside.

    Raises:
        ValueError: a quote stands where none may.
    """
    fields: list[str] = []
    place = 0
    while True:
        if text[place : place + 1] == '"':
            field, place = _quoted(text, place + 1)
        else:
            end = min(at for at in (text.find(",", place), text.find("\n", place), len(text)) if at >= 0)
            field = text[place:end].removesuffix("\r")
            if (odd := field.find('"')) >= 0:
                raise _misplaced(text, place + odd, 'bare " in non-quoted field')
            place = end
        fields.append(field)
        if text[place : place + 1] != ",":
            return fields
        place += 1


def _quoted(text: str, place: int) -> tuple[str, int]:
    """The field whose opening quote stands before `place`, and where its closing quote ends."""
    parts: list[str] = []
    while (end := text.find('"', place)) >= 0:
        parts.append(text[place:end])
        place = end + 1
        follows = text[place : place + 1]
        if follows != '"':
            if follows in ("", ",", "\n", "\r"):
                return "".join(parts), place
            raise _misplaced(text, end, 'extraneous or missing " in quoted-field')
        parts.append('"')
        place += 1
    raise _misplaced(text, len(text), 'extraneous or missing " in quoted-field')


def _misplaced(text: str, place: int, why: str) -> ValueError:
    before = text[:place]
    line, column = before.count("\n") + 1, len(before.rpartition("\n")[2].encode("utf-8", "replace")) + 1
    return ValueError(f"parse error on line {line}, column {column}: {why}")

"""What tygerd.toml is made of: kinds of values, tables, what is wrong where, and how it is described.

Knows no table of ours; `config` has them, and the man page is made from what `describe` yields. Sizes are
bytes, durations seconds once they are read.
"""

from __future__ import annotations

import datetime as dt
import re
import types
from collections.abc import Iterator
from typing import Annotated, Literal, NamedTuple, TypeVar, Union, get_args, get_origin
from urllib.parse import urlsplit

import msgspec

from tyger import errors, units

Number = TypeVar("Number", int, float)


class Size(int):
    """Bytes. In the file a number, or text such as "4MiB"."""


class Seconds(float):
    """A duration. In the file a number of seconds, or text such as "90s" or "1h30m"."""


class Lifetime(float):
    """A lifetime in seconds. In the file text such as "1.12:00", one day and twelve hours."""


class Mode(int):
    """Permission bits. In the file octal text such as "0660"."""


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all tables: a key that is not known is an error."""


Help = msgspec.Meta


def convert(kind: type, value: object) -> object:
    """Read a value whose type is one of ours; the `ValueError` becomes part of msgspec's message."""
    try:
        if kind is Mode and isinstance(value, str) and re.fullmatch(r"0?o?[0-7]{3}", value):
            return Mode(int(value[-3:], 8))
        if kind is Lifetime and isinstance(value, str):
            return Lifetime(units.parse_ttl(value).total_seconds())
        if kind is Size and isinstance(value, str | int) and not isinstance(value, bool):
            return Size(_not_negative(units.parse_size(value) if isinstance(value, str) else value))
        if kind is Seconds and isinstance(value, str | int | float) and not isinstance(value, bool):
            return Seconds(_not_negative(units.parse_duration(value) if isinstance(value, str) else value))
    except errors.Problem as problem:
        raise ValueError(problem.message) from None
    raise ValueError(f"expected {_NOTATION[kind]}, got {value!r}")


_NOTATION: dict[type, str] = {
    Size: 'a size such as 4194304 or "4MiB"',
    Seconds: 'a duration such as 30, 0.5 or "1m30s"',
    Lifetime: 'a lifetime such as "1.12:00" (days.hours:minutes)',
    Mode: 'octal text such as "0660"',
}


def _not_negative(number: Number) -> Number:
    if not number >= 0 or number == float("inf"):
        raise ValueError("expected a number that is not negative")
    return number


# --- where in the file a mistake is ------------------------------------------------------------------------

_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>[^`]*)`")
_PLACE = re.compile(r" - at `\$(?P<path>[^`]*)`$")
_HEADER = re.compile(r"^\s*(\[\[?)\s*([^\]]+?)\s*\]")
_KEY = re.compile(r"^\s*([A-Za-z0-9_.\"'\s-]+?)\s*=")


def explain(message: str) -> tuple[str, str]:
    """What msgspec found, in our words, and the dotted key it is about (`engine.process.images[1].root`)."""
    place = _PLACE.search(message)
    key = place["path"].removeprefix(".") if place else ""
    text = message[: place.start()] if place else message
    if unknown := _UNKNOWN.match(text):
        key = f"{key}.{unknown['name']}".removeprefix(".")
        return f"unknown key {key}", key
    text = text[0].lower() + text[1:]
    return (f"{key}: {text}" if key else text), key


def line_of(text: str, key: str) -> int | None:
    """The number of the line that sets `key`; None where this simple reading of TOML does not find it."""
    table = ""
    counts: dict[str, int] = {}
    best: int | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = _dotted(header[2])
            for above, count in counts.items():  # [a.b] after [[a]] is in the last of them
                if table.startswith(f"{above}."):
                    table = f"{above}[{count}]{table.removeprefix(above)}"
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = f"{table}[{counts[table]}]"
            here = table
        elif setting := _KEY.match(line):
            here = f"{table}.{_dotted(setting[1])}".removeprefix(".")
        else:
            continue
        if here == key:
            return number
        # A missing key, or one inside an inline table or a list: the closest thing that holds it.
        if key.startswith((f"{here}.", f"{here}[")):
            best = number
    return best


def _dotted(text: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in text.split("."))


# --- for the man page --------------------------------------------------------------------------------------

_UNIONS = (Union, types.UnionType)


class Option(NamedTuple):
    """One key: its table (`engine.process.images`), whether that may be repeated, how a value is written.

    Where a table is one of several kinds, each begins with its `kind` and how that is written.
    `default` is TOML, or None where the key is required or unset by default.
    """

    table: str
    repeated: bool
    name: str
    notation: str
    default: str | None
    required: bool
    help: str


def describe(kind: type[Table], table: str = "", *, repeated: bool = False) -> Iterator[Option]:
    """Every key of a table in its order, then those of the tables inside it."""
    inside: list[Iterator[Option]] = []
    for field in msgspec.structs.fields(kind):
        described, help_text = field.type, ""
        if get_origin(described) is Annotated:
            described, meta = get_args(described)[:2]
            help_text = meta.description or ""
        path = f"{table}.{field.name}".removeprefix(".")
        if choices := _choices(described):
            inside += [_describe_kind(choice, path) for choice in choices]
            continue
        inner = get_args(described)[0] if get_origin(described) in (list, *_UNIONS) else described
        if isinstance(inner, type) and issubclass(inner, Table):
            inside.append(describe(inner, path, repeated=get_origin(described) is list))
            continue
        default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
        toml = None if default is None or field.required else _toml(default)
        yield Option(table, repeated, field.name, _notation(described), toml, field.required, help_text)
    for options in inside:
        yield from options


def _describe_kind(kind: type[Table], table: str) -> Iterator[Option]:
    told = (kind.__doc__ or "").partition("\n")[0]
    yield Option(table, False, "kind", f'"{kind.__struct_config__.tag}"', None, False, told)
    yield from describe(kind, table)


def tags(kind: object) -> list[str]:
    """The kinds that a table may be of."""
    return [str(choice.__struct_config__.tag) for choice in _choices(kind)]


def _choices(kind: object) -> list[type[Table]]:
    """The tables of which one is chosen by its `kind`; of one that may also be missing there is no choice."""
    every = get_args(kind) if get_origin(kind) in _UNIONS else ()
    found = [one for one in every if isinstance(one, type) and issubclass(one, Table)]
    return found if len(found) > 1 else []


def _notation(kind: object) -> str:
    if isinstance(kind, type) and kind in _NOTATION:
        return _NOTATION[kind]
    if get_origin(kind) is Literal:
        return " or ".join(f'"{choice}"' for choice in get_args(kind))
    if get_origin(kind) in _UNIONS:
        return _notation(next(choice for choice in get_args(kind) if choice is not type(None)))
    if get_origin(kind) is list:
        return "a list of texts"
    if get_origin(kind) is dict:
        return "a table of texts"
    if kind is bool:
        return "true or false"
    return "text" if kind is str else "a whole number"


def _toml(value: object) -> str:
    match value:
        case Size():
            return f'"{units.format_size(value)}"'
        case Lifetime():
            return f'"{units.format_ttl(dt.timedelta(seconds=value)).removesuffix(":00")}"'
        case Seconds():
            return f"{value:g}"
        case str():
            return f'"{value}"'
        case dict():
            return "{" + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + "}"
    return str(value)


def is_http_url(url: str) -> bool:
    """Whether this leads to a host, by http or https."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    plain = url.isprintable() and " " not in url and parts.scheme in {"http", "https"}
    return plain and bool(parts.hostname) and is_host(parts.hostname or "")


def is_host(name: str) -> bool:
    """Whether this can be the name or the address of a host: of others Python raises when they are used."""
    try:
        name.encode("idna")
    except UnicodeError:
        return False
    return name.isprintable()

"""tygerd.toml, read once into frozen Structs; a wrong one means that the daemon does not start.

Every key, its default and its help text stand here and nowhere else: the man page tygerd.toml(5) is made from
`describe`. Sizes are bytes, durations seconds once they are read.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import tomllib
import types
from collections.abc import Iterator
from typing import Annotated, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

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


class Socket(Table, frozen=True):
    """[socket]: who may connect."""

    mode: Annotated[
        Mode | None,
        Help(description="Permission bits of the socket. Unset: 0660 in system mode, 0600 in user mode."),
    ] = None
    group: Annotated[
        str | None, Help(description="Group that owns the socket. Unset: the daemon's own group.")
    ] = None


class Store(Table, frozen=True):
    """[store]: how buffers are kept."""

    durability: Annotated[
        Literal["process", "power"],
        Help(
            description="What an acknowledged byte survives: `process` the death of any process, `power`"
            " also the loss of power, at the price of syncing every block."
        ),
    ] = "process"
    block_size: Annotated[
        Size,
        Help(description="Size of the blocks that a buffer is cut into, unless its writer names another."),
    ] = Size(4 * 1024 * 1024)
    flush_interval: Annotated[
        Seconds,
        Help(
            description="How long after its first byte an unfilled block is sealed, unless the writer says"
            " otherwise; 0 seals full blocks only."
        ),
    ] = Seconds(1)

    def __post_init__(self) -> None:
        if not 1 <= self.block_size <= 1024**3:
            raise ValueError("block_size must be between 1 byte and 1 GiB")


class Transfers(Table, frozen=True):
    """[transfers]: writes and reads."""

    reattach_grace: Annotated[
        Seconds,
        Help(
            description="How long after its start the daemon waits for the clients of unfinished writes to"
            " come back, before it marks their buffers as failed."
        ),
    ] = Seconds(30)


class Buffers(Table, frozen=True):
    """[buffers]: how long they live."""

    active_lifetime: Annotated[
        Lifetime, Help(description="How long a buffer lives after it was restored; 0.00:00 means for ever.")
    ] = Lifetime(0)
    soft_deleted_lifetime: Annotated[
        Lifetime, Help(description="How long a deleted buffer can be restored before it is gone.")
    ] = Lifetime(24 * 3600)


class Image(Table, frozen=True):
    """[[engine.process.images]]: what stands for a container image on this host."""

    image: Annotated[
        str,
        Help(
            description="Image reference that this entry stands for: exact, or a glob such as `*/ffmpeg:*`."
        ),
    ]
    root: Annotated[
        str | None,
        Help(
            description="Directory that holds the image's file system. Unset, or `/`: the file system of this"
            " host, read-only, with the homes, /tmp and /run empty."
        ),
    ] = None
    entrypoint: Annotated[
        list[str],
        Help(
            description="Program and first arguments that run where a codespec names no `command`. A job sees"
            " the directory of a program with an absolute path also where it lies in a home."
        ),
    ] = []
    env: Annotated[
        dict[str, str],
        Help(
            description="Environment variables that the image sets; a codespec's own win. A job sees the"
            " directories in this PATH also where they lie in a home; for X/bin it sees all of X."
        ),
    ] = {}

    def __post_init__(self) -> None:
        if not self.image:
            raise ValueError("image must not be empty")
        if self.root is not None and not os.path.isabs(self.root):
            raise ValueError(f"root must be an absolute path, not {self.root}")


class Process(Table, frozen=True):
    """[engine.process]: runs as processes of this host."""

    bubblewrap: Annotated[
        Literal["auto", "require", "off"],
        Help(
            description="Whether jobs are confined with bubblewrap: `auto` where it works, `require` refuses"
            " to run without it, `off` never."
        ),
    ] = "auto"
    cancel_grace: Annotated[
        Seconds, Help(description="Time between SIGTERM and SIGKILL when a run is cancelled or timed out.")
    ] = Seconds(10)
    images: Annotated[
        list[Image], Help(description="Which images this host can run, the first match counts.")
    ] = []


class Engine(Table, frozen=True):
    """[engine]: where runs are executed."""

    process: Annotated[Process, Help(description="Runs as processes of this host.")] = Process()


class Daemon(Table, frozen=True):
    """[daemon]: its own life."""

    idle_exit: Annotated[
        Seconds,
        Help(
            description="Time without connection, transfer or run after which a daemon that a command"
            " started leaves."
        ),
    ] = Seconds(300)
    stop_deadline: Annotated[
        Seconds, Help(description="How long requests may take to finish once the daemon was told to stop.")
    ] = Seconds(5)


class Limits(Table, frozen=True):
    """[limits]: bounds against a client that takes too much."""

    body_size: Annotated[Size, Help(description="Largest JSON body of a request.")] = Size(1024 * 1024)
    block_body_size: Annotated[Size, Help(description="Largest body of a block that is PUT.")] = Size(
        30_000_000  # the contract's (buffers.md section 3): clients know it
    )
    connections_per_uid: Annotated[
        int, Help(description="Connections that one user may hold open.", ge=1)
    ] = 512
    fds_per_uid: Annotated[
        int, Help(description="Passed descriptors that the daemon holds for one user.", ge=1)
    ] = 512


class Config(Table, frozen=True):
    """The whole file."""

    socket: Socket = Socket()
    store: Store = Store()
    transfers: Transfers = Transfers()
    buffers: Buffers = Buffers()
    engine: Engine = Engine()
    daemon: Daemon = Daemon()
    limits: Limits = Limits()


def load(path: str, *, required: bool = False) -> Config:
    """Read the file; one that is missing means all defaults, unless it is `required`.

    Raises:
        Problem: CONFIG, naming the file and, where it can be told, the key and the line.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        if required:
            raise errors.Problem(errors.CONFIG, f"cannot read {path}: No such file or directory") from None
        return Config()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise errors.Problem(errors.CONFIG, f"cannot read {path}: {reason}") from None
    return parse(text, path)


def parse(text: str, name: str = "tygerd.toml") -> Config:
    """The configuration that `text` holds; `name` is for messages. Raises as `load`."""
    try:
        return msgspec.convert(tomllib.loads(text), Config, dec_hook=_convert)
    except tomllib.TOMLDecodeError as error:
        raise errors.Problem(errors.CONFIG, f"{name} is not TOML: {error}") from None
    except msgspec.ValidationError as error:
        detail, key = _explain(str(error))
        line = _line_of(text, key)
        where = f"{name}, line {line}" if line else name
        raise errors.Problem(errors.CONFIG, f"{where}: {detail}") from None


def _convert(kind: type, value: object) -> object:
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


def _explain(message: str) -> tuple[str, str]:
    """What msgspec found, in our words, and the dotted key it is about (`engine.process.images[1].root`)."""
    place = _PLACE.search(message)
    key = place["path"].removeprefix(".") if place else ""
    text = message[: place.start()] if place else message
    if unknown := _UNKNOWN.match(text):
        key = f"{key}.{unknown['name']}".removeprefix(".")
        return f"unknown key {key}", key
    text = text[0].lower() + text[1:]
    return (f"{key}: {text}" if key else text), key


def _line_of(text: str, key: str) -> int | None:
    """The number of the line that sets `key`; None where this simple reading of TOML does not find it."""
    table = ""
    counts: dict[str, int] = {}
    best: int | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = _dotted(header[2])
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


class Option(NamedTuple):
    """One key: its table (`engine.process.images`), whether that may be repeated, how a value is written.

    `default` is TOML, or None where the key is required or unset by default.
    """

    table: str
    repeated: bool
    name: str
    notation: str
    default: str | None
    required: bool
    help: str


def describe(kind: type[Table] = Config, table: str = "", *, repeated: bool = False) -> Iterator[Option]:
    """Every key of the file, in the file's order."""
    for field in msgspec.structs.fields(kind):
        described, help_text = field.type, ""
        if get_origin(described) is Annotated:
            described, meta = get_args(described)[:2]
            help_text = meta.description or ""
        inner = get_args(described)[0] if get_origin(described) is list else described
        if isinstance(inner, type) and issubclass(inner, Table):
            path = f"{table}.{field.name}".removeprefix(".")
            yield from describe(inner, path, repeated=inner is not described)
            continue
        default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
        toml = None if default is None or field.required else _toml(default)
        yield Option(table, repeated, field.name, _notation(described), toml, field.required, help_text)


def _notation(kind: object) -> str:
    if isinstance(kind, type) and kind in _NOTATION:
        return _NOTATION[kind]
    if get_origin(kind) is Literal:
        return " or ".join(f'"{choice}"' for choice in get_args(kind))
    if get_origin(kind) in (Union, types.UnionType):
        return _notation(next(choice for choice in get_args(kind) if choice is not type(None)))
    if get_origin(kind) is list:
        return "a list of texts"
    if get_origin(kind) is dict:
        return "a table of texts"
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
            return "{}"
    return str(value)

"""The shared grammar of flag values (contract cli.md 1.4, 1.5) as click types, and options of many commands.

A bad value is a usage error in the contract's words, `invalid argument "x" for "-p, --dop" flag: why`.
What the values mean is for `tyger.units`; nothing here talks to anybody.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tyger import errors, units
from tyger.cli import gotext, parser

F = TypeVar("F", bound=Callable[..., Any])

STATUSES = ("canceled", "canceling", "failed", "pending", "running", "succeeded")

_QUANTITY = re.compile(
    r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]+)?", re.ASCII
)
_BUFFER_TTL = re.compile(r"\d+[.]\d\d:\d\d(:\d\d)?", re.ASCII)


if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:  # generic only for the type checker: older releases of click cannot subscript it
    _ParamType = click.ParamType


class Value(_ParamType):
    """A type made from a function of the text that raises ValueError or Problem with a reason.

    Where the original looks at the value only when the command runs, the complaint is the reason alone, or,
    with `fatal`, a record with that message.
    """

    def __init__(
        self, name: str, parse: Callable[[str], Any], *, bare: bool = False, fatal: str | None = None
    ) -> None:
        self.name = name
        self._parse = parse
        self._bare = bare
        self._fatal = fatal

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The parsed value; a default that is not text stays as it is."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except (ValueError, errors.Problem) as error:
            why = str(error)
        if self._fatal is not None:
            from tyger.cli import session

            raise session.Fatal(self._fatal, errors.Problem(errors.USAGE, why))
        raise click.UsageError(why if self._bare else _refusal(value, param, why), ctx)


class Choice(_ParamType):
    """One of a few words, in any letter case."""

    name = "choice"

    def __init__(self, *choices: str) -> None:
        self.choices = choices

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The word in its usual case."""
        if not isinstance(value, str) or value.lower() in self.choices:
            return value.lower() if isinstance(value, str) else value
        names = ", ".join(f"'{choice}'" for choice in sorted(self.choices))
        raise click.UsageError(_refusal(value, param, f"must be {names}"), ctx)

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """How help writes it: `[cancel|detach]`."""
        del param, ctx
        return f"[{'|'.join(self.choices)}]"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        """The words that begin with `incomplete`."""
        del ctx, param
        from click import shell_completion

        return [shell_completion.CompletionItem(word) for word in self.choices if word.startswith(incomplete)]


def _refusal(value: str, param: click.Parameter | None, why: str) -> str:
    if isinstance(param, click.Option):
        names = gotext.quote(parser.spelt(param))
        return f"invalid argument {gotext.quote(value)} for {names} flag: {why}"
    return why


def _dop(text: str) -> int:
    if (number := gotext.whole(text)) < 1:
        from tyger.cli import session

        why = errors.Problem(errors.USAGE, "")
        raise session.Fatal("the degree of parallelism (dop) must be at least 1", why)
    return number


def _run_id(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise ValueError(f"invalid run ID '{text}': it is a whole number, as `tyger run list` shows it")
    return int(text)


def parse_pairs(text: str) -> list[tuple[str, str]]:
    """One occurrence of a map flag: `a=b`, or several as one CSV record `a=b,c=d` (cli.md 1.4).

    Raises:
        ValueError: a part has no `=`.
    """
    count = text.count("=")
    parts = [text.strip('"')] if count == 1 else gotext.csv_record(text) if count else [text]
    pairs = []
    for part in parts:
        key, equals, value = part.partition("=")
        if not equals:
            raise ValueError(f"{part} must be formatted as key=value")
        pairs.append((key, value))
    return pairs


def _ports(text: str) -> list[tuple[str, int]]:
    pairs = []
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if not equals:
            raise ValueError(f"{part} must be formatted as key=value")
        if not re.fullmatch(r"[-+]?[0-9]{1,18}", value):
            raise ValueError(f"'{value}' is not a whole number")
        pairs.append((key, int(value)))
    return pairs


def _csv(text: str) -> list[str]:
    return gotext.csv_record(text) if text else []


def quantity(what: str) -> Value:
    """A Kubernetes quantity; `what` is in front of the complaint. The daemon makes it canonical."""

    def parse(text: str) -> str:
        if text and not _QUANTITY.fullmatch(text):
            raise ValueError(f"{what} value is invalid: {text} is not a quantity such as 2, 500m or 1.5Gi")
        return text

    return Value("quantity", parse, bare=True)


def _statuses(text: str) -> list[str]:
    chosen = [status.strip().lower() for status in text.split(",")]
    if not set(chosen) <= set(STATUSES):
        raise ValueError("must be " + ", ".join(f"'{status}'" for status in STATUSES))
    return chosen


def _buffer_ttl(text: str) -> str:
    if not _BUFFER_TTL.fullmatch(text):
        raise ValueError(f"invalid buffer TTL format: {text} (should be D.HH:MM)")
    return text


def _since(text: str) -> str:
    import datetime as dt

    from tyger.cli import dates

    return dates.parse_since(text, dt.datetime.now(dt.UTC).astimezone())


def _size(text: str) -> int:
    """Bytes. The complaint is the original's, then ours."""
    try:
        return units.parse_size(text)
    except errors.Problem:
        full = text if text.endswith("B") else text + "B"
        why = gotext.size_complaint(full, units.SIZE_UNITS)
        raise ValueError(f"{why}; give a number and a unit, such as 4MiB, 512KB or 1G") from None


def _duration(text: str) -> float:
    """Seconds. The complaint is the original's, then ours."""
    try:
        return units.parse_duration(text)
    except errors.Problem:
        why = gotext.duration_complaint(text, units.DURATION_UNITS)
        raise ValueError(f"{why}; give a number and a unit, such as 90s, 1.5h or 500ms") from None


def _block_size(text: str) -> int:
    if (size := _size(text)) < 1:
        raise ValueError("a block has at least one byte")
    return size


def _interval(text: str) -> float:
    """Seconds; empty means 0 (cli.md 4.6)."""
    if (seconds := _duration(text or "0")) < 0:
        raise ValueError("it cannot be negative")
    return seconds


def _retry_for(text: str) -> float:
    """Seconds; infinite for `forever`."""
    return float("inf") if text == "forever" else _interval(text)


def _length(text: str) -> int:
    if (size := _size(text)) < 0:
        raise ValueError("it cannot be negative")
    return size


def _range(text: str) -> tuple[int, int | None]:
    """`FROM-TO`, both ends included, or `FROM-`: the first byte, and how many (None: to the end)."""
    first, dash, last = text.partition("-")
    if not dash or not first:
        raise ValueError("give FROM-TO, such as 0-99 or 1MiB-2MiB, or FROM- for the rest")
    offset = _length(first)
    if not last:
        return offset, None
    if (end := _length(last)) < offset:
        raise ValueError(f"it ends before it begins: byte {end} comes before byte {offset}")
    return offset, end - offset + 1


INTEGER = Value("integer", gotext.whole)
DOP = Value("integer", _dop)
RUN_ID = Value("run id", _run_id)
SIZE = Value("size", _size)
BLOCK_SIZE = Value("size", _block_size, bare=True)
BLOCK_SIZE_OF_WRITE = Value("size", _block_size, fatal="Invalid block size")
INTERVAL = Value("duration", _interval, fatal="Invalid flush interval")
RETRY_FOR = Value("duration", _retry_for)
LENGTH = Value("size", _length)
RANGE = Value("range", _range)
DURATION = Value("duration", _duration)
TTL = Value("ttl", units.parse_ttl, bare=True)
ACCESS_TTL = Value("ttl", units.parse_ttl, fatal="Invalid access TTL format")
BUFFER_TTL = Value("ttl", _buffer_ttl, bare=True)
SINCE = Value("time", _since, bare=True)
PAIRS = Value("map", parse_pairs)
PORTS = Value("map", _ports)
LIST = Value("list", _csv)
STATUS_LIST = Value("statuses", _statuses)

FILE = click.Path(readable=False, allow_dash=True)
"""A path: for the shells' completion only; whoever opens the file says what is wrong with it."""


def merged(values: Sequence[Any]) -> dict[str, Any]:
    """Repeated map flags as one map; the last one wins."""
    return {key: value for pairs in values for key, value in pairs}


def _merged(_context: click.Context, _parameter: click.Parameter, values: Sequence[Any]) -> dict[str, Any]:
    return merged(values)


def _joined(_context: click.Context, _parameter: click.Parameter, values: Sequence[Any]) -> list[Any]:
    """Repeated list flags as one list, without repeats of an entry."""
    return list(dict.fromkeys(item for items in values for item in items))


def _appended(
    _context: click.Context, _parameter: click.Parameter, values: Sequence[Any]
) -> list[Any] | None:
    """Repeated list flags as one list, None where the flag was not given."""
    return [item for items in values for item in items] if values else None


def map_option(*names: str, help: str, hidden: bool = False) -> Callable[[F], F]:  # noqa: A002 - click's own word
    """An option that takes `key=value` and may be repeated; its value is a dict."""
    return click.option(
        *names, type=PAIRS, metavar="KEY=VALUE", multiple=True, callback=_merged, help=help, hidden=hidden
    )


def port_map_option(*names: str, help: str) -> Callable[[F], F]:  # noqa: A002
    """An option that takes `name=port`, several with commas; its value is a dict."""
    return click.option(*names, type=PORTS, metavar="NAME=PORT", multiple=True, callback=_merged, help=help)


def list_option(*names: str, metavar: str, help: str) -> Callable[[F], F]:  # noqa: A002
    """An option that takes a comma list and may be repeated; its value is a list, or None when not given."""
    return click.option(*names, type=LIST, metavar=metavar, multiple=True, callback=_appended, help=help)


def status_option() -> Callable[[F], F]:
    """`--status`, a set of run statuses."""
    return click.option(
        "--status",
        "statuses",
        type=STATUS_LIST,
        metavar="STATUS",
        multiple=True,
        callback=_joined,
        help="Only runs in this state: " + ", ".join(STATUSES) + ". Several with commas, or repeat the flag.",
    )


def limit_option() -> Callable[[F], F]:
    """`--limit`."""
    return click.option(
        "-l",
        "--limit",
        type=INTEGER,
        metavar="N",
        help="How many to list at most. Default: 1000, with a warning when there are more.",
    )


def since_option(what: str) -> Callable[[F], F]:
    """`--since`."""
    return click.option(
        "-s",
        "--since",
        type=SINCE,
        metavar="TIME",
        help=f"Only {what} after this time: 2026-01-31T12:00:00Z (or with an offset), 2026-01-31 or"
        " '2026-01-31 12:00' in local time, '2 hours ago', today, yesterday.",
    )


def access_ttl_option() -> Callable[[F], F]:
    """`--access-ttl`, hidden as in the original."""
    return click.option(
        "--access-ttl",
        type=ACCESS_TTL,
        metavar="TTL",
        hidden=True,
        help="Life of the access URL, D.HH:MM:SS, from 30 seconds to one hour.",
    )


def retry_for_option(what: str) -> Callable[[F], F]:
    """`--retry-for`; `what` is the stream that decides how long is sensible."""
    return click.option(
        "--retry-for",
        type=RETRY_FOR,
        metavar="DURATION",
        help="Wait so long, such as 30s or 2h, or `forever`, for a daemon that is away, then give up with"
        f" exit code 69. Default: 10m where {what} is a regular file, else forever.",
    )


# --- positionals -----------------------------------------------------------------------------------------


def one(name: str, what: str, kind: Value | None = None) -> Callable[[F], F]:
    """Exactly one positional word, with the messages the contract has for `what`."""

    def check(context: click.Context, _parameter: click.Parameter, values: Sequence[Any]) -> Any:
        if context.resilient_parsing:
            return None
        if not values:
            raise click.UsageError(f"one {what} positional argument is required", context)
        if len(values) > 1:
            rest = " ".join(str(value) for value in values[1:])
            raise click.UsageError(f"unexpected positional arguments after the {what}: [{rest}]", context)
        return values[0]

    return click.argument(name, nargs=-1, type=kind, metavar=name.upper().replace("_", "-"), callback=check)


def exactly_one(name: str, kind: Value | None = None) -> Callable[[F], F]:
    """Exactly one positional word, with the contract's counting message."""

    def check(context: click.Context, _parameter: click.Parameter, values: Sequence[Any]) -> Any:
        if context.resilient_parsing:
            return None
        if len(values) != 1:
            raise click.UsageError(f"accepts 1 arg(s), received {len(values)}", context)
        return values[0]

    return click.argument(name, nargs=-1, type=kind, metavar=name.upper().replace("_", "-"), callback=check)


def at_least_one(name: str, what: str) -> Callable[[F], F]:
    """One positional word or more."""

    def check(context: click.Context, _parameter: click.Parameter, values: Sequence[Any]) -> Sequence[Any]:
        if not values and not context.resilient_parsing:
            raise click.UsageError(f"at least one {what} is required", context)
        return values

    metavar = name.upper().removesuffix("S").replace("_", "-") + "..."
    return click.argument(name, nargs=-1, metavar=metavar, callback=check)

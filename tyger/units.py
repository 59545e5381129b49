"""Sizes, durations, TTLs and timestamps: parse and print, each the other's inverse.

Every parser raises `Problem(INVALID_INPUT)` with one line that names the text; callers that owe the
contract other words catch it. Formats: contract cli.md 1.5 and rest-api.md 2. Nothing here reads a clock.
"""

from __future__ import annotations

import functools
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import NoReturn

from tyger import errors

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

# --- sizes: bytes ----------------------------------------------------------------------------------------

_PREFIXES = "KMGTPE"
_SHORT = {"B": 1} | {f"{prefix}B": 1024 ** (power + 1) for power, prefix in enumerate(_PREFIXES)}
_LONG = {"B": 1} | {f"{prefix}iB": 1024 ** (power + 1) for power, prefix in enumerate(_PREFIXES)}
SIZE_UNITS = frozenset((*_SHORT, *_LONG))
_SIZE = re.compile(r"[-+]?(?:[0-9.]+[A-Za-z]+)+")
_SIZE_PART = re.compile(r"([0-9.]+)([A-Za-z]+)")
_DECIMAL = re.compile(r"[0-9]+\.?[0-9]*|\.[0-9]+")


def parse_size(text: str) -> int:
    """Bytes: `16M`, `16MB`, `16MiB`, `1.5M`, `1MB512KB`; all units are powers of 1024.

    A final `B` may be left out. A fraction of a byte is dropped. Negative sizes parse.
    """
    full = text if text.endswith("B") else text + "B"
    if not _SIZE.fullmatch(full):
        _refuse("size", text, "give a number and a unit, such as 4MiB")
    parts = [(number, unit) for number, unit in _SIZE_PART.findall(full)]
    units = _LONG if all(unit in _LONG for _, unit in parts) else _SHORT
    total = 0
    for number, unit in parts:
        if unit not in units:
            mixed = unit in _LONG
            why = (
                "KB and KiB cannot be mixed" if mixed else f"the unit '{unit}' is not one of {_unit_names()}"
            )
            _refuse("size", text, why)
        total += _scaled("size", text, number, units[unit])
    return -total if full.startswith("-") else total


def format_size(size: int) -> str:
    """The shortest exact text: `4MiB`, `1000B`, `0B`."""
    for unit, factor in sorted(_LONG.items(), key=lambda item: -item[1]):
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return "0B"


def _unit_names() -> str:
    return " ".join(_SHORT) + " " + " ".join(unit for unit in _LONG if unit != "B")


# --- durations: seconds, Go's syntax ---------------------------------------------------------------------

_NANOSECONDS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,  # the micro sign
    "μs": 10**3,  # the Greek letter, which keyboards and editors also produce
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
DURATION_UNITS = frozenset(_NANOSECONDS)
_DURATION = re.compile(r"[-+]?(?:[0-9.]+(?:ns|us|µs|μs|ms|s|m|h))+")
_DURATION_PART = re.compile(r"([0-9.]+)([a-zµμ]+)")


def parse_duration(text: str) -> float:
    """Seconds: `300s`, `1.5h`, `2h45m`, `500ms`, and a bare `0`. Exact to the nanosecond up to 100 days."""
    if text in {"0", "+0", "-0"}:
        return 0.0
    if not _DURATION.fullmatch(text):
        _refuse("duration", text, "give numbers with units, such as 1.5h, 2h45m or 500ms")
    nanoseconds = sum(
        _scaled("duration", text, number, _NANOSECONDS[unit]) for number, unit in _DURATION_PART.findall(text)
    )
    return (-nanoseconds if text.startswith("-") else nanoseconds) / 10**9


def format_duration(seconds: float) -> str:
    """As Go prints it: `1h30m0s`, `1.5s`, `500ms`, `0s`."""
    whole = int(seconds)  # apart from the fraction, which is exact: their product would be rounded
    total = whole * 10**9 + round((seconds - whole) * 10**9)
    if total == 0:
        return "0s"
    sign, total = ("-", -total) if total < 0 else ("", total)
    if total < 10**9:
        unit = next(unit for unit in ("ms", "µs", "ns") if total >= _NANOSECONDS[unit])
        return f"{sign}{_trimmed(total, _NANOSECONDS[unit])}{unit}"
    hours, rest = divmod(total, _NANOSECONDS["h"])
    minutes, rest = divmod(rest, _NANOSECONDS["m"])
    text = f"{_trimmed(rest, 10**9)}s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    return sign + (f"{hours}h{text}" if hours else text)


def _trimmed(amount: int, unit: int) -> str:
    """`amount / unit` as a decimal without trailing zeros; `unit` is a power of ten."""
    whole, rest = divmod(amount, unit)
    digits = str(rest).rjust(len(str(unit)) - 1, "0").rstrip("0")
    return f"{whole}.{digits}" if rest else str(whole)


# --- TTLs of the command line: D[.HH[:MM[:SS]]] ----------------------------------------------------------

_TTL = re.compile(r"(\d+)(?:[.](\d\d)(?::(\d\d)(?::(\d\d))?)?)?", re.ASCII)


def parse_ttl(text: str) -> timedelta:
    """`D`, `D.HH`, `D.HH:MM` or `D.HH:MM:SS`; blanks around it do not count."""
    match = _TTL.fullmatch(text.strip())
    if match is None:
        _refuse_ttl("format:", text, "give D, D.HH, D.HH:MM or D.HH:MM:SS, such as 7 or 0.12:00")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    for what, value, limit in (
        ("hours in TTL format:", hours, 23),
        ("minutes in TTL format:", minutes, 59),
        ("seconds TTL format:", seconds, 59),
    ):
        if value > limit:
            _refuse_ttl(what, text, f"they go to {limit}")
    if days > _MAX_DAYS:
        _refuse_ttl("days in TTL format:", text, f"they go to {_MAX_DAYS}")
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def _refuse_ttl(what: str, text: str, why: str) -> NoReturn:
    """In the contract's words (cli.md 1.5), then ours."""
    ttl = "" if "TTL" in what else "TTL "
    raise errors.Problem(errors.INVALID_INPUT, f"invalid {ttl}{what} {_shown(text)}; {why}")


def format_ttl(ttl: timedelta) -> str:
    """`D.HH:MM:SS`, whole seconds."""
    hours, rest = divmod(ttl.seconds, 3600)
    return f"{ttl.days}.{hours:02}:{rest // 60:02}:{rest % 60:02}"


# --- time spans of JSON bodies and queries: [D.]HH:MM[:SS[.fffffff]] or D --------------------------------

_MAX_DAYS = 10_675_199  # what a signed 64-bit count of 100 ns holds
_TIMESPAN = re.compile(
    r"(-)?(?:(\d+)|(?:(\d+)\.)?(\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:\.(\d{1,7}))?)?)", re.ASCII
)


def parse_timespan(text: str) -> timedelta:
    """`D`, `[D.]HH:MM` or `[D.]HH:MM:SS[.fffffff]`, perhaps negative. Less than a microsecond is dropped."""
    match = _TIMESPAN.fullmatch(text)
    if match is None:
        _refuse("time span", text, "give D, HH:MM, D.HH:MM or D.HH:MM:SS, such as 0.12:00")
    sign, lone, *parts, fraction = match.groups()
    days, hours, minutes, seconds = (int(part or 0) for part in (lone or parts[0], *parts[1:]))
    if hours > 23 or minutes > 59 or seconds > 59 or days > _MAX_DAYS:
        _refuse("time span", text, "hours go to 23, minutes and seconds to 59")
    microseconds = int((fraction or "").ljust(7, "0")) // 10
    span = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds, microseconds=microseconds)
    return -span if sign else span


def format_timespan(span: timedelta) -> str:
    """`[D.]HH:MM:SS[.fffffff]`, days left out when 0: one minute is `00:01:00`."""
    sign, span = ("-", -span) if span < timedelta(0) else ("", span)
    hours, rest = divmod(span.seconds, 3600)
    days = f"{span.days}." if span.days else ""
    fraction = f".{span.microseconds * 10:07}" if span.microseconds else ""
    return f"{sign}{days}{hours:02}:{rest // 60:02}:{rest % 60:02}{fraction}"


# --- timestamps ------------------------------------------------------------------------------------------

_TIMESTAMP = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,16}))?)?([Zz]|[-+]\d\d(?::?\d\d)?)",
    re.ASCII,
)


def parse_timestamp(text: str) -> datetime:
    """An ISO 8601 date and time with an offset, in UTC. Digits past the sixth are dropped, not rounded."""
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        _refuse("timestamp", text, "give date, time and offset, such as 2026-01-02T03:04:05Z")
    *parts, fraction, zone = match.groups()
    year, month, day, hour, minute, second = (int(part or 0) for part in parts)
    micros = int((fraction or "").ljust(6, "0")[:6])
    try:
        local = datetime(year, month, day, hour, minute, second, micros, tzinfo=_offset(zone))
        return local.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        _refuse("timestamp", text, str(error))


def format_timestamp(moment: datetime) -> str:
    """`2024-01-25T18:20:49.951262+00:00`: UTC, trailing zeros of the fraction trimmed. `moment` is aware."""
    text = moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00")
    return text.rstrip("0").removesuffix(".") + "+00:00"


def format_micros(micros: int) -> str:
    """`format_timestamp(from_micros(micros))` in a fifth of the time: a page of runs has thousands."""
    minute, rest = divmod(micros, 60_000_000)
    second, fraction = divmod(rest, 1_000_000)
    if fraction:
        return f"{_minute(minute)}{second:02}.{fraction:06}".rstrip("0") + "+00:00"
    return f"{_minute(minute)}{second:02}+00:00"


@functools.lru_cache(maxsize=4096)
def _minute(number: int) -> str:
    """A moment's text up to its seconds. What happens to one run is often in one minute."""
    return (EPOCH + timedelta(minutes=number)).isoformat()[: len("1970-01-01T00:00:")]


def to_micros(moment: datetime) -> int:
    """Microseconds since 1970 UTC, as the catalog keeps time."""
    return (moment - EPOCH) // MICROSECOND


def from_micros(micros: int) -> datetime:
    """The inverse of `to_micros`."""
    return EPOCH + timedelta(microseconds=micros)


def _offset(zone: str) -> timezone:
    if zone in {"Z", "z"}:
        return UTC
    digits = zone[1:].replace(":", "").ljust(4, "0")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-offset if zone[0] == "-" else offset)


# --- shared ----------------------------------------------------------------------------------------------


def _scaled(what: str, text: str, number: str, unit: int) -> int:
    """`number * unit`, exactly, what is less than one dropped."""
    if not _DECIMAL.fullmatch(number):
        _refuse(what, text, f"'{number}' is not a number")
    whole, _, fraction = number.partition(".")
    scale: int = 10 ** len(fraction)
    return int(whole + fraction) * unit // scale


def _refuse(what: str, text: str, why: str) -> NoReturn:
    raise errors.Problem(errors.INVALID_INPUT, f"invalid {what} {_shown(text)}: {why}")


def _shown(text: str) -> str:
    """In quotes, and one line, whatever was given."""
    return f"'{text}'" if text.isprintable() else ascii(text)

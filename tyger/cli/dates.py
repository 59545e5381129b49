"""The dates that `--since` takes: the contract's natural language (cli.md 1.5), without its mistakes.

A numeric offset has its usual sign, a bare date is local midnight, a bare year its beginning, noon is 12
o'clock; in these the original errs, and `docs/compatibility.md` lists them. Pure: the present is a parameter.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from typing import NamedTuple

from tyger import errors

_STAMP = re.compile(
    r"(\d{4}-\d\d-\d\d)[t ](\d\d?:\d\d(?::\d\d(?:[.,]\d{1,9})?)?) ?(z|[-+]\d\d(?::?\d\d)?)?", re.ASCII
)
_CLOCK = re.compile(r"(\d\d?):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?", re.ASCII)
_OFFSET = re.compile(r"([-+])(\d\d):?(\d\d)?", re.ASCII)

_DATES = (
    re.compile(r"(?P<year>\d{4})([-/])(?P<month>\d\d?)\2(?P<day>\d\d?)", re.ASCII),
    re.compile(r"(?P<month>\d\d?)/(?P<day>\d\d?)/(?P<year>\d{4})", re.ASCII),
    re.compile(r"(?P<day>\d\d?)([-.])(?P<month>\d\d?)\2(?P<year>\d{4})", re.ASCII),
)

_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_DAYS = {"yesterday": -1, "today": 0, "tomorrow": 1}

_MICROSECONDS = {
    "ns": 0.001,
    "µs": 1,
    "μs": 1,
    "us": 1,
    "ms": 1000,
    "second": 10**6,
    "sec": 10**6,
    "minute": 60 * 10**6,
    "min": 60 * 10**6,
    "hour": 3600 * 10**6,
    "day": 86400 * 10**6,
    "week": 7 * 86400 * 10**6,
    "fortnight": 14 * 86400 * 10**6,
}
_CALENDAR = {"month": 1, "year": 12}

_SPANS = re.compile(r"(?:[-+]?\d+ ?[a-zµμ]+ ?)+", re.ASCII)
_SPAN = re.compile(r"([-+]?\d+) ?([a-zµμ]+)", re.ASCII)


class Instant(NamedTuple):
    """A whole second and what is behind it, which is finer than a datetime can say."""

    second: datetime
    nanoseconds: int


def parse_since(text: str, now: datetime) -> str:
    """The instant that `text` means, as the daemon takes it: UTC, up to nine digits of a second, `Z`.

    `now` is aware, in the local zone.

    Raises:
        Problem: INVALID_INPUT, `failed to parse time <text>` and what would do.
    """
    words = [word for word in text.replace(",", " ").split() if word.lower() != "the"]
    try:
        found = _stamp(text.strip().lower()) or _relative(words, now) or _Calendar(now).read(words)
        if found is not None:
            return _written(found)
    except (ValueError, OverflowError):
        pass  # the calendar has no such day, or not so many years
    raise errors.Problem(
        errors.INVALID_INPUT,
        f"failed to parse time {text}; write 2026-01-31T12:00:00Z, 2026-01-31, '2026-01-31 12:00',"
        " '2 hours ago', today or yesterday",
    )


def _written(found: Instant) -> str:
    moment = found.second.astimezone(UTC) + timedelta(seconds=found.nanoseconds // 10**9)
    fraction = f".{found.nanoseconds % 10**9:09}".rstrip("0").removesuffix(".")
    return f"{moment.replace(microsecond=0, tzinfo=None).isoformat()}{fraction}Z"


def _stamp(text: str) -> Instant | None:
    """`2026-01-31T12:00:00.5Z`, with an offset, or in local time."""
    match = _STAMP.fullmatch(text)
    if match is None:
        return None
    clock, nanoseconds = _clock(match[2])
    local = datetime.combine(datetime.fromisoformat(match[1]), clock)
    return Instant(_placed(local, _offset(match[3]) if match[3] else None), nanoseconds)


def _clock(text: str) -> tuple[time, int]:
    """A time of day, and the nanoseconds behind its second. Raises ValueError."""
    match = _CLOCK.fullmatch(text)
    if match is None:
        raise ValueError(text)
    hour, minute, second = (int(part or 0) for part in match.groups()[:3])
    return time(hour, minute, second), int((match[4] or "").ljust(9, "0"))


def _offset(text: str) -> tzinfo:
    match = _OFFSET.fullmatch(text)
    if match is None:
        return UTC
    offset = timedelta(hours=int(match[2]), minutes=int(match[3] or 0))
    return timezone(-offset if match[1] == "-" else offset)


def _placed(local: datetime, zone: tzinfo | None) -> datetime:
    """Aware: without a zone the local one, with its offset on that day, which need not be today's."""
    return local.astimezone() if zone is None else local.replace(tzinfo=zone)


# --- from now on -----------------------------------------------------------------------------------------


def _relative(words: list[str], now: datetime) -> Instant | None:
    """`2 hours ago`, `-1 day`, `last month`, `next monday`, `now`."""
    said = [word.lower() for word in words]
    if said == ["now"]:
        return _at(now)
    if len(said) == 2 and said[0] in ("last", "next"):
        return _neighbour(said[1], -1 if said[0] == "last" else 1, now)
    ago = said[-1:] == ["ago"]
    spans = " ".join(said[:-1] if ago else said)
    if _SPANS.fullmatch(spans) is None or not (ago or spans.startswith("-")):
        return None  # `1 hour`, which the original takes for an hour to come, is nothing that anybody means
    for count, unit in _SPAN.findall(spans):
        name = unit if unit in _MICROSECONDS else unit.removesuffix("s")
        if name not in _MICROSECONDS and name not in _CALENDAR:
            return None
        now = _moved(now, -int(count) if ago else int(count), name)
    return _at(now)


def _at(moment: datetime) -> Instant:
    return Instant(moment.replace(microsecond=0), moment.microsecond * 1000)


def _moved(now: datetime, count: int, unit: str) -> datetime:
    if (months := _CALENDAR.get(unit)) is not None:
        return _months_later(now, count * months)
    return now + timedelta(microseconds=count * _MICROSECONDS[unit])


def _neighbour(what: str, sign: int, now: datetime) -> Instant | None:
    """The last or next weekday, or a unit from now, at the same time of day."""
    if (weekday := _index(what, _WEEKDAYS)) is not None:
        return _at(now + timedelta(days=sign * ((sign * (weekday - now.weekday()) - 1) % 7 + 1)))
    if what in _CALENDAR or (what in _MICROSECONDS and what != "week"):
        return _at(_moved(now, sign, what))
    return None


def _months_later(now: datetime, months: int) -> datetime:
    """The same day and time so many calendar months later; a day that month lacks becomes its last."""
    year, month = divmod(now.year * 12 + now.month - 1 + months, 12)
    for day in range(now.day, now.day - 4, -1):
        try:
            return now.replace(year=year, month=month + 1, day=day)
        except ValueError:
            if day <= 28:
                raise
    raise AssertionError("each month has 28 days")


def _index(word: str, names: tuple[str, ...]) -> int | None:
    """Which of `names` it is, by the whole of it or its first three letters."""
    return next((index for index, name in enumerate(names) if word in (name, name[:3])), None)


# --- days of the calendar --------------------------------------------------------------------------------


class _Calendar:
    """Reads a date, a time of day and a zone, in any order, each once at most; weekdays are ignored."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._day: datetime | None = None
        self._clock: time | None = None
        self._nanoseconds = 0
        self._afternoon: bool | None = None
        self._zone: tzinfo | None = None

    def read(self, words: list[str]) -> Instant | None:
        """The instant, or None where a word says nothing. Raises ValueError where there is no such day."""
        readers: list[Callable[[list[str]], int]] = [self._a_date, self._a_time, self._half, self._a_zone]
        place = 0
        while place < len(words):
            taken = next((taken for read in readers if (taken := read(words[place:]))), 0)
            if not taken:
                return None
            place += taken
        if self._day is None and self._clock is None:
            return None
        clock = self._clock or time()
        if self._afternoon is not None:
            if not 1 <= clock.hour <= 12:
                return None
            clock = clock.replace(hour=clock.hour % 12 + 12 * self._afternoon)
        day = self._day or self._now.replace(tzinfo=None)
        return Instant(_placed(datetime.combine(day, clock), self._zone), self._nanoseconds)

    def _a_date(self, words: list[str]) -> int:
        word = words[0].lower()
        if _index(word, _WEEKDAYS) is not None:
            return 1
        if self._day is not None:
            return 0
        if word in _DAYS:
            self._day = self._now.replace(tzinfo=None) + timedelta(days=_DAYS[word])
            return 1
        for pattern in _DATES:
            if match := pattern.fullmatch(word):
                self._day = datetime(*(int(match[part]) for part in ("year", "month", "day")))  # type: ignore[arg-type]  # noqa: DTZ001 - the zone comes later
                return 1
        if re.fullmatch(r"[0-9]{4}", word):
            self._day = datetime(int(word), 1, 1)  # noqa: DTZ001
            return 1
        month = _index(words[1].lower(), _MONTHS) if len(words) >= 3 else None
        if month is not None and word.isdecimal() and re.fullmatch(r"[0-9]{4}", words[2]):
            self._day = datetime(int(words[2]), month + 1, int(word))  # noqa: DTZ001
            return 3
        return 0

    def _a_time(self, words: list[str]) -> int:
        if self._clock is not None:
            return 0
        word = words[0].lower()
        if word in ("noon", "midnight"):
            self._clock = time(12 * (word == "noon"))
            return 1
        if _CLOCK.fullmatch(word):
            self._clock, self._nanoseconds = _clock(word)
            return 1
        return 0

    def _half(self, words: list[str]) -> int:
        """`am` or `pm` behind a time of day."""
        half = words[0].lower().replace(".", "")
        if self._clock is None or self._afternoon is not None or half not in ("am", "pm"):
            return 0
        self._afternoon = half == "pm"
        return 1

    def _a_zone(self, words: list[str]) -> int:
        word = words[0]
        if self._zone is not None or not (self._day or self._clock):
            return 0
        if word.upper() in ("Z", "UTC", "GMT"):
            self._zone = UTC
        elif _OFFSET.fullmatch(word):
            self._zone = _offset(word)
        else:
            import zoneinfo

            try:
                self._zone = zoneinfo.ZoneInfo(word)
            except (OSError, ValueError, KeyError):
                return 0
        return 1

"""The dates that `--since` takes: the reliable part of the contract's natural language (cli.md 1.5).

A numeric offset has its usual sign, and a bare date is local midnight; in both the original errs, and
`docs/compatibility.md` lists them. Pure: the present is a parameter.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from tyger import errors, units

_LOCAL = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:[Tt ](\d\d?):(\d\d)(?::(\d\d)(?:\.\d{1,9})?)?)?", re.ASCII)
_AGO = re.compile(r"(\d+)\s*([a-zµ]+)\s+ago|-\s*(\d+)\s*([a-zµ]+)", re.ASCII | re.IGNORECASE)

_SECONDS = {
    "second": 1,
    "sec": 1,
    "minute": 60,
    "min": 60,
    "hour": 3600,
    "day": 86400,
    "week": 7 * 86400,
    "fortnight": 14 * 86400,
}


def parse_since(text: str, now: datetime) -> str:
    """The instant that `text` means, as the daemon takes it (UTC, `Z`). `now` is aware, in the local zone.

    Raises:
        Problem: INVALID_INPUT, `failed to parse time <text>` and what would do.
    """
    moment = _absolute(text) or _local(text) or _relative(text.strip().lower(), now)
    if moment is None:
        raise errors.Problem(
            errors.INVALID_INPUT,
            f"failed to parse time {text}; write 2026-01-31T12:00:00Z, 2026-01-31, '2026-01-31 12:00',"
            " '2 hours ago', today or yesterday",
        )
    return units.format_timestamp(moment).removesuffix("+00:00") + "Z"


def _absolute(text: str) -> datetime | None:
    try:
        return units.parse_timestamp(text.strip())
    except errors.Problem:
        return None


def _local(text: str) -> datetime | None:
    match = _LOCAL.fullmatch(text.strip())
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups())
    try:
        # Naive on purpose: the zone's offset on that day, not today's, is the right one.
        local = datetime(year, month, day, hour, minute, second)  # noqa: DTZ001
        return local.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _relative(text: str, now: datetime) -> datetime | None:
    if text == "now":
        return now
    if text in ("today", "midnight", "yesterday"):
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
        return (midnight - timedelta(days=text == "yesterday")).astimezone(UTC)
    match = _AGO.fullmatch(text)
    if match is None:
        return None
    count, unit = int(match[1] or match[3]), (match[2] or match[4]).removesuffix("s")
    try:
        if unit in _SECONDS:
            return now - timedelta(seconds=count * _SECONDS[unit])
        if unit in ("month", "year"):
            return _months_before(now, count * (12 if unit == "year" else 1))
    except (ValueError, OverflowError):
        pass
    return None


def _months_before(now: datetime, months: int) -> datetime:
    """The same day and time so many calendar months ago; a day that month lacks becomes its last."""
    index = now.year * 12 + now.month - 1 - months
    year, month = divmod(index, 12)
    for day in range(now.day, now.day - 4, -1):
        try:
            return now.replace(year=year, month=month + 1, day=day)
        except ValueError:
            if day <= 28:
                raise
    raise AssertionError("each month has 28 days")

"""What is told about requests and answers: dumps for those who trace, a wrong clock (cli.md 1.8). Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from urllib.parse import quote, quote_plus

from tyger import errors

SHOWN = frozenset({"api-version", "writeable"})
"""Query parameters whose values are shown; all others may be signatures, or somebody's."""

SKEW = dt.timedelta(minutes=15)
"""How far the server's clock and ours may differ before that is worth a warning."""

SKEWED = "Detected significant clock skew. The system time may be wrong."

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def url(socket_path: str, path: str, query: Sequence[tuple[str, str]]) -> str:
    """The URL of a request, every value of its query but the harmless ones replaced by REDACTED."""
    pairs = [("api-version", "1.0"), *query]
    shown = "&".join(
        f"{quote_plus(name)}={quote_plus(value) if name in SHOWN else 'REDACTED'}" for name, value in pairs
    )
    return f"http+unix://{quote(socket_path)}:{quote(path)}?{shown}"


def response(status: int, headers: Mapping[str, str], body: bytes | None) -> str:
    """An answer as it came, headers sorted and in their usual case; without `body` it is still to come."""
    lines = [f"HTTP/1.1 {errors.status_line(status)}"]
    lines += [f"{name.title()}: {value}" for name, value in sorted(headers.items())]
    return "\r\n".join([*lines, "", (body or b"").decode("utf-8", "replace")])


def is_skewed(date: str | None, now: dt.datetime) -> bool:
    """Whether a `Date` header differs much from `now`, which is aware; what is no date says nothing."""
    try:
        _, day, month, year, clock, _ = (date or "").split(" ")
        hour, minute, second = (int(part) for part in clock.split(":"))
        theirs = dt.datetime(
            int(year), _MONTHS.index(month) + 1, int(day), hour, minute, min(second, 59), tzinfo=dt.UTC
        )
    except ValueError:
        return False
    return abs(theirs - now) > SKEW

"""`--since`: instants, local dates, and times ago."""

import os
import time
from datetime import UTC, datetime, timedelta, timezone

import pytest

from tyger import errors
from tyger.cli import dates

NOW = datetime(2026, 8, 22, 15, 30, 45, 123456, tzinfo=timezone(timedelta(hours=2)))


@pytest.fixture(autouse=True)
def in_central_europe():
    before = os.environ.get("TZ")
    os.environ["TZ"] = "CET-1CEST,M3.5.0,M10.5.0/3"
    time.tzset()
    yield
    os.environ.pop("TZ")
    if before is not None:
        os.environ["TZ"] = before
    time.tzset()


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-08-01T10:00:00Z", "2026-08-01T10:00:00Z"),
        ("2026-08-01T10:00:00.125Z", "2026-08-01T10:00:00.125Z"),
        ("2026-08-01T10:00:00+02:00", "2026-08-01T08:00:00Z"),
        ("2026-08-01T10:00:00-05:00", "2026-08-01T15:00:00Z"),
        ("2026-08-01 10:00", "2026-08-01T08:00:00Z"),
        ("2026-08-01T10:00:30", "2026-08-01T08:00:30Z"),
        ("2026-08-01", "2026-07-31T22:00:00Z"),
        ("2026-01-01", "2025-12-31T23:00:00Z"),  # that day's offset, not today's
        ("today", "2026-08-21T22:00:00Z"),
        ("Yesterday", "2026-08-20T22:00:00Z"),
        ("now", "2026-08-22T13:30:45.123456Z"),
        ("1 hour ago", "2026-08-22T12:30:45.123456Z"),
        ("-90 min", "2026-08-22T12:00:45.123456Z"),
        ("2 days ago", "2026-08-20T13:30:45.123456Z"),
        ("1 fortnight ago", "2026-08-08T13:30:45.123456Z"),
        ("6 months ago", "2026-02-22T13:30:45.123456Z"),
        ("2 years ago", "2024-08-22T13:30:45.123456Z"),
        ("2026-08-01T10:00:00.123456789Z", "2026-08-01T10:00:00.123456789Z"),
        ("2026-08-01t10:00:00.5z", "2026-08-01T10:00:00.5Z"),
        ("2026-08-01 10:00 +0530", "2026-08-01T04:30:00Z"),
        ("2026-08-01 10:00 UTC", "2026-08-01T10:00:00Z"),
        ("2026-08-01 10:00 GMT", "2026-08-01T10:00:00Z"),
        ("2026-08-01 10:00 Asia/Tokyo", "2026-08-01T01:00:00Z"),
        ("2026-08-01 10:00 America/New_York", "2026-08-01T14:00:00Z"),
        ("10:00", "2026-08-22T08:00:00Z"),
        ("10:00:01.25", "2026-08-22T08:00:01.25Z"),
        ("10:00 pm", "2026-08-22T20:00:00Z"),
        ("12:15 a.m.", "2026-08-21T22:15:00Z"),
        ("2026/8/1", "2026-07-31T22:00:00Z"),
        ("8/1/2026 10:00", "2026-08-01T08:00:00Z"),
        ("1.8.2026 10:00", "2026-08-01T08:00:00Z"),
        ("1-8-2026", "2026-07-31T22:00:00Z"),
        ("1 Oct 2025", "2025-09-30T22:00:00Z"),
        ("Wednesday, the 1 October 2025, 10:00", "2025-10-01T08:00:00Z"),
        ("2026", "2025-12-31T23:00:00Z"),
        ("midnight", "2026-08-21T22:00:00Z"),
        ("noon", "2026-08-22T10:00:00Z"),
        ("yesterday noon", "2026-08-21T10:00:00Z"),
        ("yesterday 10:00 UTC", "2026-08-21T10:00:00Z"),
        ("1 day 2 hours ago", "2026-08-21T11:30:45.123456Z"),
        ("500 ms ago", "2026-08-22T13:30:44.623456Z"),
        ("-1 hour", "2026-08-22T12:30:45.123456Z"),
        ("last monday", "2026-08-17T13:30:45.123456Z"),
        ("last saturday", "2026-08-15T13:30:45.123456Z"),
        ("next Thursday", "2026-08-27T13:30:45.123456Z"),
        ("next sat", "2026-08-29T13:30:45.123456Z"),
        ("last month", "2026-07-22T13:30:45.123456Z"),
        ("last hour", "2026-08-22T12:30:45.123456Z"),
    ],
)
def test_what_is_understood(text, instant):
    assert dates.parse_since(text, NOW) == instant


def test_a_day_that_the_month_lacks_becomes_its_last():
    now = datetime(2026, 3, 31, 12, tzinfo=UTC)
    assert dates.parse_since("1 month ago", now) == "2026-02-28T12:00:00Z"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "30m",
        "1 hour",
        "soon",
        "2026-13-01",
        "2026-02-30",
        "99999999999 days ago",
        "9999 years ago",
        "1 eon ago",
        "2h",
        "P1D",
        "1785000000",
        "Oct 1 2026",
        "Aug 1",
        "last week",
        "ago",
        "last",
        "13:00 pm",
        "25:00",
        "2026-08-01 10:00 Nowhere",
        "2026-08-01 10:00 ../etc/passwd",
        "2026-08-01 2026-08-02",
        "10:00 11:00",
        "monday",
        "UTC",
        "pm",
        "2026-08-01T10:00:00.1234567890Z",
        "0000-01-01",
        "9999-12-31T23:59:59-10:00",
    ],
)
def test_what_is_not(text):
    with pytest.raises(errors.Problem, match=r"^failed to parse time "):
        dates.parse_since(text, NOW)

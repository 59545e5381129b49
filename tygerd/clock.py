"""The one source of wall-clock time in the daemon, and of the clock that timers run on.

Nothing else in `tygerd` may call `time.time` or `datetime.now`: a clock that jumps must be one place's
concern. Persisted moments are wall clock; waiting is measured on `boottime`, which also counts while the
machine sleeps. Microseconds and other notations of a moment are `tyger.units`' affair.
"""

from __future__ import annotations

import datetime as dt
import email.utils
import time

from tyger import units


def now() -> dt.datetime:
    """The moment, in UTC, with microseconds."""
    return dt.datetime.now(dt.UTC)


def boottime() -> float:
    """Seconds since the machine booted, time asleep included; never set back."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def format(moment: dt.datetime | None = None) -> str:  # noqa: A001 - read as clock.format
    """`moment`, or now, as the API writes it (`units.format_timestamp`)."""
    return units.format_timestamp(now() if moment is None else moment)


def http_date() -> str:
    """The moment as a `Date` header writes it."""
    return email.utils.format_datetime(now(), usegmt=True)

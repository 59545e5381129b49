"""The time at a server, which alone decides whether an access URL has expired.

Learned from the `Date` of its answers and counted on from there on the clock that is never set, so that a
jump of this host's clock changes nothing. Knows no HTTP.
"""

from __future__ import annotations

import datetime as dt
import email.utils
import threading
from collections.abc import Callable

from tygerd import clock


class ServerClock:
    """One server's time; one object for an account, shared by all who talk to it. Safe from any thread."""

    def __init__(
        self,
        *,
        boottime: Callable[[], float] = clock.boottime,
        wall: Callable[[], dt.datetime] = clock.now,
    ) -> None:
        self._boottime = boottime
        self._wall = wall
        self._lock = threading.Lock()
        self._boot: dt.datetime | None = None
        """The server's time at which this machine booted."""

    def learn(self, date_header: str) -> None:
        """Take over the time of an answer that has just come; what is no date is ignored.

        It is right to a second, which is what a `Date` can say, plus the answer's time on its way.
        """
        try:
            said = email.utils.parsedate_to_datetime(date_header)
        except (ValueError, OverflowError):
            return
        if not 1970 < said.year < 9000:  # what is far beyond could not be reckoned with
            return
        if said.tzinfo is None:  # "-0000": UTC, of whoever does not know where it is
            said = said.replace(tzinfo=dt.UTC)
        boot = said.astimezone(dt.UTC) - dt.timedelta(seconds=self._boottime())
        with self._lock:
            self._boot = boot

    @property
    def is_known(self) -> bool:
        """Whether the server has said its time."""
        return self._boot is not None

    def now(self) -> dt.datetime:
        """The moment at the server, in UTC; before its first answer, this host's own."""
        with self._lock:
            boot = self._boot
        if boot is None:
            return self._wall()
        return boot + dt.timedelta(seconds=self._boottime())

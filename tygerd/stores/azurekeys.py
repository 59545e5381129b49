"""The user delegation key of a storage account, which signs access URLs where there is no account key.

Contract buffers.md 2.4. It is kept in memory, replaced ahead of its end, and fetched by one caller at a time.
Its age is counted on the clock that is never set, its end is in the server's time. Knows no library.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable
from typing import Any

from tyger import errors
from tygerd import clock
from tygerd.stores import serverclock

LIFE = dt.timedelta(days=1)

START = dt.timedelta(minutes=5)
"""By how much a key begins in the past."""

RENEWAL = 0.75
"""The part of its life after which it is replaced."""

RETRY = 30.0
"""Seconds between attempts at that."""


class Key:
    """A user delegation key; when it ends at the server, and since when we have it (`clock.boottime`)."""

    def __init__(self, key: Any, end: dt.datetime, since: float) -> None:
        self.key = key
        self.end = end
        self.since = since


class DelegationKeys:
    """The user delegation key of an account, replaced ahead of its end. One caller at a time fetches it."""

    def __init__(
        self,
        fetch: Callable[[dt.datetime, dt.datetime], Any],
        server: serverclock.ServerClock,
        boottime: Callable[[], float] = clock.boottime,
    ) -> None:
        self._fetch = fetch
        self._server = server
        self._boottime = boottime
        self._lock = threading.Lock()
        self._key: Key | None = None
        self._retry_at = 0.0

    def get(self, ttl: dt.timedelta) -> Key:
        """A key that holds for `ttl` more, or at least for some of it where no newer one can be had.

        Raises:
            Problem: there is none.
        """
        with self._lock:
            now = self._boottime()
            if self._key is None:
                return self._replace(now)
            if now < max(self._key.since + RENEWAL * LIFE.total_seconds(), self._retry_at):
                return self._key
            try:
                return self._replace(now)
            except errors.Problem:
                self._retry_at = now + RETRY
                if self._server.now() + min(ttl, START) < self._key.end:
                    return self._key
                raise

    def _replace(self, now: float) -> Key:
        moment = self._server.now()
        end = moment + LIFE
        self._key = Key(self._fetch(moment - START, end), end, now)
        return self._key

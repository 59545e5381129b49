"""How long a connection may be silent before it counts as dead.

Silence is not slowness: a connection is silent while nothing arrives from it and nothing that was sent to it
is acknowledged. What no one can see is what a machine in between holds: a proxy may take a block in an
instant and need a minute to pass it on. So the limit grows with the block and with the time that blocks have
taken lately. Knows no socket.
"""

from __future__ import annotations

import threading

UNKNOWN_RATE = 125_000.0
"""Bytes a second that are assumed before anything was measured: an uplink of 1 Mbit/s."""

MEASURED = 64 * 1024
"""Bytes from which on an exchange says something about the rate; smaller ones are all latency."""

LONGEST = 900.0
"""Seconds that nobody waits longer: no proxy holds so much."""

GROWTH = 1.5
"""Each limit that was reached without an answer makes the next one longer, in case it was too short: where a
link has become so slow that nobody has measured it yet. After an outage that looked like silence (a host
that takes packets and gives none) work goes on after at most half the time that the outage took."""


class Silence:
    """The limit for one container's connections. Safe from any thread."""

    def __init__(self, base: float) -> None:
        """`base` is the limit in seconds where blocks take no time."""
        self._base = base
        self._lock = threading.Lock()
        self._rate = UNKNOWN_RATE
        self._measured = False
        self._size = 0
        self._floor = 0.0
        self._floor_size = 0

    def limit(self, size: int) -> float:
        """Seconds of silence after which an exchange of about `size` bytes has failed.

        A small one shares its link with blocks, so it gets what the blocks of late would get.
        """
        with self._lock:
            usual = self._base + 2 * max(size, self._size) / self._rate
            return max(self._base, min(max(usual, self._floor), LONGEST))

    def moved(self, size: int, seconds: float) -> None:
        """An exchange of `size` bytes has succeeded, from its first byte to the end of its answer."""
        with self._lock:
            if size >= self._floor_size:
                self._floor = self._floor_size = 0
            if size < MEASURED:
                return
            rate = size / max(seconds, 1e-6)
            if self._measured and rate > self._rate:  # a link that is slow now and then is a slow one
                rate = self._rate + (rate - self._rate) / 4
            self._rate = rate
            self._measured = True
            self._size = max(size, self._size * 9 // 10)

    def timed_out(self, size: int, limit: float) -> None:
        """An exchange of `size` bytes was silent for `limit` seconds and was given up."""
        with self._lock:
            self._floor = max(self._floor, limit * GROWTH)
            self._floor_size = max(self._floor_size, size)

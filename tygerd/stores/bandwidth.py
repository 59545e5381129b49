"""The global limit in bytes a second (`transfer.bandwidth`), and how transfers share it.

It holds for each direction by itself, as the links do that people pay for: a read does not slow a capture
down. Bytes are granted in pieces of a twentieth of a second, so that a large block flows evenly and nobody
waits behind a whole one. A piece goes to the transfer that was given the least, where bytes of bulk count
`BULK_COSTS` times. Grants are made to worker threads, right where they send or receive; without a limit there
is no `Share` and nothing is asked.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

PIECE_SECONDS = 0.05
SMALLEST_PIECE = 4 * 1024
LARGEST_PIECE = 1024 * 1024

BURST_SECONDS = 0.1
"""So much of what was not used is still granted later; more would be a burst that others on the link feel."""

BULK_COSTS = 20

_LOOK = 0.25
"""Seconds between looks whether who waits has been told to stop."""


class Bucket:
    """How many bytes may go now: arithmetic, without waiting. Times are seconds on any one clock."""

    def __init__(self, rate: float, now: float) -> None:
        """`rate` is in bytes a second."""
        self.rate = rate
        self.piece = int(min(max(rate * PIECE_SECONDS, SMALLEST_PIECE), LARGEST_PIECE))
        self._level = 0.0
        self._at = now

    def wait(self, now: float) -> float:
        """Seconds until the next piece may go, 0 for at once."""
        self._level = min(self._level + (now - self._at) * self.rate, self.rate * BURST_SECONDS)
        self._at = now
        return max(0.0, -self._level / self.rate)

    def took(self, count: int) -> None:
        """So many bytes go; they are paid for afterwards, by the wait of the next piece."""
        self._level -= count


class Share:
    """One transfer's share of a limit."""

    def __init__(self, gate: Gate, cost: int) -> None:
        self.cost = cost
        self.paid = 0.0
        self._gate = gate

    def take(self, most: int, stopped: Callable[[], bool]) -> int:
        """Wait until bytes may go, and how many, `most` at most. Blocking, until `stopped()`.

        Bytes that were granted and did not go are lost; that only makes it slower.
        """
        return self._gate.take(self, most, stopped)


class Request:
    """A thread that waits for its bytes."""

    def __init__(self, share: Share, lock: threading.Lock) -> None:
        self.share = share
        self.called = threading.Condition(lock)


class Queue:
    """Who is next: plain bookkeeping, start-time fair queueing."""

    def __init__(self) -> None:
        self._waiting: list[Request] = []
        self._paid = 0.0
        """What the share had paid that was served last: one that comes from a pause starts there."""

    def arrive(self, request: Request) -> None:
        """It waits from now on."""
        request.share.paid = max(request.share.paid, self._paid)
        self._waiting.append(request)

    def leave(self, request: Request) -> None:
        """It no longer does."""
        self._waiting.remove(request)

    def first(self) -> Request | None:
        """Whose share has paid the least; of equals the first to come."""
        return min(self._waiting, key=lambda request: request.share.paid, default=None)

    def serve(self, request: Request, count: int) -> None:
        """It gets so many bytes."""
        self._paid = request.share.paid
        request.share.paid += count * request.share.cost


class Gate:
    """One direction's limit. Safe from any thread."""

    def __init__(self, rate: float) -> None:
        """`rate` is in bytes a second, more than 0."""
        self._lock = threading.Lock()
        self._bucket = Bucket(rate, time.monotonic())
        self._queue = Queue()

    def share(self, *, bulk: bool = False) -> Share:
        """For one more transfer."""
        return Share(self, BULK_COSTS if bulk else 1)

    def take(self, share: Share, most: int, stopped: Callable[[], bool]) -> int:
        """See `Share.take`."""
        with self._lock:
            me = Request(share, self._lock)
            self._queue.arrive(me)
            try:
                while not stopped():
                    wait = _LOOK
                    if self._queue.first() is me:
                        wait = self._bucket.wait(time.monotonic())
                        if wait == 0:
                            count = min(most, self._bucket.piece)
                            self._bucket.took(count)
                            self._queue.serve(me, count)
                            return count
                    me.called.wait(min(wait, _LOOK))
                return most  # whoever stops finds out by itself that nothing can be sent any more
            finally:
                self._queue.leave(me)
                if (following := self._queue.first()) is not None:
                    following.called.notify()

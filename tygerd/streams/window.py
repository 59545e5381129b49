"""Which blocks a download asks for, and how often: pure bookkeeping, told what happened.

The window opens as long as blocks are there and closes to the lowest missing one when one is not: so a whole
buffer arrives with full parallelism, and one that is being written is polled with one request at a time.
"""

from __future__ import annotations

from typing import NamedTuple

from tyger import errors


def poll_interval(waited: float) -> float:
    """Seconds until the next look for a block that has been missing for `waited` seconds.

    The original counts attempts (0.1 s ten times, 0.5 s ninety times, 1 s, then 5 s); a pipeline that is
    being written deserves quick looks for longer, an abandoned buffer does not.
    """
    if waited < 5:
        return 0.05
    if waited < 30:
        return 0.2
    return 1.0 if waited < 3600 else 5.0


class Received(NamedTuple):
    """A block in memory. Its MD5 was compared, its chain value not yet."""

    data: memoryview
    md5: bytes
    chain: str


class NothingMore:
    """What there is of the stream has come, and nobody waits for the rest."""


NOTHING_MORE = NothingMore()

Outcome = Received | errors.Problem | NothingMore


class Window:
    """Which blocks to ask for next: pure bookkeeping, told what happened.

    A block is asked for, and then it has come or is missing. Those that came are held until they are
    delivered, in order. At most `limit` blocks are asked for or held; it may be changed at any time.
    """

    def __init__(self, limit: int, first: int = 0) -> None:
        self.next = first
        """The lowest block that is not delivered yet."""
        self.limit = limit
        self._width = 1
        self._asked: set[int] = set()
        self._held: dict[int, Outcome] = {}
        self._last: int | None = None

    def wanted(self) -> list[int]:
        """The blocks to ask for now; they count as asked for."""
        lowest = self.lowest_missing()
        stop = min(lowest + self._width, self.next + self.limit)
        if self._last is not None:
            stop = min(stop, self._last)
        numbers = [n for n in range(lowest, stop) if n not in self._asked and n not in self._held]
        self._asked.update(numbers)
        return numbers

    def lowest_missing(self) -> int:
        """The lowest block that has not come."""
        number = self.next
        while number in self._held:
            number += 1
        return number

    def is_awaited(self, number: int) -> bool:
        """Whether `number` is the lowest missing block, so that everything waits for it."""
        return number == self.lowest_missing() and (self._last is None or number < self._last)

    def failed(self, number: int, problem: errors.Problem) -> None:
        """A block can't be had. That matters when it is its turn, and behind the last block never."""
        self._asked.discard(number)
        self._held[number] = problem

    def nothing_more(self, number: int) -> None:
        """A block is not there, and will not be waited for."""
        self._asked.discard(number)
        self._held[number] = NOTHING_MORE
        self._last = number if self._last is None else min(number, self._last)

    def came(self, number: int, block: Received, *, at_once: bool) -> None:
        """A block is there; `at_once` if it was at the first look. An empty one is the last."""
        self._asked.discard(number)
        self._held[number] = block
        if len(block.data) == 0:
            self._last = number if self._last is None else min(number, self._last)
        if at_once:
            self._width = min(self.limit, 2 * self._width)

    def missing(self, number: int) -> None:
        """A block that nothing waits for yet was not there: it was asked for too early."""
        self._asked.discard(number)
        self._width = 1

    def closed_in(self) -> None:
        """The awaited block is not there, and is still asked for: nothing beyond it is worth asking for."""
        self._width = 1

    def ready(self) -> Outcome | None:
        """What became of the next block in order, None while that is open. It is the caller's from now on."""
        block = self._held.pop(self.next, None)
        if block is not None:
            self.next += 1
        return block

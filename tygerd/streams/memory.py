"""Memory for the blocks of one download: used again, as most are of one size, and bounded.

Mapped, as malloc would keep what worker threads allocated: a daemon grew with each read that it served. How
large a block is only its answer tells. So blocks that were asked for side by side may turn out to be too
large together: those that find no room are given up, and asked for again when others have been delivered.
"""

from __future__ import annotations

import mmap
import threading
from collections.abc import Iterable

from tyger import errors


class NoRoomError(errors.Problem):
    """There is none before some of the blocks that have some are delivered."""

    def __init__(self) -> None:
        super().__init__(errors.TRY_AGAIN, "there is no memory for the block yet")


class Memory:
    """`limit` bytes, and whatever the next block in order needs. Safe from any thread.

    `largest` is the size of the largest block that asked for some, at least 1.
    """

    def __init__(self, limit: int) -> None:
        self.largest = 1
        self._limit = limit
        self._lock = threading.Lock()
        self._taken: dict[int, mmap.mmap] = {}
        self._free: list[mmap.mmap] = []

    @property
    def taken(self) -> int:
        """Bytes that blocks have, at most `limit` of them but for the next block's."""
        with self._lock:
            return _size(self._taken.values())

    @property
    def fits(self) -> int:
        """How many blocks of the largest size there may be at a time."""
        return self._limit // self.largest

    def take(self, number: int, length: int, *, is_next: bool) -> memoryview:
        """`length` bytes for block `number`, in place of what it had; `is_next`: everything waits for it.

        Raises:
            NoRoomError: not now.
        """
        with self._lock:
            self.largest = max(self.largest, length)
            memory = self._taken.pop(number, None) or (self._free.pop() if self._free else None)
            if memory is not None and len(memory) < length:
                memory = None  # goes back to the system
            taken = _size(self._taken.values()) + (length if memory is None else len(memory))
            if taken > self._limit and not is_next:
                raise NoRoomError
            if taken + _size(self._free) > self._limit:
                self._free.clear()
            if memory is None:
                memory = mmap.mmap(-1, max(length, 1))
            self._taken[number] = memory
        return memoryview(memory)[:length]

    def give_back(self, number: int) -> None:
        """Block `number` has been delivered; its views were released."""
        with self._lock:
            self._free.append(self._taken.pop(number))


def _size(memories: Iterable[mmap.mmap]) -> int:
    return sum(len(memory) for memory in memories)

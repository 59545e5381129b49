"""The host's link: who may have a request under way, and how many at once.

A lane is one direction to one place; its width is found by `pace`. A flow is one transfer's share of a lane.
A turn is one request. Nothing here touches a socket.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Literal

import trio

Priority = Literal["live", "bulk"]
Direction = Literal["up", "down"]


class Turn:
    """One request that is under way."""

    def __init__(self, size: int) -> None:
        self.size = size

    def done(self, nbytes: int) -> None:
        """It has moved so many bytes."""

    def pushed_back(self) -> None:
        """The server, or a time-out, said that it is too much."""


class Flow:
    """One transfer's share of a lane. To be closed by its owner."""

    def __init__(self, lane: Lane, priority: Priority) -> None:
        self._lane = lane
        self.priority = priority

    @property
    def width(self) -> int:
        """How many requests this flow may usefully have under way now."""
        return int(self._lane.limiter.total_tokens)

    @contextlib.asynccontextmanager
    async def turn(self, size: int) -> AsyncIterator[Turn]:
        """Wait for the turn of a request that will move about `size` bytes, and have it."""
        async with contextlib.AsyncExitStack() as stack:
            turn = Turn(size)
            await self._lane.limiter.acquire_on_behalf_of(turn)
            stack.callback(self._lane.limiter.release_on_behalf_of, turn)
            yield turn

    def close(self) -> None:
        """The transfer is over."""


class Lane:
    """One direction to one place."""

    def __init__(self) -> None:
        self.limiter = trio.CapacityLimiter(8)

    def flow(self, priority: Priority = "live") -> Flow:
        """A share for one more transfer."""
        return Flow(self, priority)


class Link:
    """All lanes of this host; one a daemon. `bandwidth` is bytes a second, None without limit."""

    def __init__(self, bandwidth: int | None = None) -> None:
        self.bandwidth = bandwidth
        self._lanes: dict[tuple[str, Direction], Lane] = {}

    def lane(self, place: str, direction: Direction) -> Lane:
        """The lane to `place`, the same object for all who ask."""
        return self._lanes.setdefault((place, direction), Lane())

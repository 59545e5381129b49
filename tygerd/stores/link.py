"""The host's link: who may have a request under way, and how many at once.

Theory of operation. A lane is one direction to one place; how many requests are under way in it at a time is
found by `pace`. A flow is one transfer's part of a lane, a turn is one request of it. Whenever a request may
start, `choose` says whose: a pure function of all who wait. A request that waits holds neither thread nor
memory. Nothing here touches a socket; everything belongs to one trio run.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Literal, NamedTuple

import trio

from tygerd.stores import bandwidth, pace

Priority = Literal["live", "bulk"]
Direction = Literal["up", "down"]

BULK_EVERY = 16
"""Where live transfers take all there is, one turn in so many goes to bulk: it is never at zero for ever."""


class Candidate(NamedTuple):
    """A flow that waits. `in_flight` is in bytes; `last_turn` is the number of its last turn, 0 for none."""

    live: bool
    in_flight: int
    last_turn: int


def choose(waiting: Sequence[Candidate], passed_over: int) -> int:
    """The index of the one who is next: live before bulk; the least under way; the longest without a turn.

    `passed_over` counts the turns that live flows had while bulk waited.
    """
    live_waits = any(candidate.live for candidate in waiting)
    live = live_waits and not (passed_over >= BULK_EVERY - 1 and any(not one.live for one in waiting))
    eligible = [index for index, candidate in enumerate(waiting) if candidate.live is live]
    return min(eligible, key=lambda index: waiting[index][1:])


def useful_width(width: int, demands: Sequence[int]) -> int:
    """How many of a lane's `width` requests a flow can have, beside others that want `demands` each."""
    fair = -(-width // (1 + len(demands)))
    left = width - sum(min(demand, fair) for demand in demands)
    return max(1, fair, left)


class FlowStatistics(NamedTuple):
    """A flow as it is now; `moved` in bytes since it began."""

    priority: Priority
    in_flight: int
    waiting: int
    moved: int


class LaneStatistics(NamedTuple):
    """A lane as it is now; `moved` in bytes, `pushed_back` in requests, since the daemon's start."""

    place: str
    direction: Direction
    width: int
    in_flight: int
    waiting: int
    moved: int
    pushed_back: int
    flows: tuple[FlowStatistics, ...]


class Turn:
    """One request that is under way. Of `done` and `pushed_back` one is called, or none where it failed."""

    def __init__(self, flow: Flow, size: int, ticket: pace.Ticket) -> None:
        self.share = flow.share
        """Of the host's bandwidth, None without limit."""

        self._flow = flow
        self._size = size
        self._ticket = ticket

    def done(self, nbytes: int) -> None:
        """It has moved so many bytes."""
        self._flow.moved += nbytes
        if nbytes:  # what was not there says nothing about the link
            self._flow.lane.moved_by(self._ticket, nbytes)

    def pushed_back(self, *, silent: bool = False) -> None:
        """The server said that it is too much; or, `silent`, did not answer in time."""
        self._flow.lane.refused(self._ticket, silent=silent)


class _Waiter:
    """A task that waits for its turn."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.event = trio.Event()
        self.ticket: pace.Ticket | None = None


class Flow:
    """One transfer's part of a lane. Its owner closes it, when no request of it is under way or waits."""

    def __init__(self, lane: Lane, priority: Priority, share: bandwidth.Share | None) -> None:
        self.lane = lane
        self.priority: Priority = priority
        self.share = share
        self.moved = 0
        self.waiting: deque[_Waiter] = deque()
        self.in_flight = 0
        self.bytes_in_flight = 0
        self.last_turn = 0

    @property
    def width(self) -> int:
        """How many requests to have under way, or waiting for their turn: one more than can have it now.

        A turn that comes free must find somebody; that nobody waits means that there is too little to do.
        """
        return self.lane.width_for(self) + 1

    @contextlib.asynccontextmanager
    async def turn(self, size: int) -> AsyncIterator[Turn]:
        """Wait for the turn of a request that will move about `size` bytes; it lasts as long as the block.

        Cancelled while it waits, it has left the queue.
        """
        ticket = await self.lane.acquire(self, size)
        try:
            yield Turn(self, size, ticket)
        finally:
            self.lane.release(self, size)

    def close(self) -> None:
        """The transfer is over. Idempotent."""
        self.lane.forget(self)


class Lane:
    """One direction to one place. `Flow` and `Turn` are how it is used."""

    def __init__(self, place: str, direction: Direction, gate: bandwidth.Gate | None) -> None:
        self._place = place
        self._direction: Direction = direction
        self._gate = gate
        self._pace = pace.Pace()
        self._flows: list[Flow] = []
        self._in_flight = 0
        self._turns = 0
        self._passed_over = 0
        self._moved = 0
        self._pushed_back = 0

    def flow(self, priority: Priority = "live") -> Flow:
        """A part for one more transfer."""
        share = self._gate.share(bulk=priority == "bulk") if self._gate else None
        flow = Flow(self, priority, share)
        self._flows.append(flow)
        return flow

    def statistics(self) -> LaneStatistics:
        """What is going on."""
        flows = [
            FlowStatistics(flow.priority, flow.in_flight, len(flow.waiting), flow.moved)
            for flow in self._flows
        ]
        return LaneStatistics(
            self._place,
            self._direction,
            self._pace.width,
            self._in_flight,
            self._waiting(),
            self._moved,
            self._pushed_back,
            tuple(flows),
        )

    # --- for flows and turns -----------------------------------------------------------------------------

    def width_for(self, flow: Flow) -> int:
        """How many requests `flow` can have under way."""
        demands = [
            other.in_flight + len(other.waiting)
            for other in self._flows
            if other is not flow and (flow.priority == "bulk" or other.priority == "live")
        ]
        return useful_width(self._pace.width, [demand for demand in demands if demand])

    async def acquire(self, flow: Flow, size: int) -> pace.Ticket:
        """Wait until a request of `flow` may start; it has."""
        await trio.lowlevel.checkpoint_if_cancelled()
        waiter = _Waiter(size)
        flow.waiting.append(waiter)
        self._dispatch()
        try:
            if waiter.ticket is None:
                await waiter.event.wait()
        except trio.Cancelled:
            if waiter.ticket is None:
                flow.waiting.remove(waiter)
            else:
                self.release(flow, size)
            raise
        if waiter.ticket is None:
            raise RuntimeError("a turn without a ticket")
        return waiter.ticket

    def release(self, flow: Flow, size: int) -> None:
        """A request of `flow` is over."""
        self._in_flight -= 1
        flow.in_flight -= 1
        flow.bytes_in_flight -= size
        self._dispatch()

    def moved_by(self, ticket: pace.Ticket, nbytes: int) -> None:
        """A request has moved so many bytes."""
        self._moved += nbytes
        busy = self._waiting() > 0 or self._in_flight >= self._pace.width
        self._pace.done(ticket, nbytes, trio.current_time(), busy=busy)

    def refused(self, ticket: pace.Ticket, *, silent: bool) -> None:
        """A request was one too many."""
        self._pushed_back += 1
        self._pace.pushed_back(ticket, silent=silent)

    def forget(self, flow: Flow) -> None:
        """A transfer is over."""
        with contextlib.suppress(ValueError):
            self._flows.remove(flow)

    def _waiting(self) -> int:
        return sum(len(flow.waiting) for flow in self._flows)

    def _dispatch(self) -> None:
        """Start what may start."""
        while self._in_flight < self._pace.width:
            waiting = [flow for flow in self._flows if flow.waiting]
            if not waiting:
                return
            candidates = [
                Candidate(flow.priority == "live", flow.bytes_in_flight, flow.last_turn) for flow in waiting
            ]
            flow = waiting[choose(candidates, self._passed_over)]
            bulk_waits = not all(candidate.live for candidate in candidates)
            self._passed_over = self._passed_over + 1 if flow.priority == "live" and bulk_waits else 0
            waiter = flow.waiting.popleft()
            self._turns += 1
            flow.last_turn = self._turns
            self._in_flight += 1
            flow.in_flight += 1
            flow.bytes_in_flight += waiter.size
            waiter.ticket = self._pace.started(trio.current_time())
            waiter.event.set()


class Link:
    """All lanes of this host; one a daemon."""

    def __init__(self, limit: int | None = None) -> None:
        """`limit` is in bytes a second, for each direction; None or 0: as much as there is."""
        self._gates: dict[Direction, bandwidth.Gate | None] = {
            "up": bandwidth.Gate(limit) if limit else None,
            "down": bandwidth.Gate(limit) if limit else None,
        }
        self._lanes: dict[tuple[str, Direction], Lane] = {}

    def lane(self, place: str, direction: Direction) -> Lane:
        """The lane to `place`, the same object for all who ask."""
        found = self._lanes.get((place, direction))
        if found is None:
            found = self._lanes[place, direction] = Lane(place, direction, self._gates[direction])
        return found

    def statistics(self) -> list[LaneStatistics]:
        """Every lane's, in the order in which they came to be."""
        return [lane.statistics() for lane in self._lanes.values()]

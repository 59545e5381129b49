"""The reaper: what has expired is soft-deleted, what was soft-deleted and has expired is removed.

An expired buffer that nobody has deleted is left for `REVIVAL` as it is: clients of the contract rely on that
time, in which operations do not find it and a later expiry revives it (rest-api.md 4.6, 4.7).

Driven by a timer that is set to the next expiry, and by `wake` when an earlier one was given. To remove is to
claim the row, so that it does not show any more, then the container, then the row. What a crash leaves of
that, `discard` is told at the next start. A store that cannot be reached delays only what it holds itself.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator
from datetime import timedelta

import trio

from tyger import errors, units
from tygerd import clock
from tygerd.buffers import states
from tygerd.catalog import buffers as queries
from tygerd.catalog import db
from tygerd.stores import places

logger = logging.getLogger(__name__)

PAGE = 1000  # rows a transaction, so that other writers get their turn
REVIVAL = timedelta(seconds=30)  # the contract's worker looks so often
LONGEST_SLEEP = 60.0  # seconds: the clock may be set, or the machine have slept, while we wait
AFTER_FAILURE = 30.0  # seconds: as long as a client of the contract has to expect anyway
PARALLEL = 8  # deletions under way at a store: a remote one takes tens of milliseconds for each

HOPELESS = {errors.UNAVAILABLE, errors.CONFIG, errors.FORBIDDEN}
"""Failures that the next container of the same store would meet too, perhaps after a long time-out."""


class Reaper:
    """Removes what has expired. One task runs `run`; `wake` and `discard` are for any task."""

    def __init__(self, catalog: db.Catalog, stores: places.Places, lifetimes: states.Lifetimes) -> None:
        self._catalog = catalog
        self._stores = stores
        self._lifetimes = lifetimes
        self._woken = trio.Event()
        self._looked = units.EPOCH
        """The moment of the last pass."""
        self._doomed: dict[str, str] = {}
        """Account by id."""
        self._said: dict[str, str] = {}
        """What was last logged, by account: an outage of a day is one line."""

    def wake(self) -> None:
        """An expiry was set: look again."""
        self._woken.set()

    def discard(self, kept: Iterable[queries.Kept]) -> None:
        """Remove these, whose rows do not show: as soon as can be, and again until it succeeds."""
        self._doomed.update(kept)
        self.wake()

    async def run(self) -> None:
        """Work until cancelled, which is safe at any moment."""
        while True:
            self._woken = trio.Event()
            pause = await self._pause()
            with trio.move_on_after(pause):
                await self._woken.wait()

    async def _pause(self) -> float:
        """One pass; how long to wait for the next."""
        try:
            whole = await self.work()
            moment = await self._catalog.read(queries.next_expiry)
        except errors.Problem as problem:
            logger.warning("cannot remove what has expired: %s", problem.message)
            return AFTER_FAILURE
        if not whole:
            return AFTER_FAILURE
        if moment is None:
            return math.inf
        due = units.from_micros(moment)
        if due <= self._looked:  # what a pass leaves overdue only waits to be revived
            due += REVIVAL
        remaining = (due - clock.now()).total_seconds()
        return min(max(remaining, 0.0), LONGEST_SLEEP)

    async def work(self) -> bool:
        """Soft-delete and remove all that is due; False when something could not be removed.

        Raises Problem when the catalog cannot be used.
        """
        now = self._looked = clock.now()
        moment = units.to_micros(now)
        grace = states.later(now, self._lifetimes.soft_deleted)
        overdue = units.to_micros(now - REVIVAL)
        count = await self._catalog.write(queries.soft_delete_expired, now=overdue, expires_at=grace)
        if count:
            logger.info("%d buffers expired", count)
        while True:
            self._doomed.update(await self._catalog.write(queries.claim_purgeable, now=moment, limit=PAGE))
            if not self._doomed:
                return True
            due = dict(self._doomed)
            gone = await self._remove(due)
            await self._catalog.write(queries.forget, gone)
            for buffer_id in gone:
                del self._doomed[buffer_id]
            if len(gone) < len(due):
                return False

    async def _remove(self, due: dict[str, str]) -> list[str]:
        """Remove what can be removed; which that was."""
        gone: list[str] = []
        async with trio.open_nursery() as nursery:
            for account in sorted(set(due.values())):
                mine = [buffer_id for buffer_id in sorted(due) if due[buffer_id] == account]
                nursery.start_soon(self._remove_from, account, mine, gone)
        return gone

    async def _remove_from(self, account: str, due: list[str], gone: list[str]) -> None:
        failures: list[tuple[str, errors.Problem]] = []
        left = iter(due)
        async with trio.open_nursery() as nursery:
            for _ in range(min(PARALLEL, len(due))):
                nursery.start_soon(self._work_off, account, left, gone, failures)
        if not failures:
            self._said.pop(account, None)
            return
        (buffer_id, problem), many = failures[0], len(failures) + sum(1 for _ in left)
        what = f"buffer {buffer_id}" if many == 1 else f"{many} buffers, such as {buffer_id}"
        if self._said.get(account) != problem.message:
            self._said[account] = problem.message
            logger.warning("cannot remove %s: %s", what, problem.message)

    async def _work_off(
        self, account: str, left: Iterator[str], gone: list[str], failures: list[tuple[str, errors.Problem]]
    ) -> None:
        for buffer_id in left:
            try:
                await self._stores.named(account).delete(buffer_id)
            except errors.Problem as problem:
                failures.append((buffer_id, problem))
                if problem.kind in HOPELESS:
                    return
            else:
                gone.append(buffer_id)

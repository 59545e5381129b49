"""The reaper: what has expired is soft-deleted, what was soft-deleted and has expired is removed.

Driven by a timer that is set to the next expiry, and by `wake` when an earlier one was given. To remove is to
claim the row, so that it does not show any more, then the directory, then the row. What a crash leaves of
that, `discard` is told at the next start.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable

import trio

from tyger import errors, units
from tygerd import clock
from tygerd.buffers import states
from tygerd.catalog import buffers as queries
from tygerd.catalog import db
from tygerd.stores import base

logger = logging.getLogger(__name__)

PAGE = 1000  # rows a transaction, so that other writers get their turn
LONGEST_SLEEP = 60.0  # seconds: the clock may be set, or the machine have slept, while we wait
AFTER_FAILURE = 30.0  # seconds: as long as a client of the contract has to expect anyway


class Reaper:
    """Removes what has expired. One task runs `run`; `wake` and `discard` are for any task."""

    def __init__(self, catalog: db.Catalog, store: base.Store, lifetimes: states.Lifetimes) -> None:
        self._catalog = catalog
        self._store = store
        self._lifetimes = lifetimes
        self._woken = trio.Event()
        self._doomed: set[str] = set()

    def wake(self) -> None:
        """An expiry was set: look again."""
        self._woken.set()

    def discard(self, buffer_ids: Iterable[str]) -> None:
        """Remove these, whose rows do not show: as soon as can be, and again until it succeeds."""
        self._doomed.update(buffer_ids)
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
        remaining = (units.from_micros(moment) - clock.now()).total_seconds()
        return min(max(remaining, 0.0), LONGEST_SLEEP)

    async def work(self) -> bool:
        """Soft-delete and remove all that is due; False when something could not be removed.

        Raises Problem when the catalog cannot be used.
        """
        now = clock.now()
        moment = units.to_micros(now)
        grace = states.later(now, self._lifetimes.soft_deleted)
        count = await self._catalog.write(queries.soft_delete_expired, now=moment, expires_at=grace)
        if count:
            logger.info("%d buffers expired", count)
        while True:
            self._doomed.update(await self._catalog.write(queries.claim_purgeable, now=moment, limit=PAGE))
            if not self._doomed:
                return True
            due = sorted(self._doomed)
            gone = [buffer_id for buffer_id in due if await self._remove(buffer_id)]
            await self._catalog.write(queries.forget, gone)
            self._doomed.difference_update(gone)
            if len(gone) < len(due):
                return False

    async def _remove(self, buffer_id: str) -> bool:
        try:
            await self._store.delete(buffer_id)
        except errors.Problem as problem:
            logger.warning("cannot remove buffer %s: %s", buffer_id, problem.message)
            return False
        return True

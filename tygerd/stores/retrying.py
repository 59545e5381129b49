"""Patience around a data plane: the one place that decides what is tried again, when, and for how long.

Waits grow exponentially to a cap, with full jitter, and are never shorter than the server's `Retry-After`.
A failure that waiting can't mend is raised at once. An access URL that expired is renewed, once for all
tasks that met it. Requests run in worker threads; waiting holds no thread.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

import trio

from tyger import errors, units
from tygerd import clock
from tygerd.stores import access, dataplane, link

T = TypeVar("T")

MISMATCHES = 5
"""Attempts at a blob whose MD5 does not match: more is not bad luck but bad memory or a bad peer."""

RENEWAL_PAUSE = 1.0
"""Seconds between looks at a source of access URLs that still gives the expired one."""

RENEWAL_PATIENCE = 300.0
"""Seconds until such a source has failed (the original looks ten times, 30 s apart)."""

_log = logging.getLogger(__name__)


class Policy(NamedTuple):
    """How patient, in seconds.

    `deadline` counts from a request's first failure. `first_contact`, where given, stands in for it until
    the data plane has answered once: a wrong address is likelier then than an outage.
    """

    deadline: float
    first_contact: float | None = None
    first: float = 0.25
    cap: float = 30.0

    def pause(self, failures: int, retry_after: float | None, chance: float) -> float:
        """How long to wait after the `failures`th failure in a row (from 1); `chance` is in [0, 1)."""
        # The exponent is bounded so that no number of failures overflows a float.
        jittered = chance * min(self.cap, self.first * 2.0 ** min(failures, 64))
        return max(jittered, retry_after or 0.0)


class Trouble(NamedTuple):
    """Why something waits; `since` is `clock.boottime` of the first failure, `attempts` those that failed."""

    blob: str
    message: str
    offline: bool
    since: float
    attempts: int


class Retrying:
    """A data plane with the same operations, made patient. Belongs to one trio run.

    Every operation raises what `dataplane` raises, but TransientError only after the deadline. Cancelled, a
    request in its thread is waited for, unless `guard` breaks it off.
    """

    def __init__(
        self,
        plane: dataplane.DataPlane,
        policy: Policy,
        *,
        threads: trio.CapacityLimiter,
        flow: link.Flow | None = None,
        on_trouble: Callable[[Trouble | None], None] = lambda _: None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.access: access.Access = plane.access
        self._flow = flow
        self._on_trouble = on_trouble
        self._plane = plane
        self._policy = policy
        self._threads = threads
        self._chance = chance
        self._answered = False
        self._failing_since: float | None = None

    def again(self, policy: Policy | None = None) -> Retrying:
        """The same container with connections and patience of its own: usable after `guard` has ended."""
        return Retrying(
            self._plane.again(),
            policy or self._policy,
            threads=self._threads,
            flow=self._flow,
            on_trouble=self._on_trouble,
            chance=self._chance,
        )

    async def guard(self) -> None:
        """Run in the nursery of those who use this object: cancelled, it breaks off their requests for good.

        Otherwise cancellation would have to wait for a silent server.
        """
        try:
            await trio.sleep_forever()
        finally:
            self._plane.abort()

    async def head(self, name: str) -> dataplane.Found:
        """See `DataPlane.head`."""
        return await self._persist(name, lambda: self._plane.head(name))

    async def get(self, name: str, take: Callable[[int], memoryview]) -> dataplane.Found:
        """See `DataPlane.get`; `take` is called once an attempt, in a worker thread."""
        return await self._persist(name, lambda: self._plane.get(name, take))

    async def put(self, name: str, body: dataplane.Body, md5: bytes, meta: Mapping[str, str]) -> None:
        """See `DataPlane.put`."""
        await self._persist(name, lambda: self._plane.put(name, body, md5, meta))

    # --- patience ----------------------------------------------------------------------------------------

    async def _persist(self, name: str, work: Callable[[], T]) -> T:
        failures = mismatches = 0
        since = 0.0
        deadline = float("inf")
        renewed = False
        while True:
            try:
                result = await trio.to_thread.run_sync(work, limiter=self._threads)
            except dataplane.ExpiredError as expired:
                if renewed or not self.access.renewable:
                    raise
                await self._renew(expired.generation)
                renewed = True
                continue
            except dataplane.BrokenOffError:
                await trio.lowlevel.checkpoint()  # `guard` was cancelled, and so were we
                raise
            except dataplane.Md5MismatchError:
                mismatches += 1
                if mismatches == MISMATCHES:
                    raise
                continue
            except dataplane.TransientError as failure:
                if failures == 0:
                    deadline = trio.current_time() + self._patience()
                    since = clock.boottime()
                failures += 1
                renewed = False
                pause = self._policy.pause(failures, failure.retry_after, self._chance())
                self._failing(failure)
                self._on_trouble(Trouble(name, failure.message, failure.offline, since, failures))
                if trio.current_time() + pause > deadline:
                    raise
                await trio.sleep(pause)
                continue
            except errors.Problem:
                self._reached()  # the data plane answered; that it refused is the caller's affair
                raise
            self._reached()
            return result

    async def _renew(self, generation: int) -> None:
        """Get a newer access URL than that of `generation`.

        A source that fails may be about to be replaced, so its failure counts only at the end.
        """
        deadline = trio.current_time() + RENEWAL_PATIENCE
        why: str | None = None
        while True:
            said = "its source still gives the same one"
            try:
                if await trio.to_thread.run_sync(self.access.renew, generation, limiter=self._threads):
                    _log.info("buffer %s: the access URL was renewed", self.access.url.name)
                    return
            except errors.Problem as problem:
                said = problem.message
            if trio.current_time() >= deadline:
                message = f"failed to refresh access URL: it expired, and {said}"
                raise errors.Problem(errors.FORBIDDEN, message)
            if said != why:
                why = said
                _log.warning("buffer %s: the access URL expired; waiting, as %s", self.access.url.name, why)
            await trio.sleep(RENEWAL_PAUSE)

    def _patience(self) -> float:
        if self._answered or self._policy.first_contact is None:
            return self._policy.deadline
        return self._policy.first_contact

    def _failing(self, failure: dataplane.TransientError) -> None:
        if self._failing_since is None:
            self._failing_since = trio.current_time()
            limit = units.format_duration(self._patience())
            name = self.access.url.name
            _log.warning("buffer %s: %s; trying again for up to %s", name, failure.message, limit)

    def _reached(self) -> None:
        self._answered = True
        if self._failing_since is not None:
            lost = trio.current_time() - self._failing_since
            self._failing_since = None
            self._on_trouble(None)
            _log.info("buffer %s: the data plane answers again after %.1f s", self.access.url.name, lost)

"""Patience around a data plane: the one place that decides what is tried again, when, and for how long.

Waits grow exponentially to a cap, with full jitter, and are never shorter than the server's `Retry-After`;
while nobody answers at all the cap is low, and the first request that gets through wakes the others. What
waiting can't mend is raised at once. An access URL is renewed before it expires, or when it is refused, once
for all tasks. Each attempt at a block takes a turn on the host's link; waiting takes neither turn nor thread.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple, TypeVar

import trio

from tyger import errors, units
from tygerd import clock
from tygerd.osutil import workers
from tygerd.stores import access, bandwidth, dataplane, link

T = TypeVar("T")
Work = Callable[[bandwidth.Share | None], T]
Then = Callable[[], None]
Digest = Callable[[memoryview], Awaitable[bytes]]
"""Takes an MD5. Cancelled, the memory is not in use any more."""

MISMATCHES = 5
"""Attempts at a blob whose MD5 does not match: more is not bad luck but bad memory or a bad peer."""

RENEWAL_PAUSE = 1.0
"""Seconds between looks at a source of access URLs that still gives the expired one."""

RENEWAL_PATIENCE = 300.0
"""Seconds until such a source has failed (the original looks ten times, 30 s apart)."""

DEADLINE = 24 * 3600.0
"""Seconds of patience where nobody says otherwise: a night, and the morning on which it is noticed."""

_PASSING = {errors.UNAVAILABLE, errors.TRY_AGAIN}
"""What a source of access URLs says when it may well succeed later."""

_log = logging.getLogger(__name__)


class Policy(NamedTuple):
    """How patient, in seconds.

    `deadline` counts from a request's first failure. `first_contact`, where given, stands in for it until
    the data plane has answered once: a wrong address is likelier then than an outage. `offline_cap` is the
    cap while nobody answers: a network that is back should be noticed soon, and asking it burdens nobody.
    `first` is short, as blocks are delivered in order: measured with 50 ms of latency and 2 % of requests
    refused, a read with 0.25 s has three quarters of its rate, with 0.1 s nine tenths. `renewal` is for a
    source of access URLs that still gives the expired one.
    """

    deadline: float = DEADLINE
    first_contact: float | None = None
    first: float = 0.05
    cap: float = 30.0
    offline_cap: float = 5.0
    renewal: float = RENEWAL_PATIENCE

    def pause(
        self, failures: int, retry_after: float | None, chance: float, *, offline: bool = False
    ) -> float:
        """How long to wait after the `failures`th failure in a row (from 1); `chance` is in [0, 1)."""
        cap = min(self.cap, self.offline_cap) if offline else self.cap
        # The exponent is bounded so that no number of failures overflows a float.
        jittered = chance * min(cap, self.first * 2.0 ** min(failures, 64))
        return max(jittered, retry_after or 0.0)


class Trouble(NamedTuple):
    """Why something waits; `since` is `clock.boottime` of the first failure, `attempts` those that failed."""

    blob: str
    message: str
    offline: bool
    since: float
    attempts: int


class _Operation:
    """One request, over all its attempts."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.failures = 0
        self.mismatches = 0
        self.deadline = float("inf")
        self.renewed = False
        self.since = 0.0


class Retrying:
    """A data plane with the same operations, made patient. Belongs to one trio run.

    Every operation raises what `dataplane` raises, but TransientError only after the deadline. Cancelled, a
    request in its thread is waited for, unless `guard` breaks it off.

    `flow` is the transfer's part of the host's link, None for requests that are not to be counted. Blocks
    that were received are given to `digest`; without it they are hashed while they are being received.
    `on_trouble` is called with what has been failing longest whenever that changes, and with None when
    nothing fails any more.
    """

    def __init__(
        self,
        plane: dataplane.DataPlane,
        policy: Policy,
        *,
        threads: trio.CapacityLimiter,
        flow: link.Flow | None = None,
        digest: Digest | None = None,
        on_trouble: Callable[[Trouble | None], None] = lambda _: None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.access: access.Access = plane.access
        self._plane = plane
        self._policy = policy
        self._threads = threads
        self._flow = flow
        self._digest = digest
        self._on_trouble = on_trouble
        self._chance = chance
        self._answered = False
        self._failing_since: float | None = None
        self._troubles: dict[_Operation, Trouble] = {}
        self._reported: Trouble | None = None
        self._size = 0
        """Bytes of the last block that came: what the next one is taken to have."""
        self._renewal = trio.Lock()
        self._renewing_ahead = False
        self._refusal: tuple[int, errors.Problem] | None = None
        """Of which generation no newer URL can be had, and why."""
        self._sleepers: dict[trio.Event, bool] = {}
        """Who waits to try again, and whether it is because nobody answered."""

    def again(self, policy: Policy | None = None) -> Retrying:
        """The same container with connections and patience of its own: usable after `guard` has ended."""
        return Retrying(
            self._plane.again(),
            policy or self._policy,
            threads=self._threads,
            flow=self._flow,
            digest=self._digest,
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

    def wake(self) -> None:
        """Let all that wait try again now: somebody knows that it is worth it."""
        self._refusal = None
        for sleeper in self._sleepers:
            sleeper.set()

    async def head(self, name: str) -> dataplane.Found:
        """See `DataPlane.head`."""
        return await self._persist(name, None, lambda _: self._plane.head(name), lambda _: 0)

    async def get(self, name: str, take: Callable[[int], memoryview]) -> dataplane.Found:
        """See `DataPlane.get`; `take` is called once an attempt, in a worker thread."""
        if _is_marker(name):
            return await self._persist(
                name, None, lambda share: self._plane.get(name, take, share), lambda _: 0
            )
        digest = self._digest
        received = memoryview(b"")

        def keep(length: int) -> memoryview:
            nonlocal received
            received = take(length)[:length]
            return received

        def work(share: bandwidth.Share | None) -> dataplane.Found:
            return self._plane.get(name, keep, share, verify=digest is None)

        async def check(found: dataplane.Found) -> None:
            if digest is not None:
                dataplane.compare(found, await digest(received))

        found = await self._persist(name, self._size, work, lambda found: found.length, check)
        self._size = found.length
        return found

    async def put(
        self, name: str, body: dataplane.Body, md5: bytes, meta: Mapping[str, str], then: Then = lambda: None
    ) -> None:
        """See `DataPlane.put`; `then` is called in its worker thread when it has succeeded."""
        length = len(body) if isinstance(body, bytes) else body.length
        size = None if _is_marker(name) else length

        def work(share: bandwidth.Share | None) -> None:
            self._plane.put(name, body, md5, meta, share)
            then()

        await self._persist(name, size, work, lambda _: length)

    # --- attempts ----------------------------------------------------------------------------------------

    async def _persist(
        self,
        name: str,
        size: int | None,
        work: Work[T],
        moved: Callable[[T], int],
        check: Callable[[T], Awaitable[None]] | None = None,
    ) -> T:
        """Attempt until it succeeds, and passes the check, or must not or need not be attempted again."""
        operation = _Operation(name)
        try:
            while True:
                await self._renew_ahead()
                try:
                    result = await self._attempt(size, work, moved)
                    if check is not None:
                        await check(result)
                except dataplane.ExpiredError as refusal:
                    await self._expired(operation, refusal)
                except dataplane.BrokenOffError:
                    await trio.lowlevel.checkpoint()  # `guard` was cancelled, and so were we
                    raise
                except dataplane.Md5MismatchError as mismatch:
                    await self._mismatched(operation, mismatch)
                except dataplane.TransientError as failure:
                    await self._failed(operation, failure)
                except errors.Problem:
                    self._reached()  # the data plane answered; that it refused is the caller's affair
                    raise
                else:
                    self._reached()
                    return result
        finally:
            self._settled(operation)

    async def _attempt(self, size: int | None, work: Work[T], moved: Callable[[T], int]) -> T:
        """Once; `size` is what it will move, None for what takes no turn."""
        if self._flow is None or size is None:
            return await workers.run(lambda: work(None), self._threads)
        async with self._flow.turn(size) as turn:
            if self.access.renewable and self.access.is_expired():  # while it waited for its turn
                raise dataplane.ExpiredError(self.access.current()[0], "it has expired")
            try:
                result = await workers.run(lambda: work(turn.share), self._threads)
            except dataplane.TransientError as failure:
                if failure.crowded:
                    turn.pushed_back(silent=failure.offline)
                raise
            turn.done(moved(result))
            return result

    async def _failed(self, operation: _Operation, failure: dataplane.TransientError) -> None:
        """Wait after a failure that may pass; raises it when there is no patience left."""
        if operation.failures == 0:
            operation.deadline = trio.current_time() + self._patience()
        operation.failures += 1
        operation.renewed = False
        pause = self._policy.pause(
            operation.failures, failure.retry_after, self._chance(), offline=failure.offline
        )
        self._failing(failure)
        if trio.current_time() + pause > operation.deadline:
            raise failure
        await self._pause(operation, pause, failure.message, offline=failure.offline)

    async def _mismatched(self, operation: _Operation, mismatch: dataplane.Md5MismatchError) -> None:
        """Bytes were damaged on their way. Once that is chance; after that some time may help."""
        operation.mismatches += 1
        if operation.mismatches == MISMATCHES:
            raise mismatch
        pause = 0.0
        if operation.mismatches > 1:
            pause = self._policy.pause(operation.mismatches - 1, None, self._chance())
        await self._pause(operation, pause, mismatch.message)

    async def _pause(self, operation: _Operation, seconds: float, why: str, *, offline: bool = False) -> None:
        """Wait, and say why; less if somebody else gets through, or knows more."""
        since = operation.since = operation.since or clock.boottime()
        attempts = operation.failures + operation.mismatches
        self._troubles[operation] = Trouble(operation.name, why, offline, since, attempts)
        self._report()
        sleeper = trio.Event()
        self._sleepers[sleeper] = offline
        try:
            with trio.move_on_after(seconds):
                await sleeper.wait()
        finally:
            del self._sleepers[sleeper]

    # --- what is the matter ------------------------------------------------------------------------------

    def _settled(self, operation: _Operation) -> None:
        """It is over, however it ended."""
        if self._troubles.pop(operation, None) is not None:
            self._report()

    def _report(self) -> None:
        oldest = min(self._troubles.values(), key=lambda trouble: trouble.since, default=None)
        if oldest != self._reported:
            self._reported = oldest
            self._on_trouble(oldest)

    def _patience(self) -> float:
        if self._answered or self._policy.first_contact is None:
            return self._policy.deadline
        return self._policy.first_contact

    def _failing(self, failure: dataplane.TransientError) -> None:
        if self._failing_since is None:
            self._failing_since = trio.current_time()
            name, limit = self.access.url.name, units.format_duration(self._patience())
            _log.warning("buffer %s: %s; trying again for up to %s", name, failure.message, limit)

    def _reached(self) -> None:
        self._answered = True
        for sleeper, offline in self._sleepers.items():
            if offline:
                sleeper.set()
        if self._failing_since is not None:
            lost = trio.current_time() - self._failing_since
            self._failing_since = None
            _log.info("buffer %s: the data plane answers again after %.1f s", self.access.url.name, lost)

    # --- access URLs -------------------------------------------------------------------------------------

    async def _renew_ahead(self) -> None:
        """Replace the URL if it soon expires; one task does, for all. That fails silently for a while."""
        if self._renewing_ahead or not self.access.is_due() or self.access.is_expired():
            return
        self._renewing_ahead = True
        try:
            await trio.to_thread.run_sync(self.access.renew_ahead, limiter=self._threads)
        except errors.Problem as problem:
            name, left = self.access.url.name, self.access.left() or 0.0
            _log.warning("buffer %s: no fresh access URL, %.0f s before it expires: %s", name, left, problem)
        finally:
            self._renewing_ahead = False

    async def _expired(self, operation: _Operation, refusal: dataplane.ExpiredError) -> None:
        """Replace a URL that was refused; raises the refusal where that can't help."""
        # A fresh one that is refused although its time is not up does not open this container.
        if not self.access.renewable or (operation.renewed and not self.access.is_expired()):
            raise refusal
        async with self._renewal:
            if self.access.current()[0] == refusal.generation:
                await self._renew(operation, refusal.generation)
        operation.renewed = True

    async def _renew(self, operation: _Operation, generation: int) -> None:
        """Get a newer access URL than that of `generation`.

        A source that gives the same one may be about to be replaced, so that counts as a failure only at the
        end; so does what the source says itself may pass.
        """
        if self._refusal is not None and self._refusal[0] == generation:
            raise self._refusal[1]
        started = trio.current_time()
        failures = 0
        logged = ""
        while True:
            failures += 1
            pause, patience = RENEWAL_PAUSE, self._policy.renewal
            kind, why = errors.FORBIDDEN, "its source still gives the same one"
            try:
                if await trio.to_thread.run_sync(self.access.renew, generation, limiter=self._threads):
                    _log.info("buffer %s: the access URL was renewed", self.access.url.name)
                    return
            except errors.Problem as problem:
                why = problem.message
                if problem.kind in _PASSING:
                    kind, patience = problem.kind, self._policy.deadline
                    pause = self._policy.pause(failures, None, self._chance())
                elif problem.kind is not errors.INVALID_INPUT:  # a file that is just being replaced
                    kind, patience = problem.kind, 0.0
            if trio.current_time() - started >= patience:
                message = f"failed to refresh access URL: it expired, and {why}"
                if kind in _PASSING:
                    raise dataplane.TransientError(message)
                self._refusal = (generation, errors.Problem(kind, message))
                raise self._refusal[1]
            if why != logged:
                logged = why
                _log.warning("buffer %s: the access URL expired; waiting, as %s", self.access.url.name, why)
            await self._pause(operation, pause, f"the access URL expired, and {why}")


def _is_marker(name: str) -> bool:
    return name.startswith(".")

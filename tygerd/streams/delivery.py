"""Delivery: the shipping of one spool container in the background, over pauses, outages and refusals.

Theory of operation. `run` ships until the store knows all that there is to know. It waits while the transfer
is paused, and while it is stalled: when retrying has lasted its deadline, or the store has refused what it
took before, the data stay until `resume` or `cancel`. A refusal at the very beginning, while a client is
there to hear it, ends the transfer at once. A lease on the start marker tells readers elsewhere that the
writer lives. `waiting` says why nothing moves.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta

import trio

from tyger import errors
from tygerd import clock
from tygerd.blocks import container, names, shipped
from tygerd.osutil import nurseries
from tygerd.stores import base, dataplane, link, retrying
from tygerd.streams import remote, ship

TASKS = 48
"""Blocks of one transfer that are looked after at once: more than any lane is wide, so that blocks that wait
before they are tried again do not hold up the others."""

EARLY = 60.0
"""Seconds after the start in which a refusal ends the transfer: what it holds can still be sent again."""

AGAIN = 1.0
"""Seconds between attempts at a spool that cannot be used: the kernel has no event for that."""

_LOST = (dataplane.ContainerNotFoundError, dataplane.ExistsError)
_HOPELESS = {errors.CORRUPT, errors.INVALID_INPUT, errors.BUFFER_FAILED}
"""What no later attempt mends: as failures of the data plane, and as kinds."""

_log = logging.getLogger(__name__)


class Delivery:
    """Ships one container. `accepted_bytes` counts what the store has; `on_change` is called on any news.

    `renewable` says that an access which the store calls expired can become valid again, `fresh` that the
    write has just begun: what it holds can still be sent again by whoever sent it. `is_heard` tells whether a
    client is there to hear a refusal, and to be the one who still has the bytes.
    """

    def __init__(
        self,
        source: container.Container,
        remotes: remote.Remotes,
        opening: remote.Opening,
        *,
        priority: link.Priority,
        lease: base.Lease | None = None,
        renewable: bool = True,
        fresh: bool = True,
        is_heard: Callable[[], bool] = lambda: True,
        paused: bool = False,
        on_change: Callable[[], None] = lambda: None,
        on_accepted: Callable[[], None] = lambda: None,
    ) -> None:
        self.paused = paused
        self.stalled: str | None = None
        self.accepted_bytes = 0
        self._source = source
        self._remotes = remotes
        self._opening = opening
        self._priority: link.Priority = priority
        self._lease = lease
        self._renewable = renewable
        self._fresh = fresh
        self._is_heard = is_heard
        self._on_change = on_change
        self._on_accepted = on_accepted
        self._trouble: retrying.Trouble | None = None
        self._patient: retrying.Retrying | None = None
        self._begun = False
        self._cancelled: str | None = None
        self._scope: trio.CancelScope | None = None
        self._news = trio.Event()

    @property
    def halted(self) -> bool:
        """Whether nothing is sent until somebody says so."""
        return self.paused or self.stalled is not None

    @property
    def waiting(self) -> str | None:
        """Why nothing moves, in words; None when nothing is known to hold it up."""
        if self.paused:
            return "paused"
        if self.stalled:
            return f"stalled: {self.stalled}"
        return describe(self._trouble) if self._trouble else None

    # --- what a user asks for ----------------------------------------------------------------------------

    def pause(self) -> None:
        """Send nothing more until `resume`; the capture goes on into the spool. Idempotent."""
        self.paused = True
        self._interrupt()

    def resume(self) -> None:
        """Go on after a pause or a stall. Idempotent."""
        self.paused = False
        self.try_again()

    def try_again(self) -> None:
        """Go on after a stall, as there is something new; a pause stays. Idempotent.

        What waits before it is tried again is tried now.
        """
        self.stalled = None
        if self._patient is not None:
            self._patient.wake()
        self._wake()

    def cancel(self, reason: str) -> None:
        """Give up: the store is told that the buffer has failed if that can be done in seconds."""
        self._cancelled = reason
        self._interrupt()

    def _interrupt(self) -> None:
        if self._scope is not None:
            self._scope.cancel()
        self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = trio.Event()
        self._on_change()

    # --- shipping ----------------------------------------------------------------------------------------

    async def run(self) -> container.End:
        """Ship until the store knows how the container has ended; what that is. Cancelled, another can go on.

        Raises:
            Problem: the store will never have it; BUFFER_FAILED after `cancel`.
        """
        started = trio.current_time()
        mark = await self._mark()
        try:
            while self._cancelled is None:
                if self.halted and self._source.end() != "failed":  # to tell that takes one request
                    await self._news.wait()
                    continue
                with trio.CancelScope() as self._scope:
                    self._trouble = None
                    try:
                        return await self._ship(mark)
                    except errors.Problem as problem:
                        if self._ends(problem, started):
                            if self._begun and not isinstance(problem, _LOST):
                                await self._give_up(mark)  # readers must not wait for what never comes
                            raise
                        self._stall(problem)
                    except Exception as defect:  # noqa: BLE001 - the one catch per transfer: its data stay
                        _log.error("an unexpected error in a transfer", exc_info=defect)
                        message = f"a defect of ours, see the daemon's log: {type(defect).__name__}"
                        self._stall(errors.Problem(errors.INTERNAL, message))
            await self._give_up(mark)
            raise errors.Problem(errors.BUFFER_FAILED, self._cancelled)
        finally:
            mark.close()

    async def _mark(self) -> shipped.Shipped:
        """Where an earlier delivery stopped. A disk that is full, or fails, stalls this one.

        Raises:
            Problem: BUFFER_FAILED after `cancel`.
        """
        while self._cancelled is None:
            try:
                mark = await trio.to_thread.run_sync(shipped.Shipped.open, self._source.path)
            except OSError as error:
                message = f"the transfer's part of the spool cannot be used: {error.strerror}"
                if message != self.stalled:
                    self._stall(errors.Problem(errors.IO_ERROR, message))
                with trio.move_on_after(AGAIN):
                    await self._news.wait()
            else:
                self.stalled = None
                self._begun, self.accepted_bytes = mark.number > 0, mark.bytes
                return mark
        raise errors.Problem(errors.BUFFER_FAILED, self._cancelled)

    async def _ship(self, mark: shipped.Shipped) -> container.End:
        async with self._remotes.way(
            self._opening, "up", priority=self._priority, on_trouble=self._on_trouble
        ) as (patient, _):
            shipping = self._shipping(patient, mark)
            self._patient = patient
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._watch, shipping)
                    ended = await shipping.run()
                    nursery.cancel_scope.cancel()
            except BaseExceptionGroup as group:
                raise nurseries.outcome(group) from None
            finally:
                self._patient = None
        self._trouble = None
        await self._release()
        return ended

    def _shipping(self, patient: retrying.Retrying, mark: shipped.Shipped) -> ship.Ship:
        def on_accepted() -> None:
            self.accepted_bytes = shipping.accepted_bytes
            self._on_accepted()

        shipping = ship.Ship(
            self._source, patient, dop=TASKS, last_words=None, mark=mark, on_accepted=on_accepted
        )
        return shipping

    async def _watch(self, shipping: ship.Ship) -> None:
        """Note that the store took something, and from then on show readers that the writer lives."""
        await shipping.begun.wait()
        self._begun = True
        if self._lease is None:
            return
        said: str | None = None
        while True:
            try:
                await self._lease.acquire()
                said = None
            except errors.Problem as problem:
                if problem.message != said:  # readers think us away, and that is all
                    said = problem.message
                    _log.warning("cannot renew the writer's lease: %s", said)
            await trio.sleep(self._lease.seconds / 3)

    async def _release(self) -> None:
        if self._lease is None:
            return
        with trio.move_on_after(ship.LAST_WORDS):
            try:
                await self._lease.release()
            except errors.Problem as problem:
                _log.info("the writer's lease was not given back, it ends by itself: %s", problem)

    async def _give_up(self, mark: shipped.Shipped) -> None:
        with trio.move_on_after(ship.LAST_WORDS):
            try:
                async with self._remotes.way(self._opening, "up") as (patient, _):
                    await self._shipping(patient, mark).tell_failure()
            except errors.Problem as problem:
                _log.warning("the store could not be told that the buffer has failed: %s", problem)
        await self._release()

    def _ends(self, problem: errors.Problem, started: float) -> bool:
        """Whether a failure is final, or the data should stay for better times."""
        if isinstance(problem, _LOST) or problem.kind in _HOPELESS:
            return True
        if self._source.end() == "failed":
            return True  # only its end was to be told
        if isinstance(problem, dataplane.ExpiredError) and not self._renewable:
            return True
        early = self._fresh and not self._begun and trio.current_time() - started < EARLY
        return early and self._is_heard() and not isinstance(problem, dataplane.TransientError)

    def _stall(self, problem: errors.Problem) -> None:
        _log.error("a transfer is stalled, its data are kept: %s", problem)
        self.stalled = problem.message
        self._wake()

    def _on_trouble(self, trouble: retrying.Trouble | None) -> None:
        self._trouble = trouble
        self._on_change()


def describe(trouble: retrying.Trouble) -> str:
    """A trouble in words, as `tyger transfer list` shows it."""
    if trouble.offline:
        since = clock.now() - timedelta(seconds=clock.boottime() - trouble.since)
        return f"offline since {since:%H:%M:%S} UTC: {trouble.message}"
    number = names.block_number(trouble.blob)
    what = trouble.blob if number is None else f"block {number}"
    return f"retrying {what} after {trouble.message}"

"""One write: a pipe that is captured into a container on behalf of a client that stays connected.

Theory of operation. An attachment is one client connection with one pipe; it owns the container's writer
while it lasts, and its request's task runs it. `say` hands the client's word to it. What must outlive the
request (a client that is gone) runs in the registry's nursery. Where the container is a spool's, a `delivery`
ships it at the same time, and the write is over when that is. States and their order stand in `states`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import trio

from tyger import errors
from tygerd import events
from tygerd.blocks import container, journal, writer
from tygerd.osutil import fds
from tygerd.streams import capture, delivery, hashing, order, recovery, reporting, states

GONE = "its writer was killed, or lost its connection, before it said how its input ended"


class Write:
    """A write and its state. `on_final` is called once, when its end is durable."""

    def __init__(
        self,
        settings: order.Settings,
        target: container.Container,
        *,
        hasher: hashing.Hasher,
        on_final: Callable[[Write], None],
        announce: events.Announce = events.nobody,
        state: states.State = states.State.RUNNING,
    ) -> None:
        self.settings = settings
        self.state = state
        self.reason: str | None = None
        self.code: str | None = None
        """The code of `reason`'s kind, where it failed for one that `tyger.errors` knows."""
        self.bytes = 0
        self.blocks = 0
        self.epoch = 0
        self.finished_at: int | None = None
        self.needs_url = False
        """Whether the access URL that the client gave has expired: it may bring another one."""
        self.detaches = False
        """Whether its client leaves as soon as all is in the spool."""
        self._container = target
        self._hasher = hasher
        self._on_final = on_final
        self._announce = announce
        self._shipping: order.Shipping | None = None
        self._refused: errors.Problem | None = None
        self._writer_lock = trio.Lock()
        self._attachment: trio.CancelScope | None = None
        self._capture: capture.Capture | None = None
        self._held_up: str | None = None
        self._capturing: trio.CancelScope | None = None
        self._said: tuple[order.Outcome, str | None] | None = None
        self._heard = trio.Event()
        self._captured = trio.Event()
        if states.is_captured(state):
            self._captured.set()
        self._final = trio.Event()
        self.changed = trio.Event()
        """The next change of state."""
        self.moved = trio.Event()
        """The next change of anything that can be seen of it, bytes too."""
        self.accepted = trio.Event()
        """The next block that the store has."""

    @property
    def delivery(self) -> delivery.Delivery | None:
        """What ships it; None in the embedded store."""
        return self._shipping.delivery if self._shipping else None

    @property
    def shipped(self) -> int:
        """Bytes that the store has."""
        if self._shipping is None:
            return self.bytes
        return self._shipping.delivery.accepted_bytes

    @property
    def remote(self) -> bool:
        """Whether it goes to a store elsewhere."""
        return self._shipping is not None

    @property
    def waiting(self) -> str | None:
        """What a write that is not over waits for, in words."""
        if states.is_final(self.state):
            return None
        if self.state is states.State.SUSPENDED:
            return "its client has not come back yet"
        if self.needs_url:
            return "its access URL has expired, and its client has not brought another"
        held_up = self._shipping.delivery.waiting if self._shipping else None
        if self.state is states.State.ENDED:
            return held_up or "its client has not said how the producer ended"
        # The producer, too, may be held up: by what holds up the store, or by the disk.
        mine = self._held_up or (self._capture.waiting if self._capture else None)
        return "; ".join(filter(None, [held_up, mine])) or None

    def ship_with(self, shipping: order.Shipping) -> None:
        """It goes to a store elsewhere; `deliver` must run then. Before anything else."""
        self._shipping = shipping

    # --- an attachment -----------------------------------------------------------------------------------

    async def attach(self, pipe: fds.OwnedFd, report: reporting.Report) -> None:
        """Capture `pipe` and report until the write is over. An earlier attachment ends first.

        Cancelled, nothing is lost: the caller decides whether the client is gone (`abandon`) or comes back.
        `pipe` stays the caller's, to be closed when this has returned.

        Raises:
            ReplacedError: a later attachment took over.
        """
        self.epoch += 1
        if self._attachment is not None:
            self._attachment.cancel()
        with trio.CancelScope() as scope:
            async with self._writer_lock:
                self._attachment = scope
                try:
                    await self._attached(pipe, report)
                finally:
                    self._attachment = None
        if scope.cancelled_caught:
            raise ReplacedError

    async def _attached(self, pipe: fds.OwnedFd, report: reporting.Report) -> None:
        if not states.is_final(self.state):
            self._move(states.Event.ATTACHED)
        async with trio.open_nursery() as nursery:
            if not states.is_captured(self.state):
                nursery.start_soon(self._work, pipe)
            await reporting.follow(self, report)

    async def _work(self, pipe: fds.OwnedFd) -> None:
        """Capture to the end of the pipe, wait for the client's word, and end the container accordingly."""
        with trio.CancelScope() as self._capturing:
            if self._heard.is_set():
                self._capturing.cancel()
            try:
                await self._begin(await self._recover(), pipe).run()
            except (OSError, journal.DamagedError) as error:
                self._hear("failed", reporting.unstorable(error))
            else:
                self._progress()
                self._move(states.Event.EOF)
        self._capturing = None
        await self._heard.wait()
        await self._finish()

    # --- the client's word -------------------------------------------------------------------------------

    async def say(self, outcome: order.Outcome, reason: str | None = None) -> None:
        """How the producer ended; returns when the container says so, durably. Idempotent.

        Raises:
            Problem: CONFLICT, the write has ended otherwise, or `complete` came before end of file.
        """
        if not states.is_captured(self.state):
            if outcome == "complete" and self.state is not states.State.ENDED:
                message = "the buffer cannot be completed: end of file has not been seen yet"
                raise errors.Problem(errors.CONFLICT, message)
            self._hear(outcome, reason)
            if self._attachment is None:
                async with self._writer_lock:
                    await self._finish()
            await self._captured.wait()
        if outcome != states.OUTCOMES[self.state]:
            why = f": {self.reason}" if self.reason else ""
            raise errors.Problem(errors.CONFLICT, f"the buffer is already {self.state.value}{why}")

    async def cancel(self, reason: str) -> None:
        """End it as failed: what is not shipped will not be. Returns when it is over on this host.

        A store elsewhere is told, however long that takes; cancelled again, it is told within seconds or
        not at all.

        Raises:
            Problem: CONFLICT, it is complete.
        """
        if self._shipping is None or not states.is_captured(self.state):
            await self.say("failed", reason)
        elif self.state is states.State.SPOOLED:
            await self._doom(reason)
        elif self.state is states.State.FAILING:
            self._shipping.delivery.cancel(reason)
            await self._final.wait()
        await self.say("failed", reason)
        if self._shipping is not None:
            self._shipping.delivery.try_again()

    async def _doom(self, reason: str) -> None:
        """Take back that the stream is whole; nothing more of it is shipped but that."""
        with trio.CancelScope(shield=True):  # what the disk says and what we say must not differ
            await self._end_badly(self._container.fail, reason)
            if self.state is states.State.SPOOLED:  # else the store had all of it meanwhile
                self.reason = reason
                self._move(states.Event.DOOMED)
        self._container.feed.notify()

    async def abandon(self, pipe: fds.OwnedFd | None) -> None:
        """The client is gone for good: take what is in the pipe, close it, fail the buffer. Owns `pipe`.

        A word that the client had said before it went counts.
        """
        try:
            async with self._writer_lock:
                if states.is_captured(self.state):
                    return
                if pipe is not None and not self._heard.is_set():
                    with trio.CancelScope() as self._capturing:
                        await self._begin(await self._recover(), pipe, bounded=False).take_rest()
                    self._capturing = None
        except (OSError, journal.DamagedError) as error:
            self._hear("failed", reporting.unstorable(error))
        finally:
            if pipe is not None:
                await pipe.aclose()
        self._hear("failed", GONE)
        async with self._writer_lock:
            await self._finish()

    def _hear(self, outcome: order.Outcome, reason: str | None) -> None:
        if self._said is None:
            self._said = outcome, reason
            self._heard.set()
            if self._capturing is not None:
                self._capturing.cancel()

    async def _finish(self) -> None:
        """End the container as was said. The writer's lock is held and no thread is at work."""
        if self._said is None or states.is_captured(self.state):
            return
        outcome, reason = self._said
        while True:
            try:
                target = await self._recover()
                await trio.to_thread.run_sync(target.finish, outcome, reason, limiter=self._hasher.limiter)
            except (OSError, journal.DamagedError) as error:
                if isinstance(error, OSError) and error.errno in capture.FULL:
                    await trio.sleep(capture.FULL_DISK_PAUSE)
                    continue
                outcome, reason = "failed", reason or reporting.unstorable(error)
                await self._end_badly(self._container.mark_failed, reason)
            except errors.Problem as problem:  # somebody else has ended it, and that is what readers see
                outcome, reason = "failed", self._container.failure() or problem.message
            else:
                self.bytes, self.blocks = target.sealed_bytes, target.next_number
            break
        if self._refused is not None and outcome == "complete":
            outcome, reason = "failed", self._refused.message
        self.reason = reason
        self._capture = None
        self._move(self._captured_as(outcome))
        self._container.feed.notify()
        if states.is_final(self.state):
            self._conclude()
        self._captured.set()

    def _captured_as(self, outcome: order.Outcome) -> states.Event:
        """What the end of the capture means: in a store elsewhere nobody knows of it yet."""
        if self._refused is not None:
            return states.Event.SAID_FAILED
        if self._shipping is None:
            return states.Event.SAID_COMPLETE if outcome == "complete" else states.Event.SAID_FAILED
        return states.Event.SPOOLED if outcome == "complete" else states.Event.DOOMED

    def _conclude(self) -> None:
        self._on_final(self)
        self._final.set()

    # --- shipping ----------------------------------------------------------------------------------------

    async def deliver(self) -> None:
        """Ship it to its end, for a store elsewhere. Cancelled, the next daemon goes on.

        A store that refuses ends the capture, too: its producer gets EPIPE.
        """
        if self._shipping is None:
            raise ValueError("nothing has to be shipped")
        ended: container.End = "failed"
        try:
            ended = await self._shipping.delivery.run()
        except errors.Problem as problem:
            self._refused = problem
            if self._said is None or self._said[0] == "complete":
                self.code = problem.kind.code
            self._hear("failed", problem.message)
            if self._attachment is None:
                async with self._writer_lock:
                    await self._finish()
        await self._captured.wait()
        if states.is_final(self.state):
            return
        if self._refused is not None and self.state is states.State.SPOOLED:
            self.reason = self._refused.message
            # A daemon that is killed before the row says so would deliver it after all.
            await self._end_badly(self._container.fail, self.reason)
        event = states.Event.SHIPPING_FAILED if self._refused else states.Event.SHIPPED
        if ended == "complete" and self.state is states.State.FAILING:
            event, self.reason = states.Event.WAS_WHOLE, None
        self._move(event)
        self._conclude()

    def is_heard(self) -> bool:
        """Whether a client is attached that hears how it ends."""
        return self._attachment is not None and not (self.detaches and self.state is states.State.SPOOLED)

    def on_accepted(self) -> None:
        """The store has another block."""
        self.accepted.set()
        self.accepted = trio.Event()
        self.moved.set()
        self.moved = trio.Event()

    def ask_for_url(self) -> None:
        """The access URL that the client gave expires: ask it for another one."""
        self.needs_url = True
        self.stir()
        self.changed.set()
        self.changed = trio.Event()

    def stir(self) -> None:
        """Something that is reported has changed: what it waits for, or what was shipped."""
        self._announce("transfer", self.settings.id)
        self.moved.set()
        self.moved = trio.Event()

    # --- parts -------------------------------------------------------------------------------------------

    async def _recover(self) -> writer.Writer:
        def on_waiting(why: str | None) -> None:
            self._held_up = why
            self.stir()

        return await recovery.recover(
            self._container, self.settings, limiter=self._hasher.limiter, on_waiting=on_waiting
        )

    async def _end_badly(self, end: Callable[[str], object], reason: str) -> None:
        """Mark the container as failed; where that fails too, the catalog's row says it."""
        with contextlib.suppress(OSError, journal.DamagedError):
            await trio.to_thread.run_sync(end, reason, limiter=self._hasher.limiter)

    def _begin(self, target: writer.Writer, pipe: fds.OwnedFd, *, bounded: bool = True) -> capture.Capture:
        """A capture; not `bounded`, it waits for no room in the spool: a pipe's rest is small."""
        self._capture = capture.Capture(
            target,
            pipe.fileno(),
            block_size=self.settings.block_size,
            flush_interval=self.settings.flush_interval,
            hasher=self._hasher,
            on_progress=self._progress,
            admit=self._admit if self._shipping and bounded else None,
        )
        return self._capture

    async def _admit(self) -> None:
        """Hold the capture back while the spool is full."""
        if self._shipping is not None:
            await self._shipping.admit(self.settings.block_size, self._say_waiting)

    def _say_waiting(self, why: str | None) -> None:
        if self._capture is not None:
            self._capture.waiting = why
        self._progress()

    def _progress(self) -> None:
        if self._capture is not None:
            self.bytes, self.blocks = self._capture.bytes, self._capture.blocks
        self.moved.set()
        self.moved = trio.Event()

    def _move(self, event: states.Event) -> None:
        self.state = states.following(self.state, event)
        self._announce("transfer", self.settings.id)
        self.changed.set()
        self.changed = trio.Event()
        self.moved.set()
        self.moved = trio.Event()


class ReplacedError(Exception):
    """A later attachment of the same write took over."""

"""One write: a pipe that is captured into a container on behalf of a client that stays connected.

Theory of operation. An attachment is one client connection with one pipe; it owns the container's writer
while it lasts, and its request's task runs it. `say` hands the client's word to it. What must outlive the
request (a client that is gone) runs in the registry's nursery. States and their order stand in `states`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Literal, NamedTuple

import trio

from tyger import errors
from tygerd import events
from tygerd.blocks import container, journal, writer
from tygerd.osutil import fds
from tygerd.streams import capture, states

REPORT_INTERVAL = 0.2
"""Seconds between progress reports to a client: five a second is as fast as a person reads."""

GONE = "its writer was killed, or lost its connection, before it said how its input ended"

Outcome = Literal["complete", "failed"]
Report = Callable[[dict[str, Any]], Awaitable[None]]
"""Sends one event to the client (docs/design.md, Transfers)."""


class Settings(NamedTuple):
    """What a write was asked to be. Bytes, seconds."""

    id: str
    buffer: str
    block_size: int
    flush_interval: float
    owner: int
    run: int | None
    sync: bool
    started_at: int
    """Microseconds since 1970."""


class Write:
    """A write and its state. `on_final` is awaited once, when its end is durable."""

    def __init__(
        self,
        settings: Settings,
        target: container.Container,
        *,
        hashing: trio.CapacityLimiter,
        on_final: Callable[[Write], Awaitable[None]],
        announce: events.Announce = events.nobody,
        state: states.State = states.State.RUNNING,
    ) -> None:
        self.settings = settings
        self.state = state
        self.reason: str | None = None
        self.bytes = 0
        self.blocks = 0
        self.epoch = 0
        self.finished_at: int | None = None
        self._container = target
        self._hashing = hashing
        self._on_final = on_final
        self._announce = announce
        self._writer_lock = trio.Lock()
        self._attachment: trio.CancelScope | None = None
        self._capture: capture.Capture | None = None
        self._capturing: trio.CancelScope | None = None
        self._said: tuple[Outcome, str | None] | None = None
        self._heard = trio.Event()
        self._final = trio.Event()
        self._changed = trio.Event()
        self._moved = trio.Event()

    @property
    def waiting(self) -> str | None:
        """What a running write waits for, in words."""
        if self.state is states.State.SUSPENDED:
            return "its client has not come back yet"
        if self.state is states.State.ENDED:
            return "its client has not said how the producer ended"
        return self._capture.waiting if self._capture else None

    # --- an attachment -----------------------------------------------------------------------------------

    async def attach(self, pipe: fds.OwnedFd, report: Report) -> None:
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

    async def _attached(self, pipe: fds.OwnedFd, report: Report) -> None:
        if not states.is_final(self.state):
            self._move(states.Event.ATTACHED)
        async with trio.open_nursery() as nursery:
            if not states.is_final(self.state):
                nursery.start_soon(self._work, pipe)
            await self._report(report)

    async def _work(self, pipe: fds.OwnedFd) -> None:
        """Capture to the end of the pipe, wait for the client's word, and end the container accordingly."""
        with trio.CancelScope() as self._capturing:
            if self._heard.is_set():
                self._capturing.cancel()
            try:
                await self._begin(await self._recover(), pipe).run()
            except (OSError, journal.DamagedError) as error:
                self._hear("failed", _unstorable(error))
            else:
                self._progress()
                self._move(states.Event.EOF)
        self._capturing = None
        await self._heard.wait()
        await self._finish()

    async def _report(self, report: Report) -> None:
        await report({"event": "attached"})
        sent: tuple[int, str | None] = (-1, None)
        eof_sent = False
        while not states.is_final(self.state):
            changed, moved = self._changed, self._moved
            now = (self.bytes, self.waiting)
            if self.state is states.State.ENDED:
                if not eof_sent:
                    await report({"event": "eof", "bytes": self.bytes})
                    eof_sent = True
                    continue
                await changed.wait()
            elif now != sent:
                sent = now
                waiting = {"waiting": self.waiting} if self.waiting else {}
                await report({"event": "progress", "bytes": self.bytes, "blocks": self.blocks, **waiting})
                with trio.move_on_after(REPORT_INTERVAL):
                    await changed.wait()
            else:
                await moved.wait()
        if self.state is states.State.COMPLETE:
            await report({"event": "complete", "bytes": self.bytes, "blocks": self.blocks})
        else:
            await report({"event": "failed", "bytes": self.bytes, "reason": self.reason})

    # --- the client's word -------------------------------------------------------------------------------

    async def say(self, outcome: Outcome, reason: str | None = None) -> None:
        """How the producer ended; returns when the container says so, durably. Idempotent.

        Raises:
            Problem: CONFLICT, the write has ended otherwise, or `complete` came before end of file.
        """
        if not states.is_final(self.state):
            if outcome == "complete" and self.state is not states.State.ENDED:
                message = "the buffer cannot be completed: end of file has not been seen yet"
                raise errors.Problem(errors.CONFLICT, message)
            self._hear(outcome, reason)
            if self._attachment is None:
                async with self._writer_lock:
                    await self._finish()
            await self._final.wait()
        if self.state.value != outcome:
            why = f": {self.reason}" if self.reason else ""
            raise errors.Problem(errors.CONFLICT, f"the buffer is already {self.state.value}{why}")

    async def abandon(self, pipe: fds.OwnedFd | None) -> None:
        """The client is gone for good: take what is in the pipe, close it, fail the buffer. Owns `pipe`.

        A word that the client had said before it went counts.
        """
        try:
            async with self._writer_lock:
                if states.is_final(self.state):
                    return
                if pipe is not None and not self._heard.is_set():
                    await self._begin(await self._recover(), pipe).take_rest()
        except (OSError, journal.DamagedError) as error:
            self._hear("failed", _unstorable(error))
        finally:
            if pipe is not None:
                await pipe.aclose()
        self._hear("failed", GONE)
        async with self._writer_lock:
            await self._finish()

    def _hear(self, outcome: Outcome, reason: str | None) -> None:
        if self._said is None:
            self._said = outcome, reason
            self._heard.set()
            if self._capturing is not None:
                self._capturing.cancel()

    async def _finish(self) -> None:
        """End the container as was said. The writer's lock is held and no thread is at work."""
        if self._said is None or states.is_final(self.state):
            return
        outcome, reason = self._said
        while True:
            try:
                target = await self._recover()
                await trio.to_thread.run_sync(target.finish, outcome, reason, limiter=self._hashing)
            except (OSError, journal.DamagedError) as error:
                if isinstance(error, OSError) and error.errno in capture.FULL:
                    await trio.sleep(capture.FULL_DISK_PAUSE)
                    continue
                outcome, reason = "failed", reason or _unstorable(error)
                await trio.to_thread.run_sync(self._mark_failed, reason, limiter=self._hashing)
            else:
                self.bytes, self.blocks = target.sealed_bytes, target.next_number
            break
        self.reason = reason
        self._capture = None
        completed = outcome == "complete"
        self._move(states.Event.SAID_COMPLETE if completed else states.Event.SAID_FAILED)
        self._container.feed.notify()
        await self._on_final(self)
        self._final.set()

    # --- parts -------------------------------------------------------------------------------------------

    async def _recover(self) -> writer.Writer:
        """The writer as the disk has it: what an interrupted capture left behind is sealed."""
        target = await trio.to_thread.run_sync(self._recover_in_thread, limiter=self._hashing)
        self._container.feed.notify()
        return target

    def _recover_in_thread(self) -> writer.Writer:
        if self._container.started():
            return writer.Writer.recover(self._container, sync=self.settings.sync)
        # The daemon died between the row and the journal.
        return writer.Writer.create(self._container, self.settings.block_size, sync=self.settings.sync)

    def _mark_failed(self, reason: str) -> None:
        """End a container that cannot even be recovered; where that fails too, the catalog's row says it."""
        with contextlib.suppress(OSError, journal.DamagedError):
            self._container.mark_failed(reason)

    def _begin(self, target: writer.Writer, pipe: fds.OwnedFd) -> capture.Capture:
        self._capture = capture.Capture(
            target,
            pipe.fileno(),
            block_size=self.settings.block_size,
            flush_interval=self.settings.flush_interval,
            hashing=self._hashing,
            on_progress=self._progress,
        )
        return self._capture

    def _progress(self) -> None:
        if self._capture is not None:
            self.bytes, self.blocks = self._capture.bytes, self._capture.blocks
        self._moved.set()
        self._moved = trio.Event()

    def _move(self, event: states.Event) -> None:
        self.state = states.following(self.state, event)
        self._announce("transfer", self.settings.id)
        self._changed.set()
        self._changed = trio.Event()
        self._moved.set()
        self._moved = trio.Event()


def _unstorable(error: OSError | journal.DamagedError) -> str:
    words = error.strerror if isinstance(error, OSError) else str(error)
    return f"the daemon could not store the stream: {words}"


class ReplacedError(Exception):
    """A later attachment of the same write took over."""

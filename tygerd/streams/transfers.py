"""The registry of transfers: which writes and reads there are, kept over restarts of the daemon.

A write has a row in the catalog from before its container is touched until it is over. A daemon that starts
suspends the writes that its predecessor left unfinished, and ships on what is in the spool; those whose
clients do not come back within the grace are failed. How a write is put together is `assembly`'s affair.
"""

from __future__ import annotations

import logging
import secrets
from collections import deque
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import trio

from tyger import errors, model, units
from tygerd import clock, events
from tygerd.catalog import db
from tygerd.catalog import transfers as rows
from tygerd.osutil import fds
from tygerd.stores import access, base
from tygerd.streams import assembly, capture, describe, reads, reporting, states, write
from tygerd.streams import span as spans

KEPT = 200
"""Ended transfers that `list` still shows."""


_log = logging.getLogger(__name__)


class Statistics(NamedTuple):
    """For `/status` and `/metrics`. Sizes in bytes."""

    writing: int
    reading: int
    suspended: int
    shipping: int
    bytes_written: int
    bytes_read: int
    bytes_spooled: int


class Transfers:
    """All transfers of this daemon. `run` must be running; it owns what outlives a request.

    `locate` gives the store of a buffer, and raises NOT_FOUND for one that may not be used.
    """

    def __init__(
        self,
        catalog: db.Catalog,
        parts: assembly.Parts,
        *,
        locate: Callable[[str], Awaitable[base.Store]],
        reattach_grace: float,
        lease_grace: float = float("inf"),
        announce: events.Announce = events.nobody,
    ) -> None:
        self._catalog = catalog
        self._assembly = assembly.Assembly(
            parts, used=self._spooled, on_final=self._on_final, announce=announce
        )
        self._locate = locate
        self._grace = reattach_grace
        self._writes: dict[str, write.Write] = {}
        self._ended: deque[model.Transfer] = deque(maxlen=KEPT)
        self._reads = reads.Reads(
            parts.remotes,
            self._assembly.hasher,
            lease_grace=lease_grace,
            on_end=lambda entry: self._ended.append(describe.of_read(entry)),
            announce=announce,
        )
        self._bytes_written = 0
        self._creating = trio.Lock()
        self._nursery: trio.Nursery  # since `run`

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take up what the last daemon left, fail what nobody comes back for, until cancelled."""
        async with trio.open_nursery() as self._nursery:
            await self._restore()
            task_status.started()
            await trio.sleep(self._grace)
            # By name: a variable of ours would keep the last of them, and its container open, for ever.
            suspended = [name for name, each in self._writes.items() if each.state is states.State.SUSPENDED]
            for name in suspended:
                self._nursery.start_soon(self._writes[name].abandon, None)
            await trio.sleep_forever()

    # --- writes ------------------------------------------------------------------------------------------

    async def create_write(self, request: model.WriteRequest, owner: int) -> write.Write:
        """Register a write and claim its buffer. The same `id` again is the same write.

        Raises:
            Problem: NOT_FOUND, CONFLICT (already written), INVALID_INPUT.
        """
        describe.check(request)
        async with self._creating:
            if request.id is not None and (known := await self._known(request.id)) is not None:
                if known.settings.buffer != self._name(request):
                    raise errors.Problem(errors.CONFLICT, "this transfer's id is in use for another buffer")
                return known
            return await self._create(request, owner)

    def _name(self, request: model.WriteRequest) -> str:
        """What the transfer's buffer is called: its ID, or the last part of its access URL's path."""
        return request.buffer or access.parse(request.url or "").name

    async def _create(self, request: model.WriteRequest, owner: int) -> write.Write:
        name = self._name(request)
        store = await self._locate(request.buffer) if request.buffer else None
        if store is not None and store.traits.embedded:
            await self._assembly.require_unwritten(name)
        elif self.writing(name):
            raise errors.Problem(errors.CONFLICT, "buffer cannot be overwritten: it is being written")
        row = rows.TransferRow(
            id=request.id or secrets.token_hex(16),
            buffer=name,
            run=request.run,
            state=states.State.RUNNING,
            reason=None,
            block_size=request.block_size,
            flush_interval=request.flush_interval,
            bytes=0,
            blocks=0,
            created_at=units.to_micros(clock.now()),
            finished_at=None,
            owner_uid=owner,
            owner=self._catalog.installation,
            epoch=1,
            account=store.traits.name if store else assembly.BY_URL,
            priority=request.priority,
        )
        await self._catalog.write(rows.insert, row)
        try:
            await self._assembly.prepare(row, request.url, renewable=request.renewable)
            entry = await self._take_up(row, states.State.RUNNING)
        except errors.Problem as problem:
            await self._close_row(row, states.State.FAILED, problem.message, problem.kind.code)
            raise
        entry.detaches = request.detach
        return entry

    async def _take_up(self, row: rows.TransferRow, state: states.State) -> write.Write:
        """A write that is not over: from now on it is in the registry, and what it holds is shipped."""
        entry = self._writes[row.id] = await self._assembly.build(row, state)
        if entry.remote:
            self._nursery.start_soon(entry.deliver)
        return entry

    async def find_write(self, transfer_id: str) -> write.Write:
        """A write, over or not.

        Raises:
            Problem: NOT_FOUND.
        """
        if (known := await self._known(transfer_id)) is None:
            raise errors.not_found()
        return known

    async def _known(self, transfer_id: str) -> write.Write | None:
        if (live := self._writes.get(transfer_id)) is not None:
            return live
        row = await self._catalog.read(rows.get, transfer_id)
        if row is None or row.finished_at is None:  # it is being made: nobody but its maker may end it
            return None
        return self._assembly.ended(row)

    def abandon_soon(self, pending: write.Write, pipe: fds.OwnedFd) -> None:
        """The client of `pending` is gone: see to the rest of its pipe, outside of its request."""
        self._nursery.start_soon(pending.abandon, pipe)

    def renew_access(self, entry: write.Write, url: str) -> None:
        """A client brings another access URL for its write.

        Raises:
            Problem: INVALID_INPUT, it is none; CONFLICT, the write was not given one.
        """
        self._assembly.renew_access(entry, url)

    def writing(self, buffer: str) -> bool:
        """Whether a write of this buffer is not over."""
        return self._writer_of(buffer) is not None

    def _writer_of(self, buffer: str) -> write.Write | None:
        for entry in self._writes.values():
            if entry.settings.buffer == buffer and not states.is_final(entry.state):
                return entry
        return None

    # --- what a user does to them -------------------------------------------------------------------------

    async def cancel(self, transfer_id: str) -> model.Transfer:
        """Fail a write that is not over.

        Raises:
            Problem: NOT_FOUND; CONFLICT, it is complete, or it is a read.
        """
        if transfer_id in self._reads.live:
            raise errors.Problem(errors.CONFLICT, "a read is cancelled by ending its client")
        pending = await self.find_write(transfer_id)
        await pending.cancel("cancelled by user")
        return describe.of_write(pending)

    async def pause(self, transfer_id: str) -> model.Transfer:
        """Send nothing more of a write until it is resumed. Survives a restart.

        Raises:
            Problem: NOT_FOUND; CONFLICT, nothing of it is shipped.
        """
        return await self._set_paused(transfer_id, paused=True)

    async def resume(self, transfer_id: str) -> model.Transfer:
        """Go on after a pause or a stall. Raises as `pause`."""
        return await self._set_paused(transfer_id, paused=False)

    async def _set_paused(self, transfer_id: str, *, paused: bool) -> model.Transfer:
        entry = None if transfer_id in self._reads.live else await self.find_write(transfer_id)
        if entry is not None and states.is_final(entry.state):
            raise errors.Problem(errors.CONFLICT, f"the transfer is over: it is {entry.state.value}")
        if entry is None or entry.delivery is None:
            message = "only a write to a store elsewhere can be paused: nothing else is sent over a network"
            raise errors.Problem(errors.CONFLICT, message)
        await self._catalog.write(rows.update, transfer_id, paused=paused)
        (entry.delivery.pause if paused else entry.delivery.resume)()
        return describe.of_write(entry)

    # --- reads -------------------------------------------------------------------------------------------

    async def new_read(
        self, buffer: str, wanted: spans.Span, owner: int
    ) -> tuple[reads.Read, Callable[[reads.Sink], Awaitable[None]]]:
        """A read of `buffer`, and what carries it out.

        Raises:
            Problem: NOT_FOUND.
        """
        store = await self._locate(buffer)
        entry = reads.Read(buffer, store.traits.location, owner)
        if base.is_embedded(store):
            source = await store.open(buffer)

            def away() -> bool:
                writer = self._writer_of(buffer)
                return writer is not None and writer.state is states.State.SUSPENDED

            return entry, lambda sink: self._reads.local(entry, source, wanted, sink, away)

        def bell() -> trio.Event | None:
            writer = self._writer_of(buffer)
            return writer.accepted if writer is not None and writer.waiting is None else None

        async def opening() -> access.Access:
            return await store.access(buffer, writeable=False)

        return entry, lambda sink: self._reads.remote(entry, opening, wanted, sink, bell)

    def new_read_by_url(
        self, url: str, wanted: spans.Span, owner: int
    ) -> tuple[reads.Read, Callable[[reads.Sink], Awaitable[None]]]:
        """A read behind an access URL, which is not renewed.

        Raises:
            Problem: INVALID_INPUT.
        """
        parsed = access.parse(url)
        self._assembly.require_reachable(parsed)
        entry = reads.Read(parsed.name, assembly.BY_URL, owner)

        async def opening() -> access.Access:
            return access.Access(parsed)

        return entry, lambda sink: self._reads.remote(entry, opening, wanted, sink)

    # --- what there is -----------------------------------------------------------------------------------

    def every(self) -> list[model.Transfer]:
        """Transfers in progress and those that ended lately, newest first."""
        live = [describe.of_write(entry) for entry in self._live()]
        live += [describe.of_read(entry) for entry in self._reads.live.values()]
        return sorted([*live, *self._ended], key=lambda entry: entry.started_at or "", reverse=True)

    def waiting(self) -> list[str]:
        """Why each one that waits does, a line each."""
        return [f"{it.id} {it.buffer}: {it.waiting}" for it in self.every() if it.waiting is not None]

    async def show(self, transfer_id: str) -> model.Transfer:
        """One transfer.

        Raises:
            Problem: NOT_FOUND.
        """
        for entry in self.every():
            if entry.id == transfer_id:
                return entry
        return describe.of_write(await self.find_write(transfer_id))

    async def watch(self, transfer_id: str, send: Callable[[model.Transfer], Awaitable[None]]) -> None:
        """Send a transfer now and whenever it has changed, five times a second at most, until it is over.

        Raises NOT_FOUND before anything is sent.
        """
        last: model.Transfer | None = None
        while True:
            live = self._reads.live.get(transfer_id), self._writes.get(transfer_id)
            moved = next((entry.moved for entry in live if entry is not None), None)
            del live  # whoever is slow to take what is sent would keep its container open
            now = await self.show(transfer_id)
            if now != last:
                await send(now)
                last = now
            if now.finished_at is not None or moved is None:
                return
            await moved.wait()
            await trio.sleep(reporting.INTERVAL)

    def statistics(self) -> Statistics:
        """Counts since the daemon's start."""
        live = self._live()
        reading = self._reads.live.values()
        return Statistics(
            writing=len(live),
            reading=len(reading),
            suspended=sum(entry.state is states.State.SUSPENDED for entry in live),
            shipping=sum(entry.remote for entry in live),
            bytes_written=self._bytes_written + sum(entry.bytes for entry in live),
            bytes_read=self._reads.bytes + sum(entry.bytes for entry in reading),
            bytes_spooled=self._spooled(),
        )

    def _live(self) -> list[write.Write]:
        return [entry for entry in self._writes.values() if not states.is_final(entry.state)]

    def _spooled(self) -> int:
        """Bytes that are in the spool."""
        return sum(entry.bytes - entry.shipped for entry in self._writes.values() if entry.remote)

    # --- rows --------------------------------------------------------------------------------------------

    async def _restore(self) -> None:
        unfinished = await self._catalog.read(rows.unfinished)
        await self._assembly.start({row.id for row in unfinished})
        for row in unfinished:
            try:
                state, reason = await self._assembly.state_of(row)
                if states.is_final(state):
                    await self._close_row(row, state, reason)
                    continue
                entry = await self._take_up(row, state)
            except errors.Problem as problem:
                await self._close_row(row, states.State.FAILED, problem.message, problem.kind.code)
                continue
            entry.reason = reason
        await self._assembly.settle(self._catalog, {row.buffer for row in unfinished})

    async def _close_row(
        self, row: rows.TransferRow, state: states.State, reason: str | None, code: str | None = None
    ) -> None:
        now = units.to_micros(clock.now())
        await self._catalog.write(rows.update, row.id, state=state, reason=reason, code=code, finished_at=now)

    def _on_final(self, entry: write.Write) -> None:
        entry.finished_at = units.to_micros(clock.now())
        self._bytes_written += entry.bytes
        self._ended.append(describe.of_write(entry))
        # Not by the request that it ended in: that may be gone before the row is written.
        self._nursery.start_soon(self._put_away, entry)

    async def _put_away(self, entry: write.Write) -> None:
        """Write down how it ended. A daemon that dies before finds the same in its container."""
        name, said = entry.settings.id, False
        while True:
            try:
                await self._catalog.write(
                    rows.update,
                    name,
                    state=entry.state,
                    reason=entry.reason,
                    code=entry.code,
                    bytes=entry.bytes,
                    blocks=entry.blocks,
                    shipped=entry.shipped,
                    finished_at=entry.finished_at,
                )
                break
            except errors.Problem as problem:
                if not said:
                    _log.warning("how transfer %s ended cannot be written down yet: %s", name, problem)
                said = True
            await trio.sleep(capture.FULL_DISK_PAUSE)
        # From here on its row is the truth; holding on to it would hold its container's journal open.
        try:
            await self._assembly.put_away(entry)
        except errors.Problem as problem:
            _log.warning("transfer %s stays in the spool until the next start: %s", name, problem)
        self._writes.pop(name, None)

"""The registry of transfers: which writes and reads there are, kept over restarts of the daemon.

A write has a row in the catalog from before its container is touched until it is over. A daemon that starts
suspends the writes that its predecessor left unfinished; those whose clients do not come back within the
grace are failed. Reads are kept in memory only: a client that lost its read asks again from its byte.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple

import trio

from tyger import errors, model, units
from tygerd import clock, events
from tygerd.blocks import writer
from tygerd.catalog import db
from tygerd.catalog import transfers as rows
from tygerd.osutil import fds
from tygerd.stores import base, local
from tygerd.streams import capture, fetch, states, write

KEPT = 200
"""Ended transfers that `list` still shows."""

HASHING_THREADS = 2
"""Worker threads that take MD5s, for all transfers together: hashing is what a core can be busy with."""


class Statistics(NamedTuple):
    """For `/status` and `/metrics`."""

    writing: int
    reading: int
    suspended: int
    bytes_written: int
    bytes_read: int


@dataclass(slots=True, eq=False)
class Read:
    """One read in progress or lately ended."""

    id: str
    buffer: str
    owner: int
    started_at: int
    bytes: int = 0
    waiting: bool = False
    whole: bool = False
    """Set when everything that was asked for has been delivered."""
    finished_at: int | None = None
    reason: str | None = None


class Transfers:
    """All transfers of this daemon. `run` must be running; it owns what outlives a request.

    `require_buffer` raises NOT_FOUND for a buffer that may not be used.
    """

    def __init__(
        self,
        catalog: db.Catalog,
        store: base.EmbeddedStore,
        *,
        require_buffer: Callable[[str], Awaitable[object]],
        sync: bool,
        reattach_grace: float,
        announce: events.Announce = events.nobody,
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._require_buffer = require_buffer
        self._sync = sync
        self._grace = reattach_grace
        self._announce = announce
        self._hashing = trio.CapacityLimiter(HASHING_THREADS)
        self._writes: dict[str, write.Write] = {}
        self._reads: dict[str, Read] = {}
        self._ended: deque[model.Transfer] = deque(maxlen=KEPT)
        self._bytes_written = 0
        self._bytes_read = 0
        self._creating = trio.Lock()
        self._nursery: trio.Nursery  # since `run`

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Suspend what the last daemon left, fail what nobody comes back for, until cancelled."""
        async with trio.open_nursery() as self._nursery:
            await self._restore()
            task_status.started()
            await trio.sleep(self._grace)
            for pending in list(self._writes.values()):
                if pending.state is states.State.SUSPENDED:
                    self._nursery.start_soon(pending.abandon, None)
            await trio.sleep_forever()

    # --- writes ------------------------------------------------------------------------------------------

    async def create_write(self, request: model.WriteRequest, owner: int) -> write.Write:
        """Register a write and claim its buffer. The same `id` again is the same write.

        Raises:
            Problem: NOT_FOUND, CONFLICT (already written), INVALID_INPUT.
        """
        _validate(request)
        async with self._creating:
            if request.id is not None and (known := await self._known(request.id)) is not None:
                if known.settings.buffer != request.buffer:
                    raise errors.Problem(errors.CONFLICT, "this transfer's id is in use for another buffer")
                return known
            return await self._create(request, owner)

    async def _create(self, request: model.WriteRequest, owner: int) -> write.Write:
        await self._require_buffer(request.buffer)
        target = await self._store.open(request.buffer)
        if await trio.to_thread.run_sync(target.started):
            raise errors.Problem(errors.CONFLICT, "buffer cannot be overwritten: it was already written")
        now = units.to_micros(clock.now())
        row = rows.TransferRow(
            id=request.id or secrets.token_hex(16),
            buffer=request.buffer,
            run=request.run,
            state=states.State.RUNNING,
            reason=None,
            block_size=request.block_size,
            flush_interval=request.flush_interval,
            bytes=0,
            blocks=0,
            created_at=now,
            finished_at=None,
            owner_uid=owner,
            owner=self._catalog.installation,
            epoch=1,
        )
        await self._catalog.write(rows.insert, row)
        try:
            with local.disk_problems():
                await trio.to_thread.run_sync(
                    lambda: writer.Writer.create(target, request.block_size, sync=self._sync)
                )
        except errors.Problem as problem:
            await self._catalog.write(
                rows.update, row.id, state=states.State.FAILED, reason=problem.message, finished_at=now
            )
            raise
        self._writes[row.id] = await self._from_row(row)
        return self._writes[row.id]

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
        return await self._from_row(row) if row is not None else None

    def abandon_soon(self, pending: write.Write, pipe: fds.OwnedFd) -> None:
        """The client of `pending` is gone: see to the rest of its pipe, outside of its request."""
        self._nursery.start_soon(pending.abandon, pipe)

    async def cancel(self, transfer_id: str) -> model.Transfer:
        """Fail a write that is not over.

        Raises:
            Problem: NOT_FOUND; CONFLICT, it is complete, or it is a read.
        """
        if transfer_id in self._reads:
            raise errors.Problem(errors.CONFLICT, "a read is cancelled by ending its client")
        pending = await self.find_write(transfer_id)
        await pending.say("failed", "cancelled by user")
        return describe_write(pending)

    def writing(self, buffer: str) -> bool:
        """Whether a write of this buffer is not over."""
        return any(
            entry.settings.buffer == buffer and not states.is_final(entry.state)
            for entry in self._writes.values()
        )

    # --- reads -------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def reading(
        self, buffer: str, offset: int, length: int | None, owner: int
    ) -> AsyncIterator[tuple[Read, fetch.Fetch]]:
        """A fetch of `buffer`, registered while the block lasts.

        Raises:
            Problem: NOT_FOUND (no container), and what `fetch.Fetch.next` raises.
        """
        source = await self._store.open(buffer)
        entry = Read(secrets.token_hex(16), buffer, owner, units.to_micros(clock.now()))
        self._reads[entry.id] = entry
        self._announce("transfer", entry.id)

        def on_waiting(waiting: bool) -> None:
            entry.waiting = waiting

        try:
            async with fetch.reading(
                source, hashing=self._hashing, offset=offset, length=length, on_waiting=on_waiting
            ) as ahead:
                yield entry, ahead
        except errors.Problem as problem:
            entry.reason = problem.message
            raise
        finally:
            if not entry.whole and entry.reason is None:
                entry.reason = "its client went away"
            del self._reads[entry.id]
            entry.finished_at = units.to_micros(clock.now())
            self._bytes_read += entry.bytes
            self._ended.append(describe_read(entry))
            self._announce("transfer", entry.id)

    # --- what there is -----------------------------------------------------------------------------------

    def list(self) -> list[model.Transfer]:
        """Transfers in progress and those that ended lately, newest first."""
        live = [describe_write(entry) for entry in self._writes.values() if not states.is_final(entry.state)]
        live += [describe_read(entry) for entry in self._reads.values()]
        return sorted([*live, *self._ended], key=lambda entry: entry.started_at or "", reverse=True)

    async def show(self, transfer_id: str) -> model.Transfer:
        """One transfer.

        Raises:
            Problem: NOT_FOUND.
        """
        for entry in self.list():
            if entry.id == transfer_id:
                return entry
        return describe_write(await self.find_write(transfer_id))

    def statistics(self) -> Statistics:
        """Counts since the daemon's start."""
        live = [entry for entry in self._writes.values() if not states.is_final(entry.state)]
        return Statistics(
            writing=len(live),
            reading=len(self._reads),
            suspended=sum(entry.state is states.State.SUSPENDED for entry in live),
            bytes_written=self._bytes_written + sum(entry.bytes for entry in live),
            bytes_read=self._bytes_read + sum(entry.bytes for entry in self._reads.values()),
        )

    # --- rows --------------------------------------------------------------------------------------------

    async def _restore(self) -> None:
        for row in await self._catalog.read(rows.unfinished):
            try:
                target = await self._store.open(row.buffer)
                end = await trio.to_thread.run_sync(target.end)
            except errors.Problem as problem:
                await self._close_row(row, "failed", problem.message)
                continue
            if end is not None:
                await self._close_row(row, end, target.failure())
                continue
            self._writes[row.id] = await self._from_row(row, states.State.SUSPENDED)

    async def _from_row(self, row: rows.TransferRow, state: states.State | None = None) -> write.Write:
        settings = write.Settings(
            id=row.id,
            buffer=row.buffer,
            block_size=row.block_size,
            flush_interval=row.flush_interval,
            owner=row.owner_uid,
            run=row.run,
            sync=self._sync,
            started_at=row.created_at,
        )
        entry = write.Write(
            settings,
            await self._store.open(row.buffer),
            hashing=self._hashing,
            on_final=self._on_final,
            announce=self._announce,
            state=state or states.State(row.state),
        )
        entry.reason, entry.finished_at = row.reason, row.finished_at
        entry.bytes, entry.blocks = row.bytes, row.blocks
        return entry

    async def _close_row(self, row: rows.TransferRow, state: str, reason: str | None) -> None:
        now = units.to_micros(clock.now())
        await self._catalog.write(rows.update, row.id, state=state, reason=reason, finished_at=now)

    async def _on_final(self, entry: write.Write) -> None:
        entry.finished_at = units.to_micros(clock.now())
        self._bytes_written += entry.bytes
        self._ended.append(describe_write(entry))
        while True:
            try:
                await self._catalog.write(
                    rows.update,
                    entry.settings.id,
                    state=entry.state,
                    reason=entry.reason,
                    bytes=entry.bytes,
                    blocks=entry.blocks,
                    finished_at=entry.finished_at,
                )
            except errors.Problem as problem:
                if problem.kind is not errors.STORAGE_FULL:
                    raise
                await trio.sleep(capture.FULL_DISK_PAUSE)
            else:
                break
        # From here on its row is the truth; holding on to it would hold its container's journal open.
        self._writes.pop(entry.settings.id, None)


def _validate(request: model.WriteRequest) -> None:
    if not 1 <= request.block_size <= 1 << 30:
        raise errors.Problem(errors.INVALID_INPUT, "blockSize must be between 1 byte and 1 GiB")
    if not 0 <= request.flush_interval < float("inf"):
        raise errors.Problem(errors.INVALID_INPUT, "flushInterval must not be negative")
    if request.run is not None and not 0 <= request.run < 1 << 63:
        raise errors.Problem(errors.INVALID_INPUT, "run must be the ID of a run")
    if request.id is not None and not (len(request.id) == 32 and set(request.id) <= set("0123456789abcdef")):
        raise errors.Problem(errors.INVALID_INPUT, "id must be 32 hexadecimal digits")


def _text(micros: int | None) -> str | None:
    return None if micros is None else units.format_timestamp(units.from_micros(micros))


def describe_write(entry: write.Write) -> model.Transfer:
    """A write as the API shows it."""
    return model.Transfer(
        id=entry.settings.id,
        kind="write",
        buffer=entry.settings.buffer,
        state=entry.state.value,
        reason=entry.reason,
        waiting=entry.waiting,
        bytes=entry.bytes,
        blocks=entry.blocks,
        started_at=_text(entry.settings.started_at),
        finished_at=_text(entry.finished_at),
        owner=entry.settings.owner,
        run=entry.settings.run,
    )


def describe_read(entry: Read) -> model.Transfer:
    """A read as the API shows it."""
    state: model.TransferState = "running"
    if entry.finished_at is not None:
        state = "failed" if entry.reason else "complete"
    return model.Transfer(
        id=entry.id,
        kind="read",
        buffer=entry.buffer,
        state=state,
        reason=entry.reason,
        waiting="its writer" if entry.waiting else None,
        bytes=entry.bytes,
        started_at=_text(entry.started_at),
        finished_at=_text(entry.finished_at),
        owner=entry.owner,
    )

"""Export: every buffer of an account that has the wanted tags, to containers of another account.

A container there is finished when its metadata says so (`marks`); what is finished is skipped, so an export
that was cut short is simply made again. One buffer that cannot be copied does not hold up the others; the run
fails at the end.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

import trio

from tyger import errors
from tygerd.catalog import accounts, buffers, db
from tygerd.copying import buffer, journal, marks, orders
from tygerd.stores import base, patience, places, retrying
from tygerd.streams import remote

AT_ONCE = 8
"""Buffers under way at a time: the small ones wait for round trips, the large ones share the link."""

PAGE = 1000
"""Rows that are read from the catalog together."""


@dataclass
class Tally:
    """How many buffers there were of each kind."""

    exported: int = 0
    skipped: int = 0
    unfinished: int = 0
    missing: int = 0
    failed: int = 0


class Exporter:
    """Makes one export; `policy` is the patience with a storage account that is away."""

    def __init__(
        self,
        catalog: db.Catalog,
        stores: places.Places,
        remotes: remote.Remotes,
        log: journal.Journal,
        policy: retrying.Policy,
        *,
        page: int = PAGE,
    ) -> None:
        self._catalog = catalog
        self._stores = stores
        self._remotes = remotes
        self._log = log
        self._policy = policy
        self._page = page
        self._tally = Tally()
        self._huge = trio.Lock()

    async def run(self, order: orders.Export) -> None:
        """Export everything; cancelled, it can be run again.

        Raises:
            Problem: it could not go on, or not every buffer was exported.
        """
        source, target = self._stores.named(order.source), self._stores.named(order.destination)
        if not base.is_remote(target):
            raise errors.Problem(errors.INVALID_INPUT, f"'{order.destination}' is not a storage account")
        self._log.write("info", "Starting export", source=order.source, destination=order.destination)
        send, receive = trio.open_memory_channel[buffers.BufferRow](0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._list, order, send)
            for _ in range(AT_ONCE):
                nursery.start_soon(self._work, order, source, target, receive)
        tally = self._tally
        self._log.write("info", "Export complete", **vars(tally))
        if tally.failed:
            message = f"{tally.failed} of {sum(vars(tally).values())} buffers could not be exported"
            raise errors.Problem(errors.IO_ERROR, f"{message}; the run's log says why")

    async def _list(self, order: orders.Export, send: trio.MemorySendChannel[buffers.BufferRow]) -> None:
        """Send all that are to be exported, oldest first."""
        after: tuple[int, str] | None = None
        async with send:
            while True:
                page = await self._catalog.read(
                    accounts.oldest, order.source, tags=order.filters, limit=self._page, after=after
                )
                for row in page:
                    await send.send(row)
                if len(page) < self._page:
                    return
                after = (page[-1].created_at, page[-1].id)

    async def _work(
        self,
        order: orders.Export,
        source: base.Store,
        target: base.RemoteStore,
        receive: trio.MemoryReceiveChannel[buffers.BufferRow],
    ) -> None:
        async for row in receive:
            name = hashed(row.id) if order.hash_ids else row.id
            try:
                await self._export(row, name, source, target)
            except buffer.UnfinishedError as problem:
                self._tally.unfinished += 1
                self._log.write("warn", "Buffer skipped", buffer=row.id, reason=problem.message)
            except errors.Problem as problem:
                if problem.kind is errors.NOT_FOUND:
                    self._tally.missing += 1
                    self._log.write("warn", "Buffer is not there any more", buffer=row.id)
                    continue
                self._tally.failed += 1
                self._log.write("error", "Failed to export buffer", buffer=row.id, error=problem.message)

    async def _export(
        self, row: buffers.BufferRow, name: str, source: base.Store, target: base.RemoteStore
    ) -> None:
        labels = marks.labels(row.tags)
        found = await patience.persist(lambda: target.labels(name), self._policy)
        if found is not None and marks.is_exported(found):
            self._tally.skipped += 1
            return

        async def prepare() -> None:
            if found is None:
                await patience.persist(lambda: target.create(name), self._policy)

        async with (
            self._remotes.way(
                lambda: source.access(row.id, writeable=False), "down", priority="bulk"
            ) as down,
            self._remotes.way(lambda: target.access(name, writeable=True), "up", priority="bulk") as up,
        ):
            copying = buffer.Copy(down.remote, up.remote, lambda: up.flow.width, self._huge, prepare)
            copied = await copying.run()
        await patience.persist(lambda: target.set_labels(name, labels), self._policy)
        self._tally.exported += 1
        self._log.write("info", "Exported buffer", buffer=row.id, status=copied.status, bytes=copied.bytes)


def hashed(buffer_id: str) -> str:
    """The id under which a buffer is exported with hashed ids (rest-api.md 4.11)."""
    digest = hashlib.sha256(buffer_id.encode()).digest()
    return base64.b32encode(digest).decode().rstrip("=").lower()

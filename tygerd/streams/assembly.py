"""How a write is put together: its container, here or in the spool, and what ships it.

Rows come in, `write.Write` objects go out. What all writes share stands in `Parts`, which `tygerd.app` makes.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from typing import NamedTuple

import trio

from tyger import errors
from tygerd import events
from tygerd.blocks import container, writer
from tygerd.catalog import db
from tygerd.catalog import transfers as rows
from tygerd.stores import access, base, local, places
from tygerd.streams import clienturl, delivery, order, reboot, remote, spool, states, write

BY_URL = "access-url"
"""Account and location of a write whose client gave an access URL. No account can be called so."""


class Parts(NamedTuple):
    """What writes are made of. `own_sockets_only`: no access URL may lead to another Unix socket."""

    places: places.Places
    remotes: remote.Remotes
    state: str
    sync: bool
    spool_limit: int
    spool_floor: int
    own_sockets_only: bool = False


class Assembly:
    """Makes writes and takes them apart. `used` tells the bytes that are in the spool."""

    def __init__(
        self,
        parts: Parts,
        *,
        used: Callable[[], int],
        on_final: Callable[[write.Write], None],
        announce: events.Announce,
    ) -> None:
        self.hasher = parts.remotes.hasher
        self._parts = parts
        self._spool = spool.Spool(
            parts.state, limit=parts.spool_limit, floor=parts.spool_floor, used=used, sync=parts.sync
        )
        self._on_final = on_final
        self._announce = announce
        self._urls: dict[str, clienturl.ClientUrl] = {}

    async def start(self, unfinished: set[str]) -> None:
        """Make the spool and remove what no unfinished transfer has in it.

        Raises:
            Problem: STORAGE_FULL or IO_ERROR.
        """
        await self._spool.start()
        await self._spool.sweep(unfinished)

    async def settle(self, catalog: db.Catalog, unfinished: set[str]) -> None:
        """After a restart of the machine: fail what lost its end, but for the `unfinished` buffers.

        Raises:
            Problem: the catalog, or the disk, cannot be used.
        """
        with local.disk_problems():
            await reboot.settle(catalog, self._parts.state, unfinished=unfinished, sync=self._parts.sync)

    # --- new ones ----------------------------------------------------------------------------------------

    async def require_unwritten(self, buffer: str) -> None:
        """Refuse a buffer of the embedded store that somebody wrote, or writes. Raises Problem: CONFLICT."""
        target = await self._parts.places.embedded.open(buffer)
        if await trio.to_thread.run_sync(target.started):
            raise errors.Problem(errors.CONFLICT, "buffer cannot be overwritten: it was already written")

    async def prepare(self, row: rows.TransferRow, url: str | None, *, renewable: bool) -> None:
        """Begin the container of a new write.

        Raises:
            Problem: CONFLICT, STORAGE_FULL, IO_ERROR; INVALID_INPUT, the URL may not be used.
        """
        if url is not None:
            self.require_reachable(access.parse(url))
        if self._is_local(row):
            target = await self._parts.places.embedded.open(row.buffer)
        else:
            target = await self._spool.create(row.id)

        def begin() -> None:
            if url is not None:
                clienturl.remember(target.path, url, renewable=renewable)
            writer.Writer.create(target, row.block_size, sync=self._parts.sync)

        try:
            with local.disk_problems():
                await trio.to_thread.run_sync(begin)
        except errors.Problem:
            if not self._is_local(row):  # where it holds the client's access URL
                with contextlib.suppress(errors.Problem):
                    await self._spool.delete(row.id)
            raise

    def require_reachable(self, url: access.Url) -> None:
        """Refuse a URL that would make the system's daemon open a socket that its client could not.

        Raises:
            Problem: FORBIDDEN.
        """
        if url.socket is not None and self._parts.own_sockets_only:
            message = (
                "the system's daemon does not connect to other Unix sockets on behalf of its clients; use the"
                " daemon that serves this access URL, with --socket"
            )
            raise errors.Problem(errors.FORBIDDEN, message)

    # --- known ones --------------------------------------------------------------------------------------

    async def state_of(self, row: rows.TransferRow) -> tuple[states.State, str | None]:
        """What a write is that an earlier daemon left unfinished, as the disk has it, and why it failed.

        Raises:
            Problem: its container is gone.
        """
        target = await self._container(row)
        local_one = self._is_local(row)
        lost = await trio.to_thread.run_sync(self._check, target, not local_one, limiter=self.hasher.limiter)
        if lost is not None:
            return states.State.FAILED if local_one else states.State.FAILING, lost
        end = await trio.to_thread.run_sync(target.end)
        if end is None:
            return states.State.SUSPENDED, None
        if local_one:
            return states.State(end), target.failure()
        return (states.State.SPOOLED if end == "complete" else states.State.FAILING), target.failure()

    def _check(self, target: container.Container, spooled: bool) -> str | None:
        """Why a stream cannot go on after a restart of the machine; then it has failed."""
        lost = writer.ORPHANED if writer.orphaned(target) else None
        if lost is None and spooled:
            lost = spool.check_after_boot(target, sync=self._parts.sync)
        if lost is not None:
            target.fail(lost)
        return lost

    async def build(self, row: rows.TransferRow, state: states.State) -> write.Write:
        """A write that is not over. Raises Problem: its container is gone, or damaged."""
        target = await self._container(row)
        entry = self._entry(row, target, state)
        # What the row says is of the write's beginning, and the spool is measured by this.
        entry.bytes, entry.blocks = await trio.to_thread.run_sync(
            _extent, target, limiter=self.hasher.limiter
        )
        if not self._is_local(row):
            entry.ship_with(await self._shipping(row, entry))
        return entry

    def ended(self, row: rows.TransferRow) -> write.Write:
        """A write that is over, from its row alone."""
        return self._entry(row, container.Container(os.devnull), states.State(row.state))

    def _entry(self, row: rows.TransferRow, target: container.Container, state: states.State) -> write.Write:
        settings = order.Settings(
            id=row.id,
            buffer=row.buffer,
            block_size=row.block_size,
            flush_interval=row.flush_interval,
            owner=row.owner_uid,
            run=row.run,
            sync=self._parts.sync,
            started_at=row.created_at,
            account=row.account,
            location=self._location(row),
            priority="bulk" if row.priority == "bulk" else "live",
        )
        entry = write.Write(
            settings,
            target,
            hasher=self.hasher,
            on_final=self._on_final,
            announce=self._announce,
            state=state,
        )
        entry.reason, entry.code, entry.finished_at = row.reason, row.code, row.finished_at
        entry.bytes, entry.blocks = row.bytes, row.blocks
        return entry

    async def _shipping(self, row: rows.TransferRow, entry: write.Write) -> order.Shipping:
        source = await self._container(row)
        opening, lease, renewable = await self._way(row, entry)

        def on_accepted() -> None:
            self._spool.freed()
            entry.on_accepted()

        shipped = delivery.Delivery(
            source,
            self._parts.remotes,
            opening,
            priority=entry.settings.priority,
            lease=lease,
            renewable=renewable,
            fresh=entry.state is states.State.RUNNING,
            is_heard=entry.is_heard,
            paused=row.paused,
            on_change=entry.stir,
            on_accepted=on_accepted,
        )
        return order.Shipping(shipped, self._spool.admit)

    async def _way(
        self, row: rows.TransferRow, entry: write.Write
    ) -> tuple[remote.Opening, base.Lease | None, bool]:
        """How the store of a write is reached, and the lease that its writer takes there."""
        if row.account == BY_URL:
            target = await self._container(row)
            url = await trio.to_thread.run_sync(clienturl.ClientUrl.recall, target.path, entry.ask_for_url)
            self._urls[row.id] = url

            async def opening() -> access.Access:
                return url.access()

            return opening, None, url.renewable

        async def opening_by_name() -> access.Access:
            return await self._parts.places.named(row.account).access(row.buffer, writeable=True)

        try:
            store = self._parts.places.named(row.account)
        except errors.Problem:  # said again by each attempt, until the configuration has it again
            return opening_by_name, None, True
        return opening_by_name, store.lease(row.buffer, row.id) if base.is_remote(store) else None, True

    def renew_access(self, entry: write.Write, url: str) -> None:
        """A client brings another access URL for its write. Raises as `transfers.Transfers.renew_access`."""
        known = self._urls.get(entry.settings.id)
        if known is None:
            message = "the transfer was not begun with an access URL, or is over"
            raise errors.Problem(errors.CONFLICT, message)
        known.replace(url)
        entry.needs_url = False
        if entry.delivery is not None:
            entry.delivery.try_again()
        entry.stir()

    async def put_away(self, entry: write.Write) -> None:
        """A write is over, and its row says so: what it had in the spool goes."""
        self._urls.pop(entry.settings.id, None)
        if entry.remote:
            await self._spool.delete(entry.settings.id)

    # --- parts -------------------------------------------------------------------------------------------

    def _is_local(self, row: rows.TransferRow) -> bool:
        return row.account == self._parts.places.embedded.traits.name

    def _location(self, row: rows.TransferRow) -> str:
        if row.account == BY_URL:
            return BY_URL
        try:
            return self._parts.places.named(row.account).traits.location
        except errors.Problem:
            return row.account

    async def _container(self, row: rows.TransferRow) -> container.Container:
        if self._is_local(row):
            return await self._parts.places.embedded.open(row.buffer)
        try:
            return await self._spool.open(row.id)
        except errors.Problem as problem:
            if problem.kind is not errors.NOT_FOUND:
                raise
            message = f"the transfer's part of the spool is gone: {os.strerror(errno.ENOENT)}"
            raise errors.Problem(errors.IO_ERROR, message) from None


def _extent(target: container.Container) -> tuple[int, int]:
    """How many bytes and blocks a captured stream has so far; the empty last block counts. Blocking."""
    blocks, size = target.find(1 << 63)
    return size, blocks + (target.block(blocks) is not None)

"""The buffers service: everything the API and the runs ask about buffers.

A change is one transaction with its checks inside (`If-Match` too). A row is written before its container is
made, and shows once both are there; when a buffer is removed it ceases to show before its container goes.
What a crash leaves half-made or half-gone, the reaper removes. A container of the embedded store is made
inside the transaction that writes its row, because that takes a third of the time. Which store a buffer is
in says its row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import sqlalchemy as sa

from tyger import errors, model, units
from tygerd import clock, config, events
from tygerd.buffers import access, expiry, ids, states, tags
from tygerd.catalog import buffers as queries
from tygerd.catalog import db, etags, pages
from tygerd.stores import base, places

Filter = queries.Filter


class Page(NamedTuple):
    """A page of a list. `last` is where the next one continues, None on the last page."""

    items: list[model.Buffer]
    last: tuple[int, str] | None


class Buffers:
    """All buffers of this daemon. Methods raise `Problem` in the contract's words (rest-api.md 4).

    `relayed` makes the access URL of an ephemeral buffer, writeable or not; it raises NOT_FOUND.
    """

    def __init__(
        self,
        catalog: db.Catalog,
        stores: places.Places,
        settings: config.Buffers,
        announce: events.Announce = events.nobody,
        relayed: Callable[[str, timedelta, bool], str] | None = None,
    ) -> None:
        self._catalog = catalog
        self._stores = stores
        self._relayed = relayed
        self._announce = announce
        self._lifetimes = states.Lifetimes(
            active=timedelta(seconds=settings.active_lifetime),
            soft_deleted=timedelta(seconds=settings.soft_deleted_lifetime),
        )
        self._reaper = expiry.Reaper(catalog, stores, self._lifetimes)

    async def start(self) -> None:
        """Before the first request: note what a crash left half-made or half-gone, for `run` to remove."""
        self._reaper.discard(await self._catalog.read(queries.unready))

    async def run(self) -> None:
        """Expire and remove buffers, until cancelled."""
        await self._reaper.run()

    # --- creating ----------------------------------------------------------------------------------------

    async def create(self, wanted: model.Buffer, owner_uid: int) -> model.Buffer:
        """One buffer as a client asked for it: `location`, `tags` and `expiresAt` count."""
        expires_at = _moment(wanted.expires_at)
        (made,) = await self.create_many([wanted.tags or {}], owner_uid, expires_at, wanted.location)
        return made

    async def create_many(
        self,
        wanted: Sequence[Mapping[str, str]],
        owner_uid: int,
        expires_at: datetime | None = None,
        location: str | None = None,
    ) -> list[model.Buffer]:
        """A buffer for each set of tags; all of them or none, also when cancelled."""
        for one in wanted:
            tags.check(one)
        stores = [self._stores.choose(location) for _ in wanted]
        now = units.to_micros(clock.now())
        rows = [
            queries.BufferRow(
                id=ids.new(),
                location=store.traits.location,
                created_at=now,
                is_soft_deleted=False,
                expires_at=None if expires_at is None else units.to_micros(expires_at),
                owner_uid=owner_uid,
                owner=self._catalog.installation,
                epoch=1,
                tags=dict(sorted(one.items())),
                account=store.traits.name,
            )
            for one, store in zip(wanted, stores, strict=True)
        ]
        new_ids = [row.id for row in rows]
        embedded = [store for store in stores if base.is_embedded(store)]
        try:
            if len(embedded) == len(stores):
                await self._catalog.write(_make_all, rows, embedded)
            else:
                await self._catalog.write(_insert_all, rows)
                for row, store in zip(rows, stores, strict=True):
                    await store.create(row.id)
                await self._catalog.write(queries.set_ready, new_ids)
        except BaseException:
            self._reaper.discard(queries.Kept(row.id, row.account) for row in rows)
            raise
        if expires_at is not None:
            self._reaper.wake()
        for buffer_id in new_ids:
            self._announce("buffer", buffer_id)
        return [_shown(row) for row in rows]

    # --- looking -----------------------------------------------------------------------------------------

    async def get(self, buffer_id: str, *, soft_deleted: bool = False) -> model.Buffer:
        """The buffer, if it is in that state; its expiry does not matter."""
        row = await self._catalog.read(queries.get, buffer_id)
        if row is None or row.is_soft_deleted != soft_deleted:
            raise errors.not_found()
        return _shown(row)

    async def page(
        self, *, limit: int, soft_deleted: bool, chosen: Filter, after: tuple[int, str] | None
    ) -> Page:
        """Newest first, expired ones included; each item has `tags`, if only `{}`. Shorter with huge tags."""

        async def read(count: int, place: tuple[int, str] | None) -> list[queries.BufferRow]:
            return await self._catalog.read(
                queries.page, limit=count, soft_deleted=soft_deleted, chosen=chosen, after=place
            )

        rows, more = await pages.collect(read, limit=limit, after=after, place=_place, size=_size)
        last = _place(rows[-1]) if more and rows else None
        return Page([_shown(row, always_tags=True) for row in rows], last)

    async def count(self, *, soft_deleted: bool | None, chosen: Filter) -> int:
        """How many there are that have not expired."""
        now = units.to_micros(clock.now())
        return await self._catalog.read(queries.count, soft_deleted=soft_deleted, chosen=chosen, now=now)

    async def require_active(self, buffer_ids: Sequence[str]) -> None:
        """Refuse the first that is missing, soft-deleted or expired: INVALID_INPUT."""
        now = units.to_micros(clock.now())
        usable = await self._catalog.read(queries.usable, buffer_ids, now)
        for buffer_id in buffer_ids:
            if buffer_id not in usable:
                raise errors.Problem(errors.INVALID_INPUT, f"The buffer '{buffer_id}' was not found")

    # --- changing ----------------------------------------------------------------------------------------

    async def update(
        self,
        buffer_id: str,
        change: model.BufferUpdate,
        *,
        soft_deleted: bool = False,
        if_match: str | None = None,
    ) -> model.Buffer:
        """Replace the tags; set the expiry if one is given. Tags are not validated (contract 2.1)."""
        if change.id is not None and change.id != buffer_id:
            raise errors.Problem(
                errors.BAD_REQUEST,
                "The buffer ID in the URL does not match the buffer ID in the request body.",
            )
        moment = _moment(change.expires_at)

        def apply(connection: sa.Connection) -> model.Buffer:
            row = queries.get(connection, buffer_id)
            if row is None or row.is_soft_deleted != soft_deleted:
                raise errors.not_found()
            if if_match not in {None, "", "*", _etag(row)}:
                raise errors.Problem(errors.PRECONDITION_FAILED, "ETag does not match")
            queries.set_tags(connection, buffer_id, change.tags or {})
            if moment is not None:
                queries.set_expiry(connection, buffer_id, units.to_micros(moment))
            return _shown(_existing(connection, buffer_id), always_tags=change.tags is not None)

        changed = await self._catalog.write(apply)
        if moment is not None:
            self._reaper.wake()
        self._announce("buffer", buffer_id)
        return changed

    async def move(
        self, operation: states.Operation, buffer_id: str, ttl: timedelta | None = None
    ) -> model.Buffer:
        """Delete, restore or purge one buffer."""
        now = clock.now()
        moment = units.to_micros(now)
        expires_at = states.expiry(operation, now, ttl, self._lifetimes)

        def apply(connection: sa.Connection) -> model.Buffer:
            row = queries.get(connection, buffer_id)
            if row is None:
                raise errors.not_found()
            current = states.state(is_soft_deleted=row.is_soft_deleted, expires_at=row.expires_at, now=moment)
            states.check(operation, current)
            queries.set_state(
                connection,
                buffer_id,
                is_soft_deleted=states.ends_soft_deleted(operation),
                expires_at=expires_at,
            )
            return _shown(_existing(connection, buffer_id))

        moved = await self._catalog.write(apply)
        self._reaper.wake()
        self._announce("buffer", buffer_id)
        return moved

    async def move_all(
        self, operation: states.Operation, chosen: Filter, ttl: timedelta | None = None
    ) -> int:
        """The same for all that are chosen, in the right state and not expired; how many."""
        now = clock.now()
        count = await self._catalog.write(
            queries.set_states,
            was_soft_deleted=states.starts_soft_deleted(operation),
            is_soft_deleted=states.ends_soft_deleted(operation),
            expires_at=states.expiry(operation, now, ttl, self._lifetimes),
            chosen=chosen,
            now=units.to_micros(now),
        )
        self._reaper.wake()
        return count

    # --- access ------------------------------------------------------------------------------------------

    async def access_url(
        self, buffer_id: str, *, writeable: bool, ttl: timedelta | None = None, over_tcp: bool = False
    ) -> str:
        """A URL for the data plane. Soft-deleted and expired buffers have theirs until they are removed.

        With `over_tcp` it is for somebody on another machine; CONFIG where that is out of reach. An ephemeral
        buffer has none that is.
        """
        match ids.kind(buffer_id):
            case "unstarted":
                return "temporary"
            case "relayed":
                if self._relayed is None:
                    raise errors.Problem(errors.INVALID_INPUT, "Ephemeral buffers are not supported.")
                return self._relayed(buffer_id, access.lifetime(ttl), writeable)
            case "stored":
                lifetime = access.lifetime(ttl)
                store = await self.locate(buffer_id)
                return await store.url(buffer_id, writeable=writeable, ttl=lifetime, over_tcp=over_tcp)
        raise errors.not_found()

    async def locate(self, buffer_id: str) -> base.Store:
        """The store that holds the buffer, in whatever state that is.

        Raises:
            Problem: NOT_FOUND; CONFIG, its account is not configured any more.
        """
        account = await self._catalog.read(queries.account, buffer_id)
        if account is None:
            raise errors.not_found()
        return self._stores.named(account)

    async def locate_active(self, buffer_id: str) -> base.Store:
        """The same, only for a buffer that may be read and written. Raises as `locate`."""
        await self.get(buffer_id)
        return await self.locate(buffer_id)

    def storage_accounts(self) -> list[model.StorageAccount]:
        """Where buffers are kept."""
        every = [store.traits for store in self._stores]
        return [
            model.StorageAccount(name=one.name, location=one.location, endpoint=one.endpoint) for one in every
        ]


def _make_all(
    connection: sa.Connection, rows: Sequence[queries.BufferRow], stores: Sequence[base.EmbeddedStore]
) -> None:
    """Rows and containers in one transaction. A crash before its end leaves at worst an empty container."""
    for row, store in zip(rows, stores, strict=True):
        queries.insert(connection, row, ready=True)
        store.make(row.id)


def _insert_all(connection: sa.Connection, rows: Sequence[queries.BufferRow]) -> None:
    for row in rows:
        queries.insert(connection, row)


def _existing(connection: sa.Connection, buffer_id: str) -> queries.BufferRow:
    row = queries.get(connection, buffer_id)
    if row is None:
        raise LookupError(f"buffer {buffer_id} vanished inside its own transaction")
    return row


def _place(row: queries.BufferRow) -> tuple[int, str]:
    return row.created_at, row.id


def _size(row: queries.BufferRow) -> int:
    return sum(len(key) + len(value) for key, value in row.tags.items())


def _moment(text: str | None) -> datetime | None:
    try:
        return None if text is None else units.parse_timestamp(text)
    except errors.Problem as problem:
        detail = f"Error deserializing input: {problem.message} Path: $.expiresAt"
        raise errors.Problem(errors.INVALID_INPUT, detail) from None


def _etag(row: queries.BufferRow) -> str:
    return etags.of_buffer(
        row.id, is_soft_deleted=row.is_soft_deleted, expires_at=row.expires_at, tags=row.tags
    )


def _shown(row: queries.BufferRow, *, always_tags: bool = False) -> model.Buffer:
    return model.Buffer(
        id=row.id,
        location=row.location,
        created_at=units.format_micros(row.created_at),
        is_soft_deleted=row.is_soft_deleted,
        expires_at=_printed(row.expires_at),
        tags=row.tags if row.tags or always_tags else None,
        e_tag=_etag(row),
    )


def _printed(micros: int | None) -> str | None:
    return None if micros is None else units.format_micros(micros)

"""Import: containers of an account that hold an exported buffer, and that the catalog does not know."""

from __future__ import annotations

import functools
import re

from tyger import errors, units
from tygerd import clock, events
from tygerd.catalog import accounts, buffers, db
from tygerd.copying import journal, marks, orders
from tygerd.stores import base, patience, places, retrying

_ID = re.compile(r"[a-z2-7]{26}|[a-z2-7]{52}")
"""Ids as they are made, and as `hash-ids` makes them; other containers are somebody else's."""


AT_ONCE = 200
"""Buffers in one transaction, some 50 ms: whoever else changes the catalog waits for as long."""


class Importer:
    """Makes one import; `policy` is the patience with an account that is away.

    So many buffers are made in one transaction as `at_once` says.
    """

    def __init__(
        self,
        catalog: db.Catalog,
        stores: places.Places,
        log: journal.Journal,
        policy: retrying.Policy,
        *,
        announce: events.Announce = events.nobody,
        at_once: int = AT_ONCE,
    ) -> None:
        self._catalog = catalog
        self._stores = stores
        self._log = log
        self._policy = policy
        self._announce = announce
        self._at_once = at_once

    async def run(self, order: orders.Import) -> None:
        """Import everything; cancelled, it can be run again.

        Raises:
            Problem: the account said no, or is not there.
        """
        store = self._stores.named(order.account)
        if not base.is_remote(store):
            raise errors.Problem(errors.INVALID_INPUT, f"'{order.account}' is not a storage account")
        self._log.write("info", "Starting import", storageAccount=order.account)
        total, place = 0, None
        while True:
            started = clock.boottime()
            page = await patience.persist(functools.partial(store.containers, place), self._policy)
            rows = [
                self._row(listed, store, order.owner_uid)
                for listed in page.items
                if _ID.fullmatch(listed.id) and marks.is_exported(listed.labels)
            ]
            new = 0
            for first in range(0, len(rows), self._at_once):
                made = await self._catalog.write(accounts.insert_unknown, rows[first : first + self._at_once])
                for buffer_id in made:
                    self._announce("buffer", buffer_id)
                new += len(made)
            total += new
            duration = units.format_duration(clock.boottime() - started)
            self._log.write("info", "Inserted batch", newBuffers=new, totalCount=total, duration=duration)
            if (place := page.next) is None:
                break
        self._log.write("info", "Import complete", totalCount=total)

    def _row(self, listed: base.Listed, store: base.RemoteStore, owner_uid: int) -> buffers.BufferRow:
        return buffers.BufferRow(
            id=listed.id,
            location=store.traits.location,
            created_at=units.to_micros(clock.now()),
            is_soft_deleted=False,
            expires_at=None,
            owner_uid=owner_uid,
            owner=self._catalog.installation,
            epoch=1,
            tags=dict(sorted(marks.tags(listed.labels).items())),
            account=store.traits.name,
        )

"""Carries orders out: the one thing that the engine of system runs is given."""

from __future__ import annotations

import trio

from tygerd import events
from tygerd.catalog import db
from tygerd.copying import export, importing, journal, orders
from tygerd.stores import places, retrying
from tygerd.streams import remote

EXPORTS = 2
"""Exports at work at once; others wait. One has up to 128 connections, to this daemon's own socket where it
reads the embedded store, and they count as the daemon's user's: that user must be left some."""


class Copying:
    """Export and import with this daemon's stores; `deadline` is the patience with an account, in seconds."""

    def __init__(
        self,
        catalog: db.Catalog,
        stores: places.Places,
        remotes: remote.Remotes,
        *,
        deadline: float,
        announce: events.Announce = events.nobody,
    ) -> None:
        self._catalog = catalog
        self._stores = stores
        self._remotes = remotes
        self._policy = retrying.Policy(deadline=deadline)
        self._announce = announce
        self._turns = trio.CapacityLimiter(EXPORTS)

    async def perform(self, order: orders.Order, log: journal.Journal) -> None:
        """See `engine.Perform`."""
        if isinstance(order, orders.Export):
            if not self._turns.available_tokens:
                log.write("info", "Waiting for other exports to end")
            async with self._turns:
                exporter = export.Exporter(self._catalog, self._stores, self._remotes, log, self._policy)
                await exporter.run(order)
        else:
            importer = importing.Importer(
                self._catalog, self._stores, log, self._policy, announce=self._announce
            )
            await importer.run(order)

"""What handlers may use: the App, put together by `tygerd.app`, which is above this package.

No start order and no logic here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tyger import paths as paths_module
from tygerd import config as config_module
from tygerd import events as events_module
from tygerd.buffers import service as buffers_service
from tygerd.catalog import db
from tygerd.codespecs import service as codespecs_service
from tygerd.http import plane, server
from tygerd.identity import sas
from tygerd.runs import service as runs_service
from tygerd.stores import local, places
from tygerd.streams import relays as relays_service
from tygerd.streams import transfers as transfers_service


@dataclass
class App:
    """The parts of a running daemon.

    `started` is `clock.boottime()` at the start; `connections` the server's own figures;
    `store` the embedded one of `places`; `tcp_connections` those of other machines, where they may come.
    """

    version: str
    started: float
    paths: paths_module.Paths
    config: config_module.Config
    events: events_module.Events
    catalog: db.Catalog
    places: places.Places
    store: local.LocalStore
    signer: sas.Signer
    buffers: buffers_service.Buffers
    codespecs: codespecs_service.Codespecs
    runs: runs_service.Runs
    transfers: transfers_service.Transfers
    relays: relays_service.Relays
    connections: Callable[[], server.Statistics]
    tcp_connections: Callable[[], plane.Statistics] | None = None

    def unfinished(self) -> int:
        """Transfers and runs that are not over: the daemon must not leave by itself."""
        now = self.transfers.statistics()
        return now.writing + now.reading + now.suspended + self.runs.unfinished()

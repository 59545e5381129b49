"""The API as one table: every resource's rows, in the order of the documentation."""

from __future__ import annotations

from tygerd.api import blobs, buffers, codespecs, events, relays, runs, service, swagger, transfers
from tygerd.http import router

ROUTES: list[router.Route] = [
    *service.ROUTES,
    *buffers.ROUTES,
    *codespecs.ROUTES,
    *runs.ROUTES,
    *blobs.ROUTES,
    *transfers.ROUTES,
    *relays.ROUTES,
    *events.ROUTES,
    *swagger.ROUTES,
]

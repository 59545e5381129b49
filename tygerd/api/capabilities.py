"""The capabilities of `GET /metadata`: what engine and stores declare, in the contract's words. Pure.

Contract rest-api.md 3.1. Clients act on two of them: with `Docker` they pull images themselves, through their
own connection to it; with `LocalBuffers` they count on one single storage endpoint, reached through us.
"""

from __future__ import annotations

from collections.abc import Iterable

from tygerd.engines import base as engines
from tygerd.stores import base as stores


def of(engine: engines.Traits, places: Iterable[stores.Traits]) -> list[str]:
    """The words that hold, in the contract's order."""
    held = {
        "Gpu": engine.gpu,
        "NodePools": engine.node_pools,
        "DistributedRuns": engine.workers,
        "EphemeralBuffers": engine.ephemeral_buffers,
        "Docker": engine.docker,
        "Kubernetes": engine.kubernetes,
        "LocalBuffers": all(place.embedded for place in places),
    }
    return [word for word, holds in held.items() if holds]

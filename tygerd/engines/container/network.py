"""The network of runs that need one: one for all of an installation, made on demand, removed when unused.

Containers in it reach each other and what the host reaches. Its name is all that a container needs to know.
"""

from __future__ import annotations

import json

from tyger import errors
from tygerd.engines.container import api, body


async def ensure(engine: api.Api, place: body.Place) -> None:
    """Make it, unless it is there.

    Raises:
        Problem: IO_ERROR, with the engine's words; UNAVAILABLE.
    """
    try:
        await engine.get(f"/networks/{place.network}")
    except api.Refused as refusal:
        if refusal.status != 404:
            raise _cannot(place, refusal) from refusal
    else:
        return
    wanted = {
        "Name": place.network,
        "Driver": "bridge",
        "CheckDuplicate": True,
        "Labels": {body.INSTALLATION: place.installation},
    }
    try:
        await engine.post("/networks/create", wanted)
    except api.Refused as refusal:
        if refusal.status != 409:
            raise _cannot(place, refusal) from refusal


async def remove(engine: api.Api, place: body.Place) -> None:
    """Remove it, if it is there and ours and nobody is in it; the engine refuses otherwise."""
    mine = {"filters": json.dumps({"label": [f"{body.INSTALLATION}={place.installation}"]})}
    for network in await engine.get("/networks", **mine):
        if network.get("Name") == place.network:
            await engine.delete(f"/networks/{place.network}")


def _cannot(place: body.Place, refusal: api.Refused) -> errors.Problem:
    return errors.Problem(errors.IO_ERROR, f"cannot make the network {place.network}: {refusal.message}")

"""Containers that nobody looks after: their run's supervisor is dead, so they are killed and removed.

A supervisor holds the lock of its run's directory as long as it lives, and creates a container only then. So
whoever finds a container *first* and the lock free *afterwards* has found an orphan, whatever else goes on.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

from tygerd.engines.container import api, body

logger = logging.getLogger(__name__)


async def sweep(
    engine: api.Api, installation: str, is_held: Callable[[int], bool], *, run: int | None = None
) -> int:
    """Remove the orphans of an installation, or of one of its runs; how many of its containers are left.

    Raises:
        Problem: UNAVAILABLE.
        Refused: the engine refuses the list. That it cannot remove one is logged, and tried the next time.
    """
    labels = [f"{body.INSTALLATION}={installation}"]
    labels += [f"{body.RUN}={run}"] if run is not None else [body.RUN]
    left = 0
    for container in await engine.get("/containers/json", all="1", filters=json.dumps({"label": labels})):
        number = str((container.get("Labels") or {}).get(body.RUN))
        if number.isascii() and number.isdigit() and is_held(int(number)):
            left += 1
            continue
        name = (container.get("Names") or ["?"])[0].lstrip("/")
        try:
            await engine.remove_container(container["Id"])
        except api.Refused as refusal:
            logger.warning("cannot remove container %s, which belongs to nobody: %s", name, refusal.message)
            left += 1
        else:
            logger.info("removed container %s, whose supervisor is dead", name)
    return left

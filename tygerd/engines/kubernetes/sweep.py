"""Taking out of the cluster what is ours and belongs to no run any more.

There is such a thing only where a daemon was killed at a bad moment, its state was lost, or a request that
nobody waited for was carried out late. What another installation has is not looked at.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

import trio

from tygerd.engines.kubernetes import making, objects, refusals

SWEEP_SECONDS = 300.0
"""Between two looks."""

KINDS = ("Secret", "StatefulSet", "Service", "Pod")
"""In this order: what owns others goes first, and nothing creates pods behind us."""

FORGOTTEN_GRACE = 10.0
"""Seconds between SIGTERM and SIGKILL for a pod of which nobody knows."""

logger = logging.getLogger(__name__)

Object = dict[str, Any]


class Cluster(making.Cluster, Protocol):
    """What is asked of a cluster."""

    async def list(self, kind: str, selector: str = "", *, fields: str = "") -> tuple[list[Object], str]:
        """See `api.Api`."""
        ...


async def keep_swept(cluster: Cluster, installation: str, has: Callable[[int], bool]) -> None:
    """Look now and then, for ever."""
    while True:
        try:
            await sweep(cluster, installation, has)
        except refusals.Trouble as trouble:
            logger.warning("cannot look for what no run has any more: %s", trouble)
        await trio.sleep(SWEEP_SECONDS)


async def sweep(cluster: Cluster, installation: str, has: Callable[[int], bool]) -> int:
    """Delete what is ours and of no run that we have; how many objects that was.

    Raises:
        Trouble: the cluster cannot be asked, or does not let us.
    """
    count = 0
    selector = ",".join(f"{key}={value}" for key, value in objects.labels_of_all(installation).items())
    for kind in KINDS:
        found, _ = await cluster.list(kind, selector)
        for each in found:
            run, name = objects.run_of(each), each["metadata"]["name"]
            if run is None or has(run):
                continue
            logger.info("nobody has run %d any more: taking away the %s %s", run, kind, name)
            uid = each["metadata"]["uid"]
            await cluster.delete(kind, name, grace=FORGOTTEN_GRACE if kind == "Pod" else None, uid=uid)
            if kind == "Pod":
                await making.let_go(cluster, each)
            count += 1
    return count

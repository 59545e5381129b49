"""The way to a buffer that is kept elsewhere: a patient data plane that takes its turns on the host's link.

What all transfers share stands here: the link, the worker threads, the network's settings and the patience.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Literal, NamedTuple

import trio

from tyger import errors
from tygerd.stores import access, dataplane, link, network, retrying
from tygerd.streams import hashing

THREADS = 64
"""Requests under way at once, of all transfers together: each holds a worker thread. The link's lanes allow
32 each at most, so that one store cannot take them all."""

Direction = Literal["up", "down"]
OnTrouble = Callable[[retrying.Trouble | None], None]


class Way(NamedTuple):
    """An open way: `remote` asks, `flow` says how much to ask for at once."""

    remote: retrying.Retrying
    flow: link.Flow


Opening = Callable[[], Awaitable[access.Access]]
"""Gives the access to one buffer; a `Problem` when there is none."""


class Remotes:
    """Opens ways. One a daemon."""

    def __init__(self, settings: network.Network, *, bandwidth: int | None, deadline: float) -> None:
        self.link = link.Link(bandwidth)
        self._network = settings
        self._policy = retrying.Policy(deadline=deadline)
        self._threads = trio.CapacityLimiter(THREADS)
        self.hasher = hashing.Hasher()

    @asynccontextmanager
    async def way(
        self,
        opening: Opening,
        direction: Direction,
        *,
        priority: link.Priority = "live",
        on_trouble: OnTrouble = lambda _: None,
    ) -> AsyncIterator[Way]:
        """A way to one buffer, while the block lasts. Requests under way must have ended by then.

        Raises:
            Problem: there is no access; INVALID_INPUT, it leads to an ephemeral buffer's relay.
        """
        opened = await opening()
        if opened.url.relayed:
            message = "the access URL leads to an ephemeral buffer (relay=true), which is not stored anywhere"
            raise errors.Problem(errors.INVALID_INPUT, message)
        plane = dataplane.DataPlane(opened, self._network)
        flow = self.link.lane(opened.url.place, direction).flow(priority)
        try:
            yield Way(
                retrying.Retrying(
                    plane,
                    self._policy,
                    threads=self._threads,
                    flow=flow,
                    digest=self.hasher.digest_memory if self.hasher.lanes > 1 else None,
                    on_trouble=on_trouble,
                ),
                flow,
            )
        finally:
            flow.close()
            plane.abort()

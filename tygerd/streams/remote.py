"""The way to a buffer that is kept elsewhere: a patient data plane that takes its turns on the host's link.

What all transfers share stands here: the link, the worker threads, the network's settings and the patience.
"""

from __future__ import annotations

import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Literal, NamedTuple

import trio

from tyger import errors
from tygerd import clock
from tygerd.stores import access, dataplane, link, network, patience, retrying
from tygerd.streams import hashing

THREADS = 64
"""Requests under way at once at one place, of all transfers together. Each holds a worker thread, and a
silent one holds it for long: so another place has its own."""

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

    def __init__(
        self,
        settings: network.Network,
        *,
        bandwidth: int | None,
        deadline: float,
        renewal: float = retrying.RENEWAL_PATIENCE,
    ) -> None:
        self.link = link.Link(bandwidth)
        self._network = settings
        self._policy = retrying.Policy(deadline=deadline, renewal=renewal)
        self._threads: weakref.WeakValueDictionary[str, trio.CapacityLimiter] = weakref.WeakValueDictionary()
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
            Problem: there is no access; INVALID_INPUT, it leads to an ephemeral buffer's relay. After the
                deadline a TransientError.
        """
        opened = await self._open(opening, on_trouble)
        if opened.url.relayed:
            message = "the access URL leads to an ephemeral buffer (relay=true), which is not stored anywhere"
            raise errors.Problem(errors.INVALID_INPUT, message)
        plane = dataplane.DataPlane(opened, self._network)
        flow = self.link.lane(opened.url.place, direction).flow(priority)
        threads = self._threads.setdefault(opened.url.place, trio.CapacityLimiter(THREADS))
        try:
            yield Way(
                retrying.Retrying(
                    plane,
                    self._policy,
                    threads=threads,
                    flow=flow,
                    digest=self.hasher.digest_memory if self.hasher.lanes > 1 else None,
                    on_trouble=on_trouble,
                ),
                flow,
            )
        finally:
            flow.close()
            plane.abort()

    async def _open(self, opening: Opening, on_trouble: OnTrouble) -> access.Access:
        """The access, as patiently as everything that follows: to sign a URL may take the network, too."""
        since, failed = clock.boottime(), 0

        def tell(problem: errors.Problem, failures: int) -> None:
            nonlocal failed
            failed = failures
            on_trouble(retrying.Trouble("", problem.message, True, since, failures))

        try:
            opened = await patience.persist(opening, self._policy, tell)
        except errors.Problem as problem:
            if problem.kind not in patience.PASSING:
                raise
            raise dataplane.TransientError(problem.message, offline=True) from None
        if failed:
            on_trouble(None)
        return opened

"""A remote store that keeps names only: what services above the stores need to be tested with."""

from __future__ import annotations

from datetime import timedelta

import trio

from tyger import errors
from tygerd.stores import access, base


class MemoryStore:
    """Containers without blobs. Where `problem` is set everything raises it; deletions of `stuck` fail.

    `calls` counts what was asked, `removed` is set at each deletion, `failed` has what was marked.
    """

    def __init__(self, name: str = "memory", location: str = "memory", *, embedded: bool = False) -> None:
        self.traits = base.Traits(name, location, f"https://{name}.example/", embedded)
        self.names: set[str] = set()
        self.stuck: set[str] = set()
        self.failed: dict[str, str] = {}
        self.problem: errors.Problem | None = None
        self.calls = 0
        self.removed = trio.Event()

    async def create(self, id: str) -> None:  # noqa: A002 - the contract's word
        self.make(id)

    def make(self, id: str) -> None:  # noqa: A002
        self._ask()
        self.names.add(id)

    async def exists(self, id: str) -> bool:  # noqa: A002
        self._ask()
        return id in self.names

    async def delete(self, id: str) -> None:  # noqa: A002
        self._ask()
        if id in self.stuck:
            raise errors.Problem(errors.IO_ERROR, "cannot remove it")
        self.names.discard(id)
        self.removed.set()

    async def mark_failed(self, id: str, reason: str) -> None:  # noqa: A002
        self._ask()
        if id in self.names:
            self.failed.setdefault(id, reason)

    async def access(self, id: str, *, writeable: bool) -> access.Access:  # noqa: A002
        return access.Access(access.parse(await self.url(id, writeable=writeable, ttl=timedelta(hours=1))))

    async def url(
        self,
        id: str,  # noqa: A002
        *,
        writeable: bool,
        ttl: timedelta,
        over_tcp: bool = False,  # noqa: ARG002 - it has one form of URL
    ) -> str:
        self._ask()
        query = f"sp={'rc' if writeable else 'r'}&seconds={ttl.total_seconds():g}"
        return f"{self.traits.endpoint}{id}?{query}"

    def _ask(self) -> None:
        self.calls += 1
        if self.problem is not None:
            raise self.problem

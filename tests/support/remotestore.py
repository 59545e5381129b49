"""A store elsewhere, on a `blobserver.BlobServer`: what the registry of transfers sees of a storage account.

Its leases are kept in memory; `lease_state` on a start marker is what a reader sees of them.
"""

from __future__ import annotations

from tyger import errors
from tygerd.blocks import names
from tygerd.stores import access, base


class Lease:
    """Counts what is asked of it."""

    def __init__(self) -> None:
        self.seconds = 60.0
        self.acquired = 0
        self.released = 0

    async def acquire(self) -> None:
        self.acquired += 1

    async def renew(self) -> None:
        await self.acquire()

    async def release(self) -> None:
        self.released += 1


class RemoteStore:
    """Buffers are containers of the server. `refusal`, where set, is raised when access is asked for."""

    def __init__(self, server, name="account1", location="elsewhere") -> None:
        self.traits = base.Traits(name=name, location=location, endpoint="http://elsewhere/", embedded=False)
        self.server = server
        self.leases: dict[str, Lease] = {}
        self.signature = "good"
        self.refusal: errors.Problem | None = None
        self.metadata: dict[str, dict[str, str]] = {}

    async def create(self, name):
        self.server.containers.setdefault(name, {})

    async def exists(self, name):
        return name in self.server.containers

    async def delete(self, name):
        self.server.containers.pop(name, None)

    async def mark_failed(self, name, _reason):
        self.server.containers[name].setdefault(names.END, b'{"status":"failed"}')

    async def access(self, name, *, writeable):  # noqa: ARG002 - a store that signs for all
        return access.Access(access.parse(self._sign(name)), lambda: self._sign(name))

    async def url(self, name, *, writeable, ttl):  # noqa: ARG002
        return self._sign(name)

    def _sign(self, name):
        if self.refusal is not None:
            raise self.refusal
        return self.server.url(name, self.signature)

    def lease(self, _name, holder):
        return self.leases.setdefault(holder, Lease())

    async def close(self):
        pass

    async def labels(self, name):
        return None if name not in self.server.containers else self.metadata.get(name, {})

    async def set_labels(self, name, labels):
        self.metadata[name] = dict(labels)

    async def containers(self, place):
        """Two at a time."""
        known = sorted(self.server.containers)
        first = int(place or 0)
        found = [base.Listed(name, self.metadata.get(name, {})) for name in known[first : first + 2]]
        return base.Listing(found, str(first + 2) if first + 2 < len(known) else None)

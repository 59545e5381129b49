"""A storage account of Azure as a store; see `base.RemoteStore`.

Works in threads: `azuresdk` does the requests, and is loaded at the first of them, so that a daemon starts
without Azure's libraries and without asking Azure anything.

Tested against Azurite, with an account key and with tokens that Azurite takes from anybody. What only the
real service says (ContainerBeingDeleted, network rules, role assignments) is written from its documentation.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from tyger import errors
from tygerd import config
from tygerd.identity import azure as identity
from tygerd.stores import access as access_urls
from tygerd.stores import base, network, serverclock

if TYPE_CHECKING:
    from tygerd.stores import azuresdk

T = TypeVar("T")

THREADS = 16
"""Requests to one account at once; an unreachable one keeps no more of them busy."""


class AzureStore:
    """Containers of one storage account. `lease_seconds` is how long a writer's lease lasts, 15 to 60."""

    def __init__(
        self, account: config.Azure, settings: network.Network, *, lease_seconds: float = 60
    ) -> None:
        """Blocking: reads the credential's files; asks nobody.

        Raises:
            Problem: CONFIG, naming the file.
        """
        self._account = account
        self._network = settings
        self._lease_seconds = lease_seconds
        self._credential = identity.load(account.credential, account.name, self._transport)
        endpoint = account.url
        if account.endpoint is None and isinstance(self._credential, identity.SharedKey):
            endpoint = self._credential.endpoint or endpoint
        self._endpoint = endpoint
        self.traits = base.Traits(account.name, account.location, f"{endpoint}/", embedded=False)
        self.clock = serverclock.ServerClock()
        """The account's own time, learned from its answers here and at the data plane."""
        self._limiter = trio.CapacityLimiter(THREADS)
        self._signing = trio.CapacityLimiter(THREADS)
        self._opening = threading.Lock()
        self._sdk: azuresdk.Account | None = None

    async def create(self, id: str) -> None:  # noqa: A002 - the contract's word
        """See `base.Store`. Not abandoned when cancelled: a later `delete` must find what it has made."""
        await trio.to_thread.run_sync(lambda: self._open().create(id), limiter=self._limiter)

    async def exists(self, id: str) -> bool:  # noqa: A002
        """See `base.Store`."""
        return await self._run(lambda: self._open().exists(id))

    async def delete(self, id: str) -> None:  # noqa: A002
        """See `base.Store`."""
        await self._run(lambda: self._open().delete(id))

    async def mark_failed(self, id: str, reason: str) -> None:  # noqa: A002, ARG002 - no place for the reason
        """See `base.Store`."""
        await self._run(lambda: self._open().mark_failed(id))

    async def access(self, id: str, *, writeable: bool) -> access_urls.Access:  # noqa: A002
        """See `base.Store`."""
        ttl = timedelta(seconds=self._account.access_ttl)

        def sign() -> str:
            return self._open().url(id, writeable=writeable, ttl=ttl)

        return access_urls.Access(access_urls.parse(await self._sign(sign)), sign, clock=self.clock)

    async def url(
        self,
        id: str,  # noqa: A002
        *,
        writeable: bool,
        ttl: timedelta,
        over_tcp: bool = False,  # noqa: ARG002 - it always is
    ) -> str:
        """See `base.Store`."""
        return await self._sign(lambda: self._open().url(id, writeable=writeable, ttl=ttl))

    def lease(self, id: str, holder: str) -> base.Lease:  # noqa: A002
        """See `base.RemoteStore`."""
        return _Lease(self, id, str(uuid.UUID(hex=holder)), self._lease_seconds)

    async def labels(self, id: str) -> dict[str, str] | None:  # noqa: A002
        """See `base.RemoteStore`."""
        return await self._run(lambda: self._open().labels(id))

    async def set_labels(self, id: str, labels: Mapping[str, str]) -> None:  # noqa: A002
        """See `base.RemoteStore`."""
        await self._run(lambda: self._open().set_labels(id, labels))

    async def containers(self, place: str | None) -> base.Listing:
        """See `base.RemoteStore`."""
        return await self._run(lambda: self._open().containers(place))

    async def close(self) -> None:
        """See `base.RemoteStore`."""
        await trio.to_thread.run_sync(self._close)

    async def _run(self, work: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(work, limiter=self._limiter, abandon_on_cancel=True)

    async def _sign(self, work: Callable[[], str]) -> str:
        """In a thread of its own kind: with a key it asks nobody, and must not wait for those who do."""
        return await trio.to_thread.run_sync(work, limiter=self._signing, abandon_on_cancel=True)

    def _open(self) -> azuresdk.Account:
        """The account behind its library. In a thread: loading that takes a while, once."""
        with self._opening:
            if self._sdk is None:
                from tygerd.stores import azuresdk

                self._sdk = azuresdk.Account(
                    self._account.name,
                    self._endpoint,
                    self._credential,
                    network=self._network,
                    clock=self.clock,
                    kind=self._account.credential,
                )
            return self._sdk

    def _close(self) -> None:
        with self._opening:
            if self._sdk is not None:
                self._sdk.close()
                self._sdk = None

    def _transport(self, url: str) -> Any:
        from tygerd.stores import azuretransport

        return azuretransport.transport(self._network, url)


def stores(settings: config.Config, networking: network.Network) -> list[AzureStore]:
    """A store for each account of the configuration. Blocking: reads the credentials' files.

    Raises:
        Problem: CONFIG, naming the account and the file.
    """
    made = []
    for number, account in enumerate(settings.store.azure):
        try:
            made.append(AzureStore(account, networking, lease_seconds=settings.transfer.writer_lease))
        except errors.Problem as problem:
            where = f"store.azure[{number}] ({account.name})"
            raise errors.Problem(problem.kind, f"{where}: {problem.message}") from None
    return made


class _Lease:
    """See `base.Lease`. To acquire again by the same id is to renew, also what has expired."""

    def __init__(self, store: AzureStore, id: str, lease: str, seconds: float) -> None:  # noqa: A002
        self.seconds = float(round(seconds))
        self._store = store
        self._id = id
        self._lease = lease

    async def acquire(self) -> None:
        """See `base.Lease`."""
        await self._store._run(  # noqa: SLF001 - its own
            lambda: self._store._open().acquire(self._id, self._lease, int(self.seconds))  # noqa: SLF001
        )

    async def renew(self) -> None:
        """See `base.Lease`."""
        await self.acquire()

    async def release(self) -> None:
        """See `base.Lease`."""
        await self._store._run(lambda: self._store._open().release(self._id, self._lease))  # noqa: SLF001

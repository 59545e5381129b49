"""What every store promises, for those above it.

A store keeps containers by buffer id. An embedded one is directories of blocks in this process's reach; a
remote one is a server's, reached by access URLs. Which of them a store is, is data (`Traits.embedded`).

A store neither retries, limits, logs nor sleeps. Every method may be called twice: a second create or delete
of the same container succeeds. A failure is a `Problem` in the words of the system or server that said no,
with the next thing to try; UNAVAILABLE when time may mend it. Methods are for trio tasks; what a call
that was cancelled should have done is done or is not, and calling again settles that.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import NamedTuple, Protocol, TypeGuard

from tygerd.blocks import container
from tygerd.stores import access as access_urls


class Traits(NamedTuple):
    """What a store is, as data."""

    name: str
    """Account name; "local" for the embedded store of buffers."""
    location: str
    """Where its buffers are, as users know it. Several accounts may share one."""
    endpoint: str
    """The data plane's address, for a person and for `storageEndpoints`."""
    embedded: bool
    """Whether it is an `EmbeddedStore`; else it is a `RemoteStore`."""


class Store(Protocol):
    """Keeps containers by buffer id."""

    @property
    def traits(self) -> Traits:
        """The same for ever."""
        ...

    async def create(self, id: str) -> None:  # noqa: A002 - the contract's word
        """Make an empty container.

        Raises:
            Problem: STORAGE_FULL or IO_ERROR with the system's own words; a remote store's refusal. Nothing
                was made, or it was and calling again succeeds.
        """
        ...

    async def exists(self, id: str) -> bool:  # noqa: A002
        """Whether the container is there."""
        ...

    async def delete(self, id: str) -> None:  # noqa: A002
        """Remove the container; it is out of sight at once, its bytes go afterwards."""
        ...

    async def mark_failed(self, id: str, reason: str) -> None:  # noqa: A002
        """End a stream that has not ended as failed, create-only. A container that is gone is left alone.

        The format has no place for `reason`: only an embedded store keeps it.
        """
        ...

    async def access(self, id: str, *, writeable: bool) -> access_urls.Access:  # noqa: A002
        """A URL that renews itself, for transfers of our own. Whether the container exists is not asked.

        Raises:
            Problem: no URL can be signed now.
        """
        ...

    async def url(self, id: str, *, writeable: bool, ttl: timedelta, over_tcp: bool = False) -> str:  # noqa: A002
        """A URL that reads, or creates and reads, for `ttl`, for whoever asks the API. As `access`.

        With `over_tcp` it is for somebody on another machine, which is said of any store but an embedded one
        anyway. That one raises CONFIG where it cannot be reached so.
        """
        ...


class EmbeddedStore(Store, Protocol):
    """One whose containers this process opens itself."""

    def make(self, id: str) -> None:  # noqa: A002
        """`create` for a thread: it blocks. Raises as `create`."""
        ...

    async def open(self, id: str) -> container.Container:  # noqa: A002
        """The container, one object for all who ask in this process.

        Raises:
            Problem: NOT_FOUND.
        """
        ...

    async def ids(self) -> list[str]:
        """All containers, for the sweep at start."""
        ...


class Listed(NamedTuple):
    """A container of a remote store and its metadata."""

    id: str
    labels: dict[str, str]


class Listing(NamedTuple):
    """Some of the containers; `next` is where the others begin, None when there are no others."""

    items: list[Listed]
    next: str | None


class Lease(Protocol):
    """The sign that a writer lives, on a stream's start marker. It ends by itself unless it is renewed.

    A reader sees it in the header `x-ms-lease-state` of that marker. Methods may be called in any order.
    """

    seconds: float
    """How long it lasts after `acquire` or `renew`."""

    async def acquire(self) -> None:
        """Take it; whoever holds it already under this lease's id keeps it for another term.

        Raises:
            Problem: CONFLICT, another writer holds it; NOT_FOUND, there is no start marker; as `Store`.
        """
        ...

    async def renew(self) -> None:
        """Keep it for another term, also when it has expired and nobody has taken it. As `acquire`."""
        ...

    async def release(self) -> None:
        """Give it back. One that is not held, or whose blob is gone, is left alone."""
        ...


class RemoteStore(Store, Protocol):
    """One that is reached over a network."""

    def lease(self, id: str, holder: str) -> Lease:  # noqa: A002
        """The lease of container `id` for the writer `holder` (32 hexadecimal digits, a transfer's id).

        The same holder gets the same lease, also after a restart. Asks nobody.
        """
        ...

    async def labels(self, id: str) -> dict[str, str] | None:  # noqa: A002
        """A container's metadata; None where there is no such container."""
        ...

    async def set_labels(self, id: str, labels: Mapping[str, str]) -> None:  # noqa: A002
        """Replace a container's metadata. NOT_FOUND when there is no such container."""
        ...

    async def containers(self, place: str | None) -> Listing:
        """Containers with their metadata, from `place` on; some thousands at a time."""
        ...

    async def close(self) -> None:
        """Let go of connections. Nothing may be under way; the store may be used again."""
        ...


def is_embedded(store: Store) -> TypeGuard[EmbeddedStore]:
    """Whether the containers can be opened here."""
    return store.traits.embedded


def is_remote(store: Store) -> TypeGuard[RemoteStore]:
    """Whether the containers are a server's."""
    return not store.traits.embedded

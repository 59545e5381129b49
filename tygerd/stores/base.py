"""What every store promises, for those above it.

A store neither retries, limits, logs nor sleeps. Every method may be called twice: a second create or delete
of the same container succeeds. Methods are blocking where they are plain functions and run in worker threads
where they are async.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from tygerd.blocks import container


class Traits(NamedTuple):
    """What a store can do, as data."""

    name: str
    location: str
    event_driven: bool
    """Readers in this process are woken when a block is sealed; nobody polls."""


class Store(Protocol):
    """Keeps containers by buffer id."""

    traits: Traits

    async def create(self, id: str) -> None:  # noqa: A002 - the contract's word
        """Make an empty container.

        Raises:
            Problem: STORAGE_FULL or IO_ERROR with the system's own words; nothing was made.
        """
        ...

    async def exists(self, id: str) -> bool:  # noqa: A002
        """Whether the container is there."""
        ...

    async def open(self, id: str) -> container.Container:  # noqa: A002
        """The container, one object for all who ask in this process.

        Raises:
            Problem: NOT_FOUND.
        """
        ...

    async def delete(self, id: str) -> None:  # noqa: A002
        """Remove the container; it is out of sight at once, its bytes go afterwards."""
        ...

    async def mark_failed(self, id: str, reason: str) -> None:  # noqa: A002
        """End a stream that has not ended as failed, create-only. A container that is gone is left alone."""
        ...

    async def ids(self) -> list[str]:
        """All containers, for the sweep at start."""
        ...

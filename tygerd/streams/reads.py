"""Reads in progress: from the embedded store by file, from a store elsewhere over the network.

Reads are kept in memory only: a client that lost its read asks again from the byte it has.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import trio

from tyger import errors, units
from tygerd import clock, events
from tygerd.blocks import container
from tygerd.stores import dataplane
from tygerd.streams import delivery, download, fetch, hashing, remote
from tygerd.streams import span as spans

AHEAD = 12
"""Blocks of a download beyond those that are being received: that wait to be hashed together, or for one
before them that is tried again. Of the usual 4 MiB, so that memory stays within 150 MiB and the width."""


class Sink(Protocol):
    """Where the bytes go (`http.messages.Sink`)."""

    async def send_file(self, fd: int, offset: int, length: int) -> None:
        """Send a part of a file."""

    async def send_memory(self, data: memoryview) -> None:
        """Send bytes that are valid until it returns."""


@dataclass(slots=True, eq=False)
class Read:
    """One read in progress or lately ended."""

    buffer: str
    location: str
    owner: int
    id: str = field(default_factory=lambda: secrets.token_hex(16))
    started_at: int = field(default_factory=lambda: units.to_micros(clock.now()))
    bytes: int = 0
    waiting: str | None = None
    whole: bool = False
    """Whether everything that was asked for has been delivered."""
    finished_at: int | None = None
    reason: str | None = None
    code: str | None = None
    moved: trio.Event = field(default_factory=trio.Event)

    def stir(self) -> None:
        """Something that can be seen of it has changed."""
        self.moved.set()
        self.moved = trio.Event()


class Reads:
    """The reads in progress. `on_end` is called with each that is over."""

    def __init__(
        self,
        remotes: remote.Remotes,
        hasher: hashing.Hasher,
        *,
        lease_grace: float,
        on_end: Callable[[Read], None],
        announce: events.Announce = events.nobody,
    ) -> None:
        self.live: dict[str, Read] = {}
        self.bytes = 0
        """Of reads that are over."""
        self._remotes = remotes
        self._hasher = hasher
        self._lease_grace = lease_grace
        self._on_end = on_end
        self._announce = announce

    async def local(
        self,
        entry: Read,
        source: container.Container,
        wanted: spans.Span,
        sink: Sink,
        away: Callable[[], bool],
    ) -> None:
        """Deliver from a container of the embedded store. `away`: whether its writer has to come back first.

        Raises:
            Problem: what `fetch.Fetch.next` raises.
        """

        def on_waiting(waits: bool) -> None:
            why = "its writer is away: it has not come back yet" if away() else download.WRITER
            self._waits(entry, why if waits else None)

        with self._registered(entry):
            async with fetch.reading(
                source, hasher=self._hasher, wanted=wanted, on_waiting=on_waiting
            ) as ahead:
                while (piece := await ahead.next()) is not None:
                    await sink.send_file(*piece)
                    entry.bytes += piece.length

    async def remote(
        self,
        entry: Read,
        opening: remote.Opening,
        wanted: spans.Span,
        sink: Sink,
        bell: download.Bell = lambda: None,
    ) -> None:
        """Deliver from a data plane.

        Raises:
            Problem: what `download.Download.run` raises; ACCESS_EXPIRED for a URL that nobody renews.
        """

        async def deliver(data: memoryview) -> None:
            await sink.send_memory(data)
            entry.bytes += len(data)

        def on_waiting(why: str | None) -> None:
            self._waits(entry, why)

        with self._registered(entry):
            try:
                async with self._remotes.way(
                    opening, "down", on_trouble=lambda it: on_waiting(delivery.describe(it) if it else None)
                ) as (patient, flow):
                    options = download.Options(
                        lambda: flow.width + AHEAD, self._lease_grace, bell, on_waiting
                    )
                    await download.Download(patient, deliver, options, wanted).run()
            except dataplane.ExpiredError as expired:
                raise errors.Problem(errors.ACCESS_EXPIRED, expired.message) from None

    def _waits(self, entry: Read, why: str | None) -> None:
        entry.waiting = why
        entry.stir()

    @contextlib.contextmanager
    def _registered(self, entry: Read) -> Iterator[None]:
        """While the block lasts, a read is in progress; leaving it says how it ended."""
        self.live[entry.id] = entry
        self._announce("transfer", entry.id)
        try:
            yield
            entry.whole = True
        except errors.Problem as problem:
            entry.reason, entry.code = problem.message, problem.kind.code
            raise
        finally:
            if not entry.whole and entry.reason is None:
                entry.reason = "its client went away"
            del self.live[entry.id]
            entry.waiting = None
            entry.finished_at = units.to_micros(clock.now())
            self.bytes += entry.bytes
            self._on_end(entry)
            entry.stir()
            self._announce("transfer", entry.id)

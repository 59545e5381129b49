"""The spool: containers of what is on its way to a store elsewhere, and how much of the disk they may take.

A spool container is an ordinary captured container, called by its transfer's id. Its blocks are removed as
the store accepts them. When all of them together reach the limit, or the disk's free space its floor,
captures stop taking from their pipes: back-pressure reaches the producers, and nothing is lost.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import trio

from tygerd.blocks import boot, container, shipped, verify
from tygerd.stores import local

DIRECTORY = "spool"
"""Below the state directory."""

LOOK = 1.0
"""Seconds between looks at the free space: the kernel has no event for that."""

FULL = "the spool is full"
NO_ROOM = "the disk has less free space than the spool must leave ([spool] floor)"


class Spool:
    """All spool containers of a daemon. `used` tells the bytes in them that no store has accepted yet."""

    def __init__(self, state: str, *, limit: int, floor: int, used: Callable[[], int], sync: bool) -> None:
        self._store = local.LocalStore(state, DIRECTORY, sync=sync)
        self._path = os.path.join(state, DIRECTORY)
        self._limit = limit
        self._floor = floor
        self._used = used
        self._freed = trio.Event()

    async def start(self) -> None:
        """Make the directory."""
        await self._store.start()

    async def create(self, transfer_id: str) -> container.Container:
        """A new container. Raises Problem: STORAGE_FULL, IO_ERROR."""
        await self._store.create(transfer_id)
        return await self._store.open(transfer_id)

    async def open(self, transfer_id: str) -> container.Container:
        """One that is there. Raises Problem: NOT_FOUND."""
        return await self._store.open(transfer_id)

    async def delete(self, transfer_id: str) -> None:
        """Remove it with what is in it; one that is gone is left alone."""
        await self._store.delete(transfer_id)
        self.freed()

    async def sweep(self, known: set[str]) -> list[str]:
        """Remove containers of transfers that the catalog knows to be over; their ids."""
        rubbish = [name for name in await self._store.ids() if name not in known]
        for name in rubbish:
            await self._store.delete(name)
        return rubbish

    def freed(self) -> None:
        """A block has left: whoever waits for room looks again."""
        self._freed.set()
        self._freed = trio.Event()

    async def admit(self, size: int, say: Callable[[str | None], None]) -> None:
        """Wait until there is room for `size` more bytes.

        `say` is told why it waits, and None when it is over.

        A block that is larger than the whole limit is let in when the spool is empty.
        """
        waiting: str | None = None
        while (why := self._obstacle(size)) is not None:
            if why != waiting:
                waiting = why
                say(why)
            freed = self._freed
            with trio.move_on_after(LOOK):
                await freed.wait()
        if waiting is not None:
            say(None)

    def _obstacle(self, size: int) -> str | None:
        used = self._used()
        if used and used + size > self._limit:
            return FULL
        room = os.statvfs(self._path)  # microseconds: a local file system (`statdir` refuses others)
        if room.f_bavail * room.f_frsize - size < self._floor:
            return NO_ROOM
        return None


def check_after_boot(target: container.Container, *, sync: bool) -> str | None:
    """After a restart of the machine: why an ended stream cannot be trusted, None when it can; blocking.

    A container of this boot is trusted: its bytes are in the page cache, whatever became of the daemon.
    """
    if not boot.changed(target.path) or target.end() is None:
        return None
    mark = shipped.Shipped.open(target.path)
    try:
        bad = verify.first_bad_block(target, mark.number, may_be_missing=True)
    finally:
        mark.close()
    if bad is not None:
        return f"block {bad.number} was lost when the machine went down: {bad.why}"
    boot.remember(target.path, sync=sync)
    return None

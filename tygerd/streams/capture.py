"""Capture: from a pipe into block files, by splice and nothing else, and their sealing in order.

Theory of operation. A byte leaves the pipe only by being in the block's file, so the death of the daemon at
any instant neither loses nor repeats one. The trio task decides (which block, when to seal); one worker
thread at a time splices until the pipe is empty or the block is full; other threads take MD5s, and the chain
follows in block order. A block is sealed at the block size, one flush interval after its first byte, and at
once when the pipe is empty, a reader waits and no block is in flight. Never an empty block.
"""

from __future__ import annotations

import array
import contextlib
import errno
import fcntl
import os
import select
import termios
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Literal, NamedTuple

import trio

from tygerd.blocks import writer
from tygerd.osutil import statedir, workers
from tygerd.streams import hashing

LINGER = 0.005
"""Seconds that the splicing thread waits for more before it goes back to the scheduler: a steady producer
costs few thread hops, and a slow one no latency (the wait ends with a byte, and is skipped for readers)."""

IN_FLIGHT = 40
"""Blocks between capture and journal; bounds how far hashing may fall behind. They are files, not memory. Two
batches of sixteen that are hashed together, and some that are filled meanwhile."""

SYNCING = 4
"""Blocks of one capture that are being brought to the disk at a time, where that is asked for."""

FULL_DISK_PAUSE = 1.0
"""Seconds between attempts on a full disk: the kernel has no event for space that returns."""

NO_SPACE = "the disk is full"

_SPLICE = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK
FULL = (errno.ENOSPC, errno.EDQUOT)
"""The errors of a full disk: capture waits, and nothing is lost."""


class Spliced(NamedTuple):
    """What one stay in the thread did."""

    bytes: int
    eof: bool = False
    full_disk: bool = False


def splice_until_empty(pipe: int, file: int, offset: int, limit: int, linger: float) -> Spliced:
    """Splice up to `limit` bytes into `file` at `offset`, until the pipe stays empty for `linger` seconds.

    Blocking, in a worker thread. Raises OSError for anything but a full disk.
    """
    moved = 0
    poller: select.poll | None = None
    while moved < limit:
        try:
            count = os.splice(pipe, file, limit - moved, offset_dst=offset + moved, flags=_SPLICE)
        except BlockingIOError:
            if not linger:
                break
            if poller is None:
                poller = select.poll()
                poller.register(pipe, select.POLLIN)
            if not poller.poll(linger * 1000):
                break
            continue
        except OSError as error:
            if error.errno in FULL:
                return Spliced(moved, full_disk=True)
            raise
        if count == 0:
            return Spliced(moved, eof=True)
        moved += count
    return Spliced(moved)


class _Open(NamedTuple):
    """The block that is being filled."""

    number: int
    fd: int


class _Filled(NamedTuple):
    """Blocks that are hashed together, with their sizes; one at a time where each is synced."""

    together: hashing.Together
    blocks: list[tuple[_Open, int]]


class Capture:
    """Captures one pipe into one container.

    `bytes` and `blocks` count what is out of the pipe, `waiting` says in words for what it waits. `admit`,
    where given, is awaited before each block: it holds the stream back while a spool is full.

    The pipe's descriptor is the caller's, who closes it after `run` has returned.
    """

    def __init__(
        self,
        target: writer.Writer,
        pipe: int,
        *,
        block_size: int,
        flush_interval: float,
        hasher: hashing.Hasher,
        on_progress: Callable[[], None] = lambda: None,
        admit: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.bytes = target.sealed_bytes
        self.blocks = target.next_number
        self.waiting: str | None = None
        self._writer = target
        self._feed = target.container.feed
        self._pipe = pipe
        self._block_size = block_size
        self._flush_interval = flush_interval
        self._hasher = hasher
        self._on_progress = on_progress
        self._admit = admit
        self._idle: trio.CancelScope | None = None
        self._syncing = trio.CapacityLimiter(SYNCING)
        self._slots = trio.Semaphore(IN_FLIGHT)
        self._in_flight = 0
        self._filled: _Filled | None = None
        """What more blocks may join."""
        self._hashed: dict[int, tuple[int, bytes]] = {}
        """Sizes and MD5s of blocks that the journal does not name, as one before them is not hashed."""
        self._naming = False

    async def run(self) -> None:
        """Capture until end of file; then everything is sealed.

        Cancelled, it stops without a loss: bytes that are out of the pipe are in block files, sealed or not,
        and the thread has returned.

        Raises:
            OSError: reading the pipe or writing a file failed.
        """
        self._feed.on_wanted = self._wake
        try:
            async with _sealers() as sealers:
                await self._fill_blocks(sealers)
        finally:
            self._feed.on_wanted = None

    async def take_rest(self) -> None:
        """Take what is in the pipe now, and no more: for a producer whose client is gone.

        Instead of `run`, not after it: a capture that was cancelled is followed by a recovered writer.
        """
        rest = await workers.run(lambda: pending(self._pipe))
        async with _sealers() as sealers:
            while rest:
                block = await self._open_next()
                with self._owned(block) as owned:
                    got = await self._splice(block, 0, min(rest, self._block_size), 0)
                    rest -= got.bytes
                    if got.bytes:
                        owned.pop_all()
                        await self._seal(sealers, block, got.bytes)
                if not got.bytes or got.eof:
                    return

    # --- filling -----------------------------------------------------------------------------------------

    async def _fill_blocks(self, sealers: trio.Nursery) -> None:
        eof = False
        while not eof:
            if (found := look(self._pipe)) is None:
                await trio.lowlevel.wait_readable(self._pipe)
                continue
            if found == "ended":
                break  # for that no room is needed
            block = await self._open_next()
            with self._owned(block) as owned:
                size, eof = await self._fill(block)
                if size:
                    owned.pop_all()
                    await self._seal(sealers, block, size, last=eof)
                else:
                    self._writer.drop_empty(block.number)
        self._hasher.hurry()

    @contextlib.contextmanager
    def _owned(self, block: _Open) -> Iterator[contextlib.ExitStack]:
        """Close a block's file and give back its slot, unless `pop_all` hands both over."""
        with contextlib.ExitStack() as stack:
            stack.callback(self._slots.release)
            stack.callback(os.close, block.fd)
            yield stack

    async def _fill(self, block: _Open) -> tuple[int, bool]:
        """Fill one block until it should be sealed; its size, and whether the pipe has ended."""
        size = 0
        deadline = float("inf")
        while True:
            linger = 0 if self._feed.waiting else min(LINGER, max(0.0, deadline - trio.current_time()))
            got = await self._splice(block, size, self._block_size - size, linger)
            if got.bytes and not size and self._flush_interval > 0:
                deadline = trio.current_time() + self._flush_interval
            size += got.bytes
            if got.bytes:
                self._on_progress()
            if got.eof or size == self._block_size or trio.current_time() >= deadline:
                return size, got.eof
            if got.full_disk:
                if size:
                    return size, False  # readers get what there is
                await self._wait_for_space()
                continue
            if size and self._wanted():
                return size, False
            with trio.move_on_at(deadline):
                await self._wait_readable()

    async def _splice(self, block: _Open, size: int, limit: int, linger: float) -> Spliced:
        got = await workers.run(lambda: splice_until_empty(self._pipe, block.fd, size, limit, linger))
        self.bytes += got.bytes
        return got

    def _wanted(self) -> bool:
        """Whether a reader waits for the bytes of an unfinished block."""
        return self._feed.waiting > 0 and self._in_flight == 0

    async def _wait_readable(self) -> None:
        """Wait for the pipe, or until a reader begins to wait or the last block in flight is sealed."""
        with trio.CancelScope() as self._idle:
            await trio.lowlevel.wait_readable(self._pipe)
        self._idle = None

    def _wake(self) -> None:
        self._hasher.hurry()
        if self._idle is not None and self._in_flight == 0:
            self._idle.cancel()

    async def _wait_for_space(self, *, reserved: bool = False) -> None:
        """Wait before the next attempt. Only what is `reserved` gets the room that the reserve gave up."""
        self.waiting = NO_SPACE
        self._on_progress()
        while True:
            await trio.sleep(FULL_DISK_PAUSE)
            if reserved or statedir.has_room(self._writer.container.path):
                break
        self.waiting = None
        self._on_progress()

    async def _open_next(self) -> _Open:
        """The file of the next block. Files are made only when there is something to put in them."""
        if self._admit is not None:
            await self._admit()
        try:
            self._slots.acquire_nowait()
        except trio.WouldBlock:
            await self._slots.acquire()
        number = self.blocks
        while True:
            if statedir.has_room(self._writer.container.path):  # the last of it isn't for streams
                try:
                    return _Open(number, self._writer.block_file(number))
                except OSError as error:
                    if error.errno not in FULL:
                        raise
            await self._wait_for_space()

    # --- sealing -----------------------------------------------------------------------------------------

    async def _seal(self, sealers: trio.Nursery, block: _Open, size: int, *, last: bool = False) -> None:
        """Hash a filled block and name it in the journal, after those before it. Owns the descriptor."""
        self.blocks += 1
        self._in_flight += 1
        if size <= hashing.SMALL and block.number == self._writer.next_number and not self._writer.sync:
            try:
                self._hashed[block.number] = size, self._writer.digest(block.fd, size)
            finally:
                os.close(block.fd)
            await self._name_hashed()
            return
        filled = self._filled
        if filled is not None and self._hasher.join(filled.together, block.fd, size):
            filled.blocks.append((block, size))
            return
        patience = hashing.GATHER if last or self._feed.waiting else hashing.PATIENCE
        filled = _Filled(hashing.Together(patience), [(block, size)])
        self._hasher.join(filled.together, block.fd, size)
        self._filled = None if self._writer.sync else filled
        sealers.start_soon(self._hash_and_seal, filled)

    async def _hash_and_seal(self, filled: _Filled) -> None:
        try:
            md5s = await self._hasher.digests(filled.together)
            if self._writer.sync:
                for block, _ in filled.blocks:
                    await trio.to_thread.run_sync(os.fdatasync, block.fd, limiter=self._syncing)
        finally:
            for block, _ in filled.blocks:
                os.close(block.fd)
        for (block, size), md5 in zip(filled.blocks, md5s, strict=True):
            self._hashed[block.number] = size, md5
        if not self._naming:  # else whoever does it takes these, too
            await self._name_hashed()

    async def _name_hashed(self) -> None:
        """Name in the journal what comes next there, as far as it is hashed."""
        self._naming = True
        try:
            while found := self._hashed.pop(self._writer.next_number, None):
                await self._name(self._writer.next_number, *found)
                self._in_flight -= 1
                self._slots.release()
                self._feed.notify()
                self._on_progress()
        finally:
            self._naming = False

    async def _name(self, number: int, size: int, md5: bytes) -> None:
        while True:
            try:
                self._writer.seal(number, size, md5)
            except OSError as error:
                if error.errno not in FULL:
                    raise
            else:
                return
            await self._wait_for_space(reserved=True)


@contextlib.asynccontextmanager
async def _sealers() -> AsyncIterator[trio.Nursery]:
    """A nursery whose OSError comes out as itself: the first thing that went wrong."""
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
    except ExceptionGroup as group:
        failures, others = group.split(OSError)
        if others is not None or failures is None:
            raise
        first: BaseException = failures
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from None


def pending(pipe: int) -> int:
    """Bytes in a pipe now. Blocks while somebody else holds the pipe's lock, as `splice` and `close` do."""
    count = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]


def look(pipe: int) -> Literal["bytes", "ended"] | None:
    """What is in a pipe now: bytes, its end, as nobody can put anything in any more, or neither."""
    poller = select.poll()
    poller.register(pipe, select.POLLIN)
    for _, events in poller.poll(0):
        return "bytes" if events & select.POLLIN else "ended"
    return None

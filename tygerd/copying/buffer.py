"""One buffer from one data plane to another, blob by blob, under the same names and with the same metadata.

Theory of operation. Only a stream that has ended is copied. Blocks travel side by side; each one's MD5 was
compared on the way in and is compared by the store that takes it. The hash chain is checked over all of them
before the end marker is written, so that what is whole at the destination is what was whole at the source. A
block that is there already, from a copy that was cut short, is left when it has the same MD5.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import trio

from tyger import errors
from tygerd.blocks import chain, container, names
from tygerd.osutil import nurseries
from tygerd.stores import dataplane, retrying
from tygerd.streams import memory

MEMORY = 32 * 1024 * 1024
"""Bytes that blocks of one buffer may take; one that is larger is held alone (`Copy`)."""

MARKER = 64 * 1024
"""Bytes of a marker that are taken: a server must not decide how much memory we take."""

MOST_AT_ONCE = 16
"""Blocks of one buffer under way at most; the link says how many are useful."""


class UnfinishedError(errors.Problem):
    """The buffer has no end yet: there is nothing that could be called a copy of it."""

    def __init__(self, *, started: bool) -> None:
        message = "it is still being written" if started else "nothing was ever written to it"
        super().__init__(errors.CONFLICT, message)


class Copied(NamedTuple):
    """What was copied. `status` is the stream's end; `bytes` counts what the buffer holds."""

    status: container.End
    blocks: int
    bytes: int


class _HugeError(errors.Problem):
    """A block is larger than all the memory, and it is not its turn."""

    def __init__(self) -> None:
        super().__init__(errors.TRY_AGAIN, "there is no memory for the block yet")


class _Block(NamedTuple):
    length: int
    md5: bytes
    chain: str | None


class Copy:
    """Copies one buffer once; `width` says how many blocks are usefully under way at once.

    `prepare` is called once it is certain that there is something to copy, before anything is written.
    Copies that go on side by side share `huge`: one block larger than `most` bytes is held at a time.
    """

    def __init__(
        self,
        source: retrying.Retrying,
        target: retrying.Retrying,
        width: Callable[[], int],
        huge: trio.Lock | None = None,
        prepare: Callable[[], Awaitable[None]] | None = None,
        *,
        most: int = MEMORY,
    ) -> None:
        self._source = source
        self._target = target
        self._width = width
        self._huge = huge or trio.Lock()
        self._prepare = prepare
        self._most = most
        self._memory = memory.Memory(most)
        self._blocks: dict[int, _Block] = {}
        self._next = 0
        self._oldest = 0
        """The first block that is not copied: it always gets memory, so that things move."""
        self._end: int | None = None
        """How many blocks there are; None while nobody knows."""
        self._moved = trio.Event()

    async def run(self) -> Copied:
        """Copy everything, the end marker last; cancelled or failed, the destination has no end marker.

        Raises:
            Problem: UnfinishedError; NOT_FOUND, there is no such buffer; CORRUPT, the source is damaged;
                CONFLICT, the destination holds something else; what a data plane said.
        """
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._source.guard)
                nursery.start_soon(self._target.guard)
                copied = await self._copy()
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise nurseries.outcome(group) from None
        return copied

    async def _copy(self) -> Copied:
        end, start = await self._marker(names.END), await self._marker(names.START)
        if end is None:
            raise UnfinishedError(started=start is not None)
        status = _status(end)
        if self._prepare is not None:
            await self._prepare()
        if start is not None:
            await self._put(names.START, start, _md5(start), {})
            await self._copy_blocks()
        elif status == "complete":
            raise errors.Problem(errors.CORRUPT, "the buffer has an end but no start: it is not whole")
        self._verify(status)
        await self._put(names.END, end, _md5(end), {})
        size = sum(block.length for block in self._blocks.values())
        return Copied(status, sum(block.length > 0 for block in self._blocks.values()), size)

    async def _copy_blocks(self) -> None:
        # As many workers as can ever be useful; those beyond the present width wait for their turn.
        async with trio.open_nursery() as nursery:
            for worker in range(MOST_AT_ONCE):
                nursery.start_soon(self._work, worker)

    async def _work(self, worker: int) -> None:
        while self._end is None or self._next < self._end:
            if worker >= max(1, self._width()):
                await self._moved.wait()
                continue
            number = self._next
            self._next += 1
            await self._copy_block(number)
            moved, self._moved = self._moved, trio.Event()
            moved.set()

    async def _copy_block(self, number: int) -> None:
        """Copy one block, or learn that there is none."""
        try:
            await self._copy_one(number, may_be_huge=False)
        except _HugeError:
            async with self._huge:
                await self._copy_one(number, may_be_huge=True)

    async def _copy_one(self, number: int, *, may_be_huge: bool) -> None:
        name = names.block_name(number)
        view = memoryview(b"")

        def take(length: int) -> memoryview:
            nonlocal view
            view.release()
            view = memoryview(b"")
            is_next = number == self._oldest
            if is_next and length > self._most and not may_be_huge:
                raise _HugeError
            view = self._memory.take(number, length, is_next=is_next)
            return view

        while True:
            moved = self._moved
            try:
                found = await self._source.get(name, take)
                break
            except dataplane.BlobNotFoundError:
                self._ends(number)
                return
            except memory.NoRoomError:
                await moved.wait()
            except dataplane.Md5MismatchError:
                raise errors.Problem(
                    errors.CORRUPT, f"block {number} is damaged at the source: its MD5 does not match"
                ) from None
        md5 = base64.b64decode(found.md5 or "")
        meta = {} if found.chain is None else {container.CHAIN_KEY: found.chain}
        await self._put(name, bytes(view[: found.length]), md5, meta)
        view.release()
        self._memory.give_back(number)
        self._blocks[number] = _Block(found.length, md5, found.chain)
        while self._oldest in self._blocks:
            self._oldest += 1
        if found.length == 0:
            self._ends(number + 1)

    def _ends(self, count: int) -> None:
        self._end = count if self._end is None else min(self._end, count)

    def _verify(self, status: container.End) -> None:
        """Check that nothing is missing, and the chain over it all.

        Raises:
            Problem: CORRUPT.
        """
        value, count = chain.INITIAL, self._end or 0
        for number in range(count):
            block = self._blocks[number]
            value = chain.following(value, block.md5)
            if block.chain != value:
                message = f"block {number} does not continue the hash chain at the source"
                raise errors.Problem(errors.CORRUPT, message)
        if status == "complete" and (count == 0 or self._blocks[count - 1].length):
            raise errors.Problem(errors.CORRUPT, f"block {count} is missing at the source")

    # --- blobs -------------------------------------------------------------------------------------------

    async def _marker(self, name: str) -> bytes | None:
        """The text of a marker; None where there is none."""
        data = bytearray()

        def take(length: int) -> memoryview:
            if length > MARKER:
                raise errors.Problem(errors.CORRUPT, f"{name} has {length} bytes, which no marker has")
            data[:] = bytes(length)
            return memoryview(data)

        try:
            await self._source.get(name, take)
        except dataplane.BlobNotFoundError:
            return None
        return bytes(data)

    async def _put(self, name: str, body: bytes, md5: bytes, meta: dict[str, str]) -> None:
        """Create a blob at the destination, or find the same one there."""
        try:
            await self._target.put(name, body, md5, meta)
        except (dataplane.ExistsError, dataplane.NotPermittedError) as refusal:
            try:
                there = await self._target.head(name)
            except dataplane.BlobNotFoundError:
                raise refusal from None
            if there.md5 != base64.b64encode(md5).decode():
                message = f"the destination holds another buffer of this id: {name} differs"
                raise errors.Problem(errors.CONFLICT, message) from None


def _status(marker: bytes) -> container.End:
    """What an end marker says.

    Raises:
        Problem: CORRUPT.
    """
    try:
        status = json.loads(marker)["status"]
    except (ValueError, KeyError, TypeError, RecursionError):
        status = None
    if not isinstance(status, str) or status not in container.END_MARKERS:
        raise errors.Problem(errors.CORRUPT, "the buffer's end marker makes no sense")
    return "complete" if status == "complete" else "failed"


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()

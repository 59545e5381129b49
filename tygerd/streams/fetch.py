"""Fetch: verified blocks of a container, in order, from any byte on, waiting for what is not yet written.

Blocks are opened and hashed ahead in worker threads, at most `AHEAD` of them. MD5 and chain are checked
before a byte leaves, and bytes leave in order. A reader of our own store sleeps on the container's feed:
nobody polls.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import NamedTuple

import trio

from tyger import errors
from tygerd.blocks import chain, container, journal
from tygerd.streams import hashing
from tygerd.streams import span as spans

AHEAD = 8
"""Blocks that may be open and hashed, or being hashed, beyond the one that is being delivered."""


class Piece(NamedTuple):
    """Verified bytes: `length` bytes of the open file `fd` from `offset` on."""

    fd: int
    offset: int
    length: int


class _Checked:
    """A block whose MD5 is being taken. Owns the file; `problem` is set when it is not what it should be."""

    def __init__(self, block: container.Block) -> None:
        self.block = block
        self.fd = -1
        self.done = trio.Event()
        self.problem: errors.Problem | None = None

    def check_now(self) -> None:
        """Open and hash, blocking: for a small block."""
        with self._judging():
            if self._open():
                self._compare(chain.file_md5(self.fd, self.block.length))

    async def check(self, hasher: hashing.Hasher) -> None:
        """Open and hash. Cancelled, the file is not in use any more."""
        with self._judging():
            if self._open():
                self._compare(await hasher.digest(self.fd, self.block.length))
        self.done.set()

    def _open(self) -> bool:
        if self.block.path is None:
            return False
        self.fd = os.open(self.block.path, os.O_RDONLY | os.O_CLOEXEC)
        return True

    def _compare(self, md5: bytes) -> None:
        if md5 != self.block.md5:
            self.problem = _corrupt(self.block.number, "MD5 mismatch")

    @contextlib.contextmanager
    def _judging(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, FileNotFoundError):
            self.problem = _corrupt(self.block.number, "its file is shorter than its journal says")
        except OSError as error:
            message = f"block {self.block.number} cannot be read: {error.strerror}"
            self.problem = errors.Problem(errors.IO_ERROR, message)

    def close(self) -> None:
        """Close the file. Idempotent."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class Fetch:
    """Delivers one stream, from `skip` bytes into block `number` on. Made by `reading`."""

    def __init__(
        self,
        source: container.Container,
        nursery: trio.Nursery,
        hasher: hashing.Hasher,
        number: int,
        skip: int,
        wanted: spans.Span,
        on_waiting: Callable[[bool], None],
    ) -> None:
        self._source = source
        self._nursery = nursery
        self._hasher = hasher
        self._left = wanted.length
        self._follow = wanted.follow
        self._on_waiting = on_waiting
        self._number = number
        self._skip = skip
        previous = source.block(number - 1) if number else None
        self._chain = previous.chain if previous else chain.INITIAL
        self._ahead: deque[_Checked] = deque()
        self._current: _Checked | None = None
        self._ended = False

    async def next(self) -> Piece | None:
        """The next verified bytes, valid until the next call; None at the end.

        Waits for blocks that are not yet written. Cancellation loses nothing: ask again.

        Raises:
            Problem: BUFFER_FAILED, CORRUPT, NOT_FOUND (deleted meanwhile), IO_ERROR; what was before it has
                been delivered.
        """
        while True:
            self._release()
            if self._ended or self._left == 0:
                return None
            await self._look_ahead()
            if not self._ahead:
                return None
            checked = self._ahead[0]
            await checked.done.wait()
            self._current = self._ahead.popleft()
            self._verify_chain(checked)
            length = checked.block.length
            if length == 0:
                self._ended = True
                return None
            skip = min(self._skip, length)
            self._skip -= skip
            count = length - skip if self._left is None else min(length - skip, self._left)
            if count:
                if self._left is not None:
                    self._left -= count
                return Piece(checked.fd, skip, count)

    def close(self) -> None:
        """Close every descriptor; nothing may be under way (see `reading`)."""
        self._release()
        for checked in self._ahead:
            checked.close()

    def _release(self) -> None:
        if self._current is not None:
            self._current.close()
            self._current = None

    async def _look_ahead(self) -> None:
        """Begin to check the blocks that are there; wait for one if there is none and it is wanted."""
        while len(self._ahead) <= AHEAD and not (self._ahead and self._ahead[-1].block.length == 0):
            event = self._source.feed.next()
            block = self._next_block()
            if block is None:
                if self._ahead or not self._follow:
                    return
                self._on_waiting(True)
                await self._source.feed.wait(event)
                self._on_waiting(False)
                continue
            self._number += 1
            checked = _Checked(block)
            self._ahead.append(checked)
            if block.length <= hashing.SMALL:
                checked.check_now()
                checked.done.set()
            else:
                self._nursery.start_soon(checked.check, self._hasher)

    def _next_block(self) -> container.Block | None:
        """The next block, None while it is not there. Journal records come from the page cache: no thread."""
        end = self._source.end()  # before the block: what is missing after the end was seen stays missing
        try:
            block = self._source.block(self._number)
        except journal.DamagedError as error:
            if self._ahead:
                return None
            raise errors.Problem(errors.CORRUPT, str(error)) from error
        if block is not None or self._ahead:
            return block
        if self._source.deleted:
            raise errors.not_found()
        if end == "failed":
            reason = self._source.failure()
            message = "the buffer is in a permanently failed state" + (f": {reason}" if reason else "")
            raise errors.Problem(errors.BUFFER_FAILED, message)
        if end == "complete":
            raise _corrupt(self._number, "it was expected to exist but does not")
        return None

    def _verify_chain(self, checked: _Checked) -> None:
        if checked.problem:
            raise checked.problem
        block = checked.block
        if block.length == 0:
            return
        if block.chain is None or self._chain is None:
            raise _corrupt(block.number, "it has no hash chain")
        if chain.following(self._chain, block.md5) != block.chain:
            raise _corrupt(block.number, "hash chain mismatch")
        self._chain = block.chain


def _corrupt(number: int, why: str) -> errors.Problem:
    return errors.Problem(errors.CORRUPT, f"block {number} is damaged and was not delivered: {why}")


@contextlib.asynccontextmanager
async def reading(
    source: container.Container,
    *,
    hasher: hashing.Hasher,
    wanted: spans.Span = spans.Span(),  # noqa: B008 - immutable
    on_waiting: Callable[[bool], None] = lambda _: None,
) -> AsyncIterator[Fetch]:
    """A `Fetch`; leaving the block waits for the threads under way and closes every descriptor.

    The span's hint is not needed: the journal finds any byte. `on_waiting` is told when the fetch begins
    (True) and ends (False) to wait for its writer.
    """
    offset = wanted.offset
    if offset:
        number, start = await trio.to_thread.run_sync(source.find, offset)
    else:
        number = start = 0
    failure: Exception | None = None
    with contextlib.ExitStack() as stack:
        async with trio.open_nursery() as nursery:
            fetch = Fetch(source, nursery, hasher, number, offset - start, wanted, on_waiting)
            stack.callback(fetch.close)  # after the nursery, and also where the reader was cancelled
            try:
                yield fetch
            except Exception as error:  # noqa: BLE001 - raised again below, without the nursery's wrapping
                failure = error
            finally:
                nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure

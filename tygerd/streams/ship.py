"""Ship: from a captured container to a data plane, block by block, while it is still being captured.

Theory of operation. The spool is an ordinary captured container; its journal is the queue, and a block's file
is its place in it: the file is unlinked when the data plane has the block. A low-water mark
(`blocks.shipped`) says below which block nothing has to be looked at again, so that a ship of any length goes
on at once after a restart. Blocks leave in parallel; `.bufferstart` goes before the first, `.bufferend` after
the last, and says what the container's own end says. It wakes on the container's feed but is no reader: a
shipper that waits must not make capture cut small blocks. Retries, turns on the link, and renewal of the
access URL are `stores.retrying`'s.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import logging
import os
from collections.abc import Callable, Mapping

import trio

from tyger import errors
from tygerd.blocks import container, journal, names, shipped
from tygerd.osutil import nurseries, workers
from tygerd.stores import dataplane, retrying

LAST_WORDS = 3.0
"""Seconds that marking the remote buffer as failed may take (contract buffers.md 7.2)."""

WRITER_KEY = "tyger_writer"
"""Metadata of `.bufferstart`: the UUID of whoever writes this stream. After a lost reply, or a restart, it
tells our own buffer from another's."""

_CLEAR = (
    dataplane.ContainerNotFoundError,
    dataplane.ExistsError,
    dataplane.ExpiredError,
    dataplane.TransientError,
)
"""What needs no block's number to be understood, and is told apart by those above."""

_log = logging.getLogger(__name__)


class Ship:
    """Ships one container. `accepted` and `accepted_bytes` count blocks that the data plane has.

    `begun` is set once the start marker is there and ours. `mark` is where an earlier ship of this container
    stopped; without one, shipping begins at block 0. `on_accepted` is called after each block.

    With `last_words`, whoever ships is all there is: cancelled or failed, it has so many seconds to mark the
    remote buffer as failed. Without (None), the container outlives it, and another ship goes on: then only
    what the container's own end says is told, however long that takes.
    """

    def __init__(
        self,
        source: container.Container,
        remote: retrying.Retrying,
        *,
        dop: int,
        last_words: float | None = LAST_WORDS,
        mark: shipped.Shipped | None = None,
        on_accepted: Callable[[], None] = lambda: None,
    ) -> None:
        self.begun = trio.Event()
        self.accepted = mark.number if mark else 0
        self.accepted_bytes = mark.bytes if mark else 0
        self._first = self.accepted
        self._slots = trio.CapacityLimiter(dop)
        self._source = source
        self._remote = remote
        self._last_words = last_words
        self._mark = mark
        self._on_accepted = on_accepted
        self._progress = trio.Event()
        self._beginning = False
        """Whether the start marker was sent and nobody knows whether it is there."""

    async def run(self) -> container.End:
        """Ship until the container has ended and the data plane has all of it; how it ended.

        What was not accepted stays in the spool, whatever happens.

        Raises:
            Problem: what stopped it.
        """
        unfinished = False
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._remote.guard)
                nursery.start_soon(self._watch_for_failure, nursery.cancel_scope)
                await self._begin(self._remote)
                unfinished = True
                async with trio.open_nursery() as sending:
                    await self._send_blocks(sending)
                unfinished = False
                await self._complete()
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise nurseries.outcome(group) from None
        finally:
            if (unfinished or self._beginning) and self._last_words is not None:
                await self.mark_failed(self._last_words)
        if self._source.end() != "failed":
            return "complete"
        return "failed" if self._last_words is not None else await self.tell_failure()

    async def wait_for_room(self, blocks: int) -> None:
        """Wait until fewer than `blocks` sealed blocks are in the spool. Cancellation leaves nothing behind.

        Awaited by the capture before each block it bounds the spool: back-pressure reaches the producer.
        """
        while True:
            progress = self._progress
            if self._sealed() - self.accepted < blocks:
                return
            await progress.wait()

    def _sealed(self) -> int:
        book = self._source.book()
        return book.count if book else 0

    # --- markers -----------------------------------------------------------------------------------------

    async def _begin(self, remote: retrying.Retrying) -> None:
        """Write the start marker, unless it is there and ours.

        Raises:
            Problem: ExistsError, another writer was first; or the data plane can't be written to.
        """
        event = self._source.feed.next()
        while (book := self._source.book()) is None:
            # A daemon was killed, or the machine went down, before the journal was there: capture makes it.
            await event.wait()
            event = self._source.feed.next()
        writer = book.header.writer.hex()
        try:
            found = await remote.head(names.START)
        except (dataplane.ContainerNotFoundError, dataplane.ExpiredError, dataplane.TransientError):
            raise
        except errors.Problem:
            # Nobody has begun; or we can't look, and the PUT will tell (contract buffers.md 7.2).
            self._beginning = True
            await self._put(remote, names.START, container.START_MARKER, {WRITER_KEY: writer})
            self._beginning = False
        else:
            if found.meta.get(WRITER_KEY) != writer:
                raise dataplane.ExistsError
        self.begun.set()

    async def _complete(self) -> None:
        """Write the end marker. The empty last block is there, and that is what makes the stream whole.

        Raises:
            Problem: BUFFER_FAILED, somebody has marked the buffer as failed: that is what readers are told.
        """
        try:
            await self._put(self._remote, names.END, container.END_MARKERS["complete"], {})
        except dataplane.TransientError:
            if self._last_words is None:
                raise  # there is time to try again
            _log.warning("failed to upload optional metadata at the end of the transfer")
        except dataplane.ExistsError:
            message = "the buffer was marked as failed by somebody else while it was being written"
            raise errors.Problem(errors.BUFFER_FAILED, message) from None
        except errors.Problem as problem:
            _log.warning("failed to upload optional metadata at the end of the transfer: %s", problem)

    async def tell_failure(self) -> container.End:
        """Say that the stream has failed, for as long as it takes: readers must not wait for it.

        A buffer that was not begun is begun first, unless it is another writer's. Returns how it has ended:
        `complete` where the store had all of it, and its end, before somebody changed his mind.

        Raises:
            Problem: it can't be told.
        """
        fresh = self._remote.again()
        told: container.End = "failed"
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fresh.guard)
                try:
                    await self._begin(fresh)
                    told = await self._fail(fresh)
                except (dataplane.ExistsError, dataplane.NotPermittedError, dataplane.ContainerNotFoundError):
                    _log.info("the buffer is not ours to be marked as failed, or has its end already")
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise nurseries.outcome(group) from None
        return told

    async def _fail(self, remote: retrying.Retrying) -> container.End:
        try:
            await self._put(remote, names.END, container.END_MARKERS["failed"], {})
        except dataplane.ExistsError:
            last, _ = self._source.find(1 << 63)
            if self._block(last) is None:  # not the empty one: it was never whole
                raise
            await self._verify(remote, names.END, _md5(container.END_MARKERS["complete"]), {})
            return "complete"
        return "failed"

    async def mark_failed(self, seconds: float) -> None:
        """Say that the stream will never be whole, on connections of its own. Best effort: never raises."""
        fresh = self._remote.again(retrying.Policy(deadline=seconds))
        marker = container.END_MARKERS["failed"]
        why: errors.Problem | str = f"no answer within {seconds:g} s"
        with trio.move_on_after(seconds, shield=True):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fresh.guard)
                try:
                    if not self._beginning or await self._has_begun(fresh):
                        await fresh.put(names.END, marker, _md5(marker), {})
                except dataplane.ExistsError:
                    why = ""  # it has its end, whoever said so
                except errors.Problem as problem:
                    why = problem
                else:
                    why = ""
                nursery.cancel_scope.cancel()
        if why:
            _log.warning("the buffer could not be marked as failed: %s", why)

    async def _has_begun(self, remote: retrying.Retrying) -> bool:
        """Whether a start marker is there and ours: the reply to ours may have been lost."""
        book = self._source.book()
        try:
            found = await remote.head(names.START)
        except dataplane.BlobNotFoundError:
            return False
        return book is not None and found.meta.get(WRITER_KEY) == book.header.writer.hex()

    async def _watch_for_failure(self, scope: trio.CancelScope) -> None:
        """Stop sending when the container fails, even while every slot waits for a silent server."""
        while True:
            event = self._source.feed.next()
            if self._source.end() == "failed":
                scope.cancel()
            await event.wait()

    # --- blocks ------------------------------------------------------------------------------------------

    async def _send_blocks(self, nursery: trio.Nursery) -> None:
        """Start to send every block, the empty last one too; they are accepted when the nursery has ended."""
        number = self._first
        if number and (last := self._block(number - 1)) is not None and last.length == 0:
            return  # an earlier ship sent everything, and was stopped before the end marker
        while True:
            event = self._source.feed.next()
            block = self._block(number)
            if block is None:
                await event.wait()
                continue
            number += 1
            try:
                self._slots.acquire_on_behalf_of_nowait(block)
            except trio.WouldBlock:
                await self._slots.acquire_on_behalf_of(block)
            nursery.start_soon(self._send, block)
            if block.length == 0:
                return

    def _block(self, number: int) -> container.Block | None:
        try:
            return self._source.block(number)
        except journal.DamagedError as error:
            raise errors.Problem(errors.CORRUPT, f"the spool is damaged: {error}") from error
        except OSError as error:
            raise errors.Problem(errors.IO_ERROR, f"the spool cannot be read: {error.strerror}") from error

    async def _send(self, block: container.Block) -> None:
        """Send one block and free its place in the spool; gives its slot back."""
        name = names.block_name(block.number)
        meta = {container.CHAIN_KEY: block.chain or ""}
        try:
            if block.path is None:
                await self._put_verified(self._remote, name, b"", block.md5, meta)
            elif os.path.exists(block.path):  # noqa: ASYNC240 - a stat of a file we wrote a moment ago
                body = dataplane.File(block.path, block.length)
                unlink = functools.partial(_unlink, block.path)
                await self._put_verified(self._remote, name, body, block.md5, meta, unlink)
            else:  # an earlier process of ours unlinked it because it got through
                await self._verify(self._remote, name, block.md5, meta)
        except _CLEAR:
            raise
        except dataplane.BlobNotFoundError:
            message = f"block {block.number} is neither in the spool nor at the store: it is lost"
            raise errors.Problem(errors.CORRUPT, message) from None
        except errors.Problem as problem:
            raise errors.Problem(problem.kind, f"cannot send block {block.number}: {problem}") from problem
        finally:
            self._slots.release_on_behalf_of(block)
        if self._mark:
            with contextlib.suppress(
                OSError
            ):  # it says less than it could, and with the next block all of it
                self._mark.accepted(block.number, block.length)
        self.accepted += 1
        self.accepted_bytes += block.length
        self._progress.set()
        self._progress = trio.Event()
        self._on_accepted()

    async def _put(
        self, remote: retrying.Retrying, name: str, marker: bytes, meta: Mapping[str, str]
    ) -> None:
        await self._put_verified(remote, name, marker, _md5(marker), meta)

    async def _put_verified(
        self,
        remote: retrying.Retrying,
        name: str,
        body: dataplane.Body,
        md5: bytes,
        meta: Mapping[str, str],
        then: Callable[[], None] = lambda: None,
    ) -> None:
        """Write a blob. Refused as already there, it may be ours: an earlier attempt whose reply was lost.

        `then` is called in a worker thread once it is there.
        """
        try:
            await remote.put(name, body, md5, meta, then)
        except (dataplane.ExistsError, dataplane.NotPermittedError) as refusal:
            try:
                await self._verify(remote, name, md5, meta)
            except (dataplane.BlobNotFoundError, dataplane.NotPermittedError):
                raise refusal from None
            await workers.run(then)

    async def _verify(
        self, remote: retrying.Retrying, name: str, md5: bytes, meta: Mapping[str, str]
    ) -> None:
        """Compare the blob that is there with ours.

        Raises:
            ExistsError: it is another one.
        """
        found = await remote.head(name)
        same = found.md5 == base64.b64encode(md5).decode()
        if not same or any(found.meta.get(key) != value for key, value in meta.items()):
            raise dataplane.ExistsError


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:  # its whole container may have been removed
        pass
    except OSError as error:  # it goes with the rest of the spool
        _log.warning("a block that was sent stays in the spool: %s", error)


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()

"""Download: a buffer from a data plane, verified and in order, while it may still be being written.

Theory of operation. `window` decides which blocks to ask for; tasks ask, each in a worker thread at a time.
Length, MD5 and hash chain are checked before a byte leaves. The stream ends at the empty block; `.bufferend`
is watched beside it, for a failure and to know that what is missing stays missing (contract buffers.md 8).
While nothing comes, the writer's lease on `.bufferstart` tells whether anybody is still there to write: a
plain store has no events. Where the writer is in this process, its bell saves the polling.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import trio

from tyger import errors
from tygerd.blocks import chain, container, names
from tygerd.osutil import nurseries
from tygerd.stores import dataplane, retrying
from tygerd.streams import memory, window
from tygerd.streams import span as spans

END_POLL = 5.0
"""Seconds between looks for the end marker, and for the writer's lease while nothing comes."""

SEEKING = 16
"""Blocks whose lengths are asked for at once, by a reader that does not begin at the beginning."""

MEMORY = 256 * 1024 * 1024
"""Bytes that blocks which are asked for, or wait for their turn, may take: fewer large ones at once."""

MARKER = 64 * 1024
"""Bytes of a marker that are taken: a server must not decide how much memory a reader takes."""

WRITER = "its writer"
AWAY = "its writer is away: its lease has expired"

_log = logging.getLogger(__name__)

Deliver = Callable[[memoryview], Awaitable[None]]
"""Takes verified bytes, valid until it returns."""

Bell = Callable[[], trio.Event | None]
"""The event of the next block of a writer in this process; None while there is no such writer."""


class Options(NamedTuple):
    """What a download may be told besides where to.

    `width` says how many blocks to ask for at once. `lease_grace` is how many seconds after its lease has
    expired a writer counts as dead. `on_waiting` is told for what the reader waits, and None when bytes come.
    `memory` is in bytes.
    """

    width: Callable[[], int]
    lease_grace: float = float("inf")
    bell: Bell = lambda: None
    on_waiting: Callable[[str | None], None] = lambda _: None
    memory: int = MEMORY


class Download:
    """Downloads one buffer once. `bytes` and `blocks` count what was delivered."""

    def __init__(
        self,
        remote: retrying.Retrying,
        deliver: Deliver,
        options: Options,
        wanted: spans.Span = spans.Span(),  # noqa: B008 - immutable
    ) -> None:
        self.bytes = 0
        self.blocks = 0
        self._remote = remote
        self._deliver = deliver
        self._options = options
        self._wanted = wanted
        self._left = wanted.length
        self._skip = 0
        """Bytes at the beginning of the next block that nobody wants."""
        self._window = window.Window(1)
        self._chain = chain.INITIAL
        self._ended = False
        self._waiting = False
        self._came = trio.Event()
        self._delivered = trio.Event()
        self._memory = memory.Memory(options.memory)

    async def run(self) -> None:
        """Deliver what is wanted; waits for what is not yet written, unless that isn't wanted.

        Cancelled, requests under way are broken off; what was delivered is the beginning of the stream.

        Raises:
            Problem: BUFFER_FAILED, CORRUPT, NOT_FOUND (no such buffer), or what the data plane said. What was
                delivered before is verified.
            Anything that `deliver` raises.
        """
        delivered = False
        failure: Exception | None = None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._remote.guard)
                nursery.start_soon(self._watch_end)
                try:
                    if await self._check_start():
                        await self._seek()
                        await self._transfer(nursery)
                    delivered = True
                except Exception as error:  # noqa: BLE001 - raised below, without the nursery's wrapping
                    failure = error
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            outcome = nurseries.outcome(group)
            if not isinstance(outcome, errors.Problem):
                raise outcome from None
            if not delivered:  # else it is about what nobody needs any more
                raise (failure or outcome) from None
        finally:  # at once, however long this object is kept
            self._memory = memory.Memory(self._options.memory)
            self._window = window.Window(1)
        if failure is not None:
            raise failure

    # --- markers -----------------------------------------------------------------------------------------

    async def _check_start(self) -> bool:
        """Wait for the start marker, and check its version; False if it is not there and nobody waits."""
        started = trio.current_time()
        while True:
            ended = self._ended
            rung = self._options.bell()
            marker = await self._marker(names.START)
            if marker is not None:
                break
            if ended:
                raise errors.Problem(errors.CORRUPT, "the buffer has an end but no start: it is not whole")
            if not self._wanted.follow:
                return False
            await self._pause(trio.current_time() - started, rung)
        self._came_in()
        version = marker.get("version")
        if version != container.FORMAT_VERSION:
            message = f"unsupported format buffer version '{version}'. Expected '{container.FORMAT_VERSION}'"
            raise errors.Problem(errors.CORRUPT, message)
        return True

    async def _watch_end(self) -> None:
        """Wait for the end marker; raises if it says that the stream has failed, or nobody will write it."""
        expired: float | None = None
        while (marker := await self._marker(names.END)) is None:
            expired = await self._look_for_writer(expired)
            await trio.sleep(END_POLL)
        status = marker.get("status")
        if status == "failed":
            raise errors.Problem(errors.BUFFER_FAILED, "the buffer is in a permanently failed state")
        if status != "complete":
            _log.warning("the end marker has the unknown status %r; taken as complete", status)
        self._ended = True

    async def _look_for_writer(self, expired: float | None) -> float | None:
        """Since when the writer's lease is known to have expired; None while there is no reason to worry.

        Raises:
            Problem: BUFFER_FAILED, it expired longer than the grace ago.
        """
        if not self._waiting or self._options.bell() is not None:
            return None
        try:
            found = await self._remote.head(names.START)
        except dataplane.BlobNotFoundError:
            return None
        if found.lease not in {"expired", "broken"}:  # a writer without credentials takes none
            if expired is not None:
                self._options.on_waiting(WRITER)
            return None
        now = trio.current_time()
        expired = now if expired is None else expired
        self._options.on_waiting(AWAY)
        if now - expired >= self._options.lease_grace:
            message = (
                f"the buffer has failed: its writer has been away for {now - expired:.0f} s and more; if it"
                " comes back, the buffer can be read again"
            )
            raise errors.Problem(errors.BUFFER_FAILED, message)
        return expired

    async def _marker(self, name: str) -> dict[str, object] | None:
        """A marker's contents, None while it is not there."""
        data = bytearray()

        def take(length: int) -> memoryview:
            nonlocal data
            if length > MARKER:
                raise errors.Problem(errors.CORRUPT, f"the marker {name} is longer than {MARKER} bytes")
            data = bytearray(length)
            return memoryview(data)

        try:
            await self._remote.get(name, take)
        except dataplane.BlobNotFoundError:
            return None
        try:
            marker = json.loads(data)
        except (ValueError, RecursionError):
            marker = None
        if not isinstance(marker, dict):
            raise errors.Problem(errors.CORRUPT, f"the marker {name} is not a JSON object")
        return marker

    # --- where to begin ----------------------------------------------------------------------------------

    async def _seek(self) -> None:
        """Find the block that holds the first byte that is wanted, and the chain's value before it."""
        offset, number, start = self._wanted.offset, self._wanted.block, self._wanted.start
        if number:
            self._chain = (await self._remote.head(names.block_name(number - 1))).chain or ""
        while start < offset:
            batch = await self._look_at(range(number, number + SEEKING))
            passed = 0
            for found in batch:
                if found.length == 0 or start + found.length > offset:
                    break
                start += found.length
                self._chain = found.chain or ""
                passed += 1
            number += passed
            if passed < SEEKING:
                break
        self._window = window.Window(1, number)
        self._skip = offset - start

    async def _look_at(self, numbers: range) -> list[dataplane.Found]:
        """The headers of those blocks that are there, up to the first that is not."""
        found: dict[int, dataplane.Found] = {}

        async def look(number: int) -> None:
            try:
                found[number] = await self._remote.head(names.block_name(number))
            except dataplane.BlobNotFoundError:
                return

        try:
            async with trio.open_nursery() as nursery:
                for number in numbers:
                    nursery.start_soon(look, number)
        except BaseExceptionGroup as group:
            raise nurseries.outcome(group) from None
        there = []
        for number in numbers:
            if number not in found:
                break
            there.append(found[number])
        return there

    # --- blocks ------------------------------------------------------------------------------------------

    async def _transfer(self, nursery: trio.Nursery) -> None:
        """Ask for blocks and deliver them, to the empty one or to the last byte that is wanted."""
        while self._left != 0:
            self._window.limit = self._limit()
            for number in self._window.wanted():
                nursery.start_soon(self._fetch, number)
            came = self._came
            block = self._window.ready()
            if block is None:
                await came.wait()
                continue
            if block is window.NOTHING_MORE:
                return
            if isinstance(block, errors.Problem):
                raise block
            assert isinstance(block, window.Received)  # noqa: S101 - for the type checker
            if len(block.data) == 0:
                return
            self._verify_chain(block)
            self._came_in()
            await self._pass_on(block.data)
            self.blocks += 1
            block.data.release()
            self._memory.give_back(self._window.next - 1)
            self._delivered.set()
            self._delivered = trio.Event()

    def _limit(self) -> int:
        """How many blocks to ask for or to hold: as many as are useful, have room, and are wanted."""
        # One more is being delivered: it is behind the window, and still has its memory.
        limit = min(self._options.width(), self._memory.fits - 1)
        if (
            self._left is not None
        ):  # by the largest block so far: where they are smaller, more are asked for then
            limit = min(limit, -(-(self._skip + self._left) // self._memory.largest))
        return max(1, limit)

    async def _pass_on(self, data: memoryview) -> None:
        """Deliver what is wanted of a block."""
        passed_over = min(self._skip, len(data))
        self._skip -= passed_over
        end = len(data) if self._left is None else min(len(data), passed_over + self._left)
        if passed_over < end:
            with data[passed_over:end] as wanted:
                await self._deliver(wanted)
            self.bytes += end - passed_over
            if self._left is not None:
                self._left -= end - passed_over

    async def _fetch(self, number: int) -> None:
        """Get one block, or learn why not, and tell the window."""
        try:
            await self._get(number)
        except (dataplane.ContainerNotFoundError, dataplane.ExpiredError) as problem:
            self._window.failed(number, problem)
        except errors.Problem as problem:
            named = errors.Problem(problem.kind, f"cannot read block {number}: {problem}")
            self._window.failed(number, named)
        self._came.set()
        self._came = trio.Event()

    async def _get(self, number: int) -> None:
        """Get one block; polls for it as long as everything waits for it, else gives up.

        Raises:
            Problem: it can't be had.
        """
        name = names.block_name(number)
        view = memoryview(b"")

        def take(length: int) -> memoryview:
            nonlocal view
            view.release()
            view = self._memory.take(number, length, is_next=number == self._window.next)
            return view

        started: float | None = None
        while True:
            ended = self._ended  # before the request: what is missing after the end was seen stays missing
            rung = self._options.bell()
            delivered = self._delivered
            try:
                found = await self._remote.get(name, take)
                break
            except dataplane.BlobNotFoundError:
                pass
            except memory.NoRoomError:
                self._window.closed_in()
                await delivered.wait()
                while number >= self._window.next + self._limit():  # there would be none again
                    await self._delivered.wait()
                continue
            if not self._window.is_awaited(number):
                self._window.missing(number)
                return
            if ended:
                message = f"blob number {number} was expected to exist but does not"
                raise errors.Problem(errors.CORRUPT, message)
            if not self._wanted.follow:
                self._window.nothing_more(number)
                return
            self._window.closed_in()
            started = trio.current_time() if started is None else started
            await self._pause(trio.current_time() - started, rung)
        if not found.chain:
            raise errors.Problem(errors.CORRUPT, "it has no hash chain")
        md5 = base64.b64decode(found.md5 or "")
        block = window.Received(view[: found.length], md5, found.chain)
        self._window.came(number, block, at_once=started is None)

    async def _pause(self, waited: float, rung: trio.Event | None) -> None:
        """Wait before the next look for what is missing; a writer in this process rings when it is there."""
        if not self._waiting:
            self._waiting = True
            self._options.on_waiting(WRITER)
        if rung is None:
            await trio.sleep(window.poll_interval(waited))
            return
        with trio.move_on_after(END_POLL):
            await rung.wait()

    def _came_in(self) -> None:
        if self._waiting:
            self._waiting = False
            self._options.on_waiting(None)

    def _verify_chain(self, block: window.Received) -> None:
        self._chain = chain.following(self._chain, block.md5)
        if self._chain != block.chain:
            message = f"block {self._window.next - 1} is damaged and was not delivered: hash chain mismatch"
            raise errors.Problem(errors.CORRUPT, message)

"""Download: a buffer from a data plane, verified and in order, while it may still be being written.

Theory of operation. `Window` decides which blocks to ask for; tasks ask, each in a worker thread at a time.
The window opens as long as blocks are there and closes to the lowest missing one when one is not: so a whole
buffer arrives with full parallelism, and one that is being written is polled with one request at a time.
Length, MD5 and hash chain are checked before a byte leaves. The stream ends at the empty block; `.bufferend`
is watched beside it, for a failure and to know that what is missing stays missing (contract buffers.md 8).
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

END_POLL = 5.0
"""Seconds between looks for the end marker."""

_log = logging.getLogger(__name__)

Deliver = Callable[[memoryview], Awaitable[None]]
"""Takes verified bytes, valid until it returns."""


def poll_interval(waited: float) -> float:
    """Seconds until the next look for a block that has been missing for `waited` seconds.

    The original counts attempts (0.1 s ten times, 0.5 s ninety times, 1 s, then 5 s); a pipeline that is
    being written deserves quick looks for longer, an abandoned buffer does not.
    """
    if waited < 30:
        return 0.1
    if waited < 300:
        return 0.5
    return 1.0 if waited < 3600 else 5.0


class Received(NamedTuple):
    """A block in memory. Its MD5 was compared, its chain value not yet."""

    data: memoryview
    md5: bytes
    chain: str


class Window:
    """Which blocks to ask for next: pure bookkeeping, told what happened.

    A block is asked for, and then it has come or is missing. Those that came are held until they are
    delivered, in order. At most `dop` blocks are asked for or held.
    """

    def __init__(self, dop: int) -> None:
        self.next = 0
        """The lowest block that is not delivered yet."""
        self._dop = dop
        self._width = 1
        self._asked: set[int] = set()
        self._held: dict[int, Received | errors.Problem] = {}
        self._last: int | None = None

    def wanted(self) -> list[int]:
        """The blocks to ask for now; they count as asked for."""
        lowest = self.lowest_missing()
        stop = min(lowest + self._width, self.next + self._dop)
        if self._last is not None:
            stop = min(stop, self._last)
        numbers = [n for n in range(lowest, stop) if n not in self._asked and n not in self._held]
        self._asked.update(numbers)
        return numbers

    def lowest_missing(self) -> int:
        """The lowest block that has not come."""
        number = self.next
        while number in self._held:
            number += 1
        return number

    def is_awaited(self, number: int) -> bool:
        """Whether `number` is the lowest missing block, so that everything waits for it."""
        return number == self.lowest_missing() and (self._last is None or number < self._last)

    def failed(self, number: int, problem: errors.Problem) -> None:
        """A block can't be had. That matters when it is its turn, and behind the last block never."""
        self._asked.discard(number)
        self._held[number] = problem

    def came(self, number: int, block: Received, *, at_once: bool) -> None:
        """A block is there; `at_once` if it was at the first look. An empty one is the last."""
        self._asked.discard(number)
        self._held[number] = block
        if len(block.data) == 0:
            self._last = number if self._last is None else min(number, self._last)
        if at_once:
            self._width = min(self._dop, 2 * self._width)

    def missing(self, number: int) -> None:
        """A block that nothing waits for yet was not there: it was asked for too early."""
        self._asked.discard(number)
        self._width = 1

    def closed_in(self) -> None:
        """The awaited block is not there, and is still asked for: nothing beyond it is worth asking for."""
        self._width = 1

    def ready(self) -> Received | errors.Problem | None:
        """What became of the next block in order, None while that is open. It is the caller's from now on."""
        block = self._held.pop(self.next, None)
        if block is not None:
            self.next += 1
        return block


class Download:
    """Downloads one buffer once. `bytes` and `blocks` count what was delivered."""

    def __init__(self, remote: retrying.Retrying, deliver: Deliver, *, dop: int) -> None:
        self.bytes = 0
        self.blocks = 0
        self._remote = remote
        self._deliver = deliver
        self._window = Window(dop)
        self._chain = chain.INITIAL
        self._ended = False
        self._came = trio.Event()
        self._pool: list[bytearray] = []

    async def run(self) -> None:
        """Deliver the whole stream; waits for what is not yet written.

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
                    await self._check_start()
                    await self._transfer(nursery)
                    delivered = True
                except Exception as error:  # noqa: BLE001 - raised below, without the nursery's wrapping
                    failure = error
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            problem = nurseries.problem_of(group)
            if problem is None:
                raise
            if not delivered:  # else it is about what nobody needs any more
                raise (failure or problem) from None
        if failure is not None:
            raise failure

    # --- markers -----------------------------------------------------------------------------------------

    async def _check_start(self) -> None:
        """Wait for the start marker, and check its version."""
        started = trio.current_time()
        while True:
            ended = self._ended
            marker = await self._marker(names.START)
            if marker is not None:
                break
            if ended:
                raise errors.Problem(errors.CORRUPT, "the buffer has an end but no start: it is not whole")
            await trio.sleep(poll_interval(trio.current_time() - started))
        version = marker.get("version")
        if version != container.FORMAT_VERSION:
            message = f"unsupported format buffer version '{version}'. Expected '{container.FORMAT_VERSION}'"
            raise errors.Problem(errors.CORRUPT, message)

    async def _watch_end(self) -> None:
        """Wait for the end marker; raises if it says that the stream has failed."""
        while (marker := await self._marker(names.END)) is None:  # noqa: ASYNC110 - a store has no events
            await trio.sleep(END_POLL)
        status = marker.get("status")
        if status == "failed":
            raise errors.Problem(errors.BUFFER_FAILED, "the buffer is in a permanently failed state")
        if status != "complete":
            _log.warning("the end marker has the unknown status %r; taken as complete", status)
        self._ended = True

    async def _marker(self, name: str) -> dict[str, object] | None:
        """A marker's contents, None while it is not there."""
        data = bytearray()

        def take(length: int) -> memoryview:
            nonlocal data
            data = bytearray(length)
            return memoryview(data)

        try:
            await self._remote.get(name, take)
        except dataplane.BlobNotFoundError:
            return None
        try:
            marker = json.loads(data)
        except ValueError:
            marker = None
        if not isinstance(marker, dict):
            raise errors.Problem(errors.CORRUPT, f"the marker {name} is not a JSON object")
        return marker

    # --- blocks ------------------------------------------------------------------------------------------

    async def _transfer(self, nursery: trio.Nursery) -> None:
        """Ask for blocks and deliver them, to the empty one."""
        while True:
            for number in self._window.wanted():
                nursery.start_soon(self._fetch, number)
            came = self._came
            block = self._window.ready()
            if block is None:
                await came.wait()
                continue
            if isinstance(block, errors.Problem):
                raise block
            if len(block.data) == 0:
                return
            self._verify_chain(block)
            await self._deliver(block.data)
            self.bytes += len(block.data)
            self.blocks += 1
            self._give_back(block.data)

    async def _fetch(self, number: int) -> None:
        """Get one block, or learn why not, and tell the window."""
        try:
            await self._get(number)
        except dataplane.ContainerNotFoundError as problem:
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
            if len(view) < length:
                view = self._memory(length)
            view = view[:length]
            return view

        started: float | None = None
        while True:
            ended = self._ended  # before the request: what is missing after the end was seen stays missing
            try:
                found = await self._remote.get(name, take)
                break
            except dataplane.BlobNotFoundError:
                pass
            if not self._window.is_awaited(number):
                self._window.missing(number)
                return
            if ended:
                message = f"blob number {number} was expected to exist but does not"
                raise errors.Problem(errors.CORRUPT, message)
            self._window.closed_in()
            started = trio.current_time() if started is None else started
            await trio.sleep(poll_interval(trio.current_time() - started))
        if not found.chain:
            raise errors.Problem(errors.CORRUPT, "it has no hash chain")
        md5 = base64.b64decode(found.md5 or "")
        block = Received(view[: found.length], md5, found.chain)
        self._window.came(number, block, at_once=started is None)

    def _verify_chain(self, block: Received) -> None:
        self._chain = chain.following(self._chain, block.md5)
        if self._chain != block.chain:
            message = f"block {self._window.next - 1} is damaged and was not delivered: hash chain mismatch"
            raise errors.Problem(errors.CORRUPT, message)

    # --- memory: a block's is used again, as most blocks are of one size ----------------------------------

    def _memory(self, length: int) -> memoryview:
        """Memory of at least `length` bytes; called in worker threads."""
        try:
            old = self._pool.pop()
        except IndexError:
            old = bytearray()
        return memoryview(old if len(old) >= length else bytearray(length))

    def _give_back(self, view: memoryview) -> None:
        memory = view.obj
        view.release()
        assert isinstance(memory, bytearray)  # noqa: S101 - for the type checker
        self._pool.append(memory)

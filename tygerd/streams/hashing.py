"""Who takes MD5s when: blocks are hashed in worker threads, several of them at a time where that is faster.

Theory of operation. A task that has a block to be hashed queues it. One that finds no thread at work becomes
the leader: it takes what is queued, its own block or not, has it hashed in a thread, tells the others, and
leaves the rest to the first of them. So there is no task that has to be kept alive, and a busy daemon hashes
whatever has come while the last batch was under way. Where full blocks come one after the other it waits a
moment for more of them: a batch takes as long as a block.
"""

from __future__ import annotations

import os
from collections import deque

import trio

from tygerd.blocks import chain, md5lanes

SMALL = 16 * 1024
"""Blocks up to so many bytes are hashed where they are: cheaper than a hop to a thread (about 100 us)."""

LARGE = 1024 * 1024
"""Bytes of a block from which on it is worth waiting for another: it takes 2 ms to hash."""

BUSY = 0.02
"""Seconds since the last batch within which the daemon counts as busy."""

GATHER = 0.004
"""Seconds that a busy daemon waits for more: less than one block of the usual 4 MiB takes to hash. Measured,
it makes batches of 6 out of batches of 5, and saves a tenth of what a read costs."""


class _Job:
    """A block that is to be hashed. `taken`: a thread has it, or had it."""

    def __init__(self, block: md5lanes.Source, length: int) -> None:
        self.block = block
        self.length = length
        self.taken = False
        self.outcome: bytes | Exception | None = None
        self.stirred = trio.Event()

    def stir(self) -> None:
        """Have its task look: there is an outcome, or it should lead."""
        self.stirred.set()


class Hasher:
    """Takes the MD5s of blocks. One a daemon, for all transfers; belongs to one trio run.

    `lanes` is how many blocks it hashes in about the time of one. `limiter` is that of its threads, and may
    be used for other short work on blocks.
    """

    def __init__(self, library: md5lanes.Library | None = md5lanes.FOUND) -> None:
        self._library = library
        self.lanes = library.width if library else 1
        self._leaders = 0
        self._gathering = False
        self._last_ended = float("-inf")
        self._arrived = trio.Event()
        self._queue: deque[_Job] = deque()
        self.limiter = trio.CapacityLimiter(max(2, os.cpu_count() or 1))

    async def digest(self, fd: int, length: int) -> bytes:
        """The MD5 of the first `length` bytes of an open file. Cancelled, it is not in use any more.

        Raises:
            EOFError: the file is shorter.
            OSError: it cannot be read.
        """
        return await self._hashed((fd, length), length)

    async def digest_memory(self, data: memoryview) -> bytes:
        """The MD5 of memory that could be written to. Cancelled, it is not in use any more."""
        return await self._hashed(data, data.nbytes)

    async def _hashed(self, block: md5lanes.Source, length: int) -> bytes:
        job = _Job(block, length)
        if length <= SMALL:
            await trio.lowlevel.checkpoint()
            self._hash([job])
        else:
            await self._wait(job)
        if isinstance(job.outcome, Exception):
            raise job.outcome
        assert job.outcome is not None  # noqa: S101 - for the type checker
        return job.outcome

    async def _wait(self, job: _Job) -> None:
        """Wait until a job has an outcome; lead where nobody does."""
        self._queue.append(job)
        self._arrived.set()
        try:
            while job.outcome is None:
                if self._may_lead():
                    await self._lead()
                else:
                    await job.stirred.wait()
                    job.stirred = trio.Event()
        finally:
            if not job.taken:
                self._queue.remove(job)
            elif job.outcome is None:
                with trio.CancelScope(shield=True):  # a thread is reading it
                    while job.outcome is None:
                        await job.stirred.wait()
                        job.stirred = trio.Event()
            self._hand_over()

    def _may_lead(self) -> bool:
        """Whether there is work for another thread. With lanes, one has enough until it falls behind."""
        behind = len(self._queue) >= self.lanes and not self._gathering
        enough = self.lanes == 1 or self._leaders == 0 or behind
        return bool(self._queue) and self._leaders < self.limiter.total_tokens and enough

    def _hand_over(self) -> None:
        if self._may_lead():
            self._queue[0].stir()

    async def _lead(self) -> None:
        """Have what is queued hashed, as far as it goes together. Cancelled only before that."""
        jobs: list[_Job] = []
        self._leaders += 1
        try:
            await self._gather()
            jobs = [self._queue.popleft() for _ in range(min(self.lanes, len(self._queue)))]
            for job in jobs:
                job.taken = True
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._hash, jobs, limiter=self.limiter)
        except Exception as error:
            for job in jobs:
                job.outcome = job.outcome or error
            raise
        finally:
            self._leaders -= 1
            self._last_ended = trio.current_time()
            for job in jobs:
                job.stir()
            self._hand_over()

    async def _gather(self) -> None:
        """Wait for more blocks, if it is likely that they come."""
        busy = trio.current_time() - self._last_ended < BUSY
        if self.lanes == 1 or not busy or self._queue[0].length < LARGE:
            return
        self._gathering = True
        try:
            with trio.move_on_after(GATHER):
                while len(self._queue) < self.lanes:
                    self._arrived = trio.Event()
                    await self._arrived.wait()
        finally:
            self._gathering = False

    def _hash(self, jobs: list[_Job]) -> None:
        found = chain.digests([job.block for job in jobs], self._library)
        for job, outcome in zip(jobs, found, strict=True):
            job.outcome = outcome

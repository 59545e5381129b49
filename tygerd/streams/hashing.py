"""Who takes MD5s when: blocks are hashed in worker threads, several of them at a time where that is faster.

Theory of operation. A task that has a block to be hashed queues it. One that finds no thread at work becomes
the leader: it takes what is queued, its own block or not, has it hashed in a thread, tells the others, and
leaves the rest to the first of them. So there is no task that has to be kept alive, and a busy daemon hashes
whatever has come while the last batch was under way.
"""

from __future__ import annotations

import os
from collections import deque

import trio

from tygerd.blocks import chain, md5lanes

SMALL = 16 * 1024
"""Blocks up to so many bytes are hashed where they are: cheaper than a hop to a thread (about 100 us)."""


class _Job:
    """A block that is to be hashed. `taken`: a thread has it, or had it."""

    def __init__(self, block: md5lanes.Source) -> None:
        self.block = block
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
        job = _Job(block)
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
        enough = self.lanes == 1 or self._leaders == 0 or len(self._queue) >= self.lanes
        return bool(self._queue) and self._leaders < self.limiter.total_tokens and enough

    def _hand_over(self) -> None:
        if self._may_lead():
            self._queue[0].stir()

    async def _lead(self) -> None:
        """Have what is queued hashed, as far as it goes together. Cannot be cancelled in between."""
        jobs = [self._queue.popleft() for _ in range(min(self.lanes, len(self._queue)))]
        for job in jobs:
            job.taken = True
        self._leaders += 1
        try:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._hash, jobs, limiter=self.limiter)
        except Exception as error:
            for job in jobs:
                job.outcome = job.outcome or error
            raise
        finally:
            self._leaders -= 1
            for job in jobs:
                job.stir()
            self._hand_over()

    def _hash(self, jobs: list[_Job]) -> None:
        found = chain.digests([job.block for job in jobs], self._library)
        for job, outcome in zip(jobs, found, strict=True):
            job.outcome = outcome

"""Who takes MD5s when: blocks are hashed in worker threads, several of them at a time where that is faster.

Theory of operation. A task that has a block to be hashed queues it. One that finds no thread at work becomes
the leader: it takes what is queued, its own block or not, has it hashed in a thread, tells the others, and
leaves the rest to the first of them. So there is no task that has to be kept alive, and a busy daemon hashes
whatever has come while the last batch was under way. Where full blocks come one after the other it waits for
more of them, as a batch takes hardly longer than a block: a moment, or where nobody waits for them longer.
"""

from __future__ import annotations

import os
from collections import deque

import trio

from tygerd.blocks import chain, md5lanes
from tygerd.osutil import workers

SMALL = 16 * 1024
"""Blocks up to so many bytes are hashed where they are: cheaper than a hop to a thread (about 100 us)."""

LARGE = 1024 * 1024
"""Bytes of a block from which on it is worth waiting for another: it takes 2 ms to hash."""

BUSY = 0.02
"""Seconds since the last batch within which the daemon counts as busy."""

GATHER = 0.004
"""Seconds that a busy daemon lets a block wait for others: less than one of the usual 4 MiB takes to hash."""

PATIENCE = 0.1
"""Seconds where nobody waits for the block. With 4 MiB and 0.6 GiB/s sixteen come in that time. Measured on a
write to a store elsewhere, on a busy machine: batches of 5 become batches of 8."""

LULL = 0.02
"""Seconds after the last block from which on no other is waited for."""


class Together:
    """Blocks that one task has hashed: others may join until a thread has `begun` with them.

    `patience` is how many seconds they may wait for more blocks, where hashing more is cheaper.
    """

    def __init__(self, patience: float = GATHER) -> None:
        self.patience = patience
        self.begun = False
        self.jobs: list[Job] = []
        self.stirred = trio.Event()

    @property
    def done(self) -> bool:
        """Whether all have an outcome."""
        return all(job.outcome is not None for job in self.jobs)

    def stir(self) -> None:
        """Have its task look: there is an outcome, or it should lead."""
        self.stirred.set()
        self.stirred = trio.Event()


class Job:
    """A block that is to be hashed. `taken`: a thread has it, or had it."""

    def __init__(self, block: md5lanes.Source, length: int, together: Together) -> None:
        self.block = block
        self.length = length
        self.together = together
        self.taken = False
        self.outcome: bytes | Exception | None = None

    def unwrap(self) -> bytes:
        """The MD5. Raises what prevented it."""
        if isinstance(self.outcome, Exception):
            raise self.outcome
        assert self.outcome is not None  # noqa: S101 - for the type checker
        return self.outcome


class Hasher:
    """Takes the MD5s of blocks. One a daemon, for all transfers; belongs to one trio run.

    `lanes` is how many blocks it hashes in about the time of one. `limiter` is that of its threads, and may
    be used for other short work on blocks.
    """

    def __init__(self, library: md5lanes.Library | None = md5lanes.FOUND) -> None:
        self._library = library
        self.lanes = library.width if library else 1
        self._leaders = 0
        self._gathering: trio.CancelScope | None = None
        self._gather_until = 0.0
        self._last_ended = float("-inf")
        self._queue: deque[Job] = deque()
        self.limiter = trio.CapacityLimiter(max(2, os.cpu_count() or 1))

    async def digest(self, fd: int, length: int) -> bytes:
        """The MD5 of the first `length` bytes of an open file. Cancelled, it is not in use any more.

        Raises:
            EOFError: the file is shorter.
            OSError: it cannot be read.
        """
        return await self._digest((fd, length), length)

    async def digest_memory(self, data: memoryview) -> bytes:
        """The MD5 of memory that could be written to. Cancelled, it is not in use any more."""
        return await self._digest(data, data.nbytes)

    def join(self, together: Together, fd: int, length: int) -> bool:
        """Add a block; False where that is too late, or would not make hashing cheaper.

        Somebody has to wait for `digests`, now or soon.
        """
        if together.begun or len(together.jobs) >= self.lanes:
            return False
        self._add((fd, length), length, together)
        self._hand_over()
        return True

    async def digests(self, together: Together) -> list[bytes]:
        """The MD5s of all that have joined, in their order. Cancelled, no file is in use any more.

        Raises:
            EOFError: a file is shorter.
            OSError: one cannot be read.
        """
        await self._wait(together)
        return [job.unwrap() for job in together.jobs]

    def hurry(self) -> None:
        """Somebody waits for a block after all, or none will follow: no other is waited for."""
        if self._gathering is not None:
            self._gathering.cancel()

    async def _digest(self, block: md5lanes.Source, length: int) -> bytes:
        together = Together()
        if length <= SMALL:
            await trio.lowlevel.checkpoint()
            job = Job(block, length, together)
            self._hash([job])
        else:
            job = self._add(block, length, together)
            await self._wait(together)
        return job.unwrap()

    def _add(self, block: md5lanes.Source, length: int, together: Together) -> Job:
        job = Job(block, length, together)
        together.jobs.append(job)
        self._queue.append(job)
        self._go_on_gathering(together.patience)
        return job

    async def _wait(self, together: Together) -> None:
        """Wait until all have an outcome; lead where nobody does."""
        try:
            while not together.done:
                if self._may_lead():
                    await self._lead()
                else:
                    await together.stirred.wait()
        finally:
            together.begun = True
            for job in together.jobs:
                if not job.taken:
                    self._queue.remove(job)
            with trio.CancelScope(shield=True):  # what a thread is reading
                while any(job.taken and job.outcome is None for job in together.jobs):
                    await together.stirred.wait()
            self._hand_over()

    def _may_lead(self) -> bool:
        """Whether there is work for another thread. With lanes, one has enough until it falls behind."""
        behind = len(self._queue) >= self.lanes and self._gathering is None
        enough = self.lanes == 1 or self._leaders == 0 or behind
        return bool(self._queue) and self._leaders < self.limiter.total_tokens and enough

    def _hand_over(self) -> None:
        if self._may_lead():
            self._queue[0].together.stir()

    async def _lead(self) -> None:
        """Have what is queued hashed, as far as it goes together. Cancelled only before that."""
        jobs: list[Job] = []
        self._leaders += 1
        try:
            await self._gather()
            jobs = [self._queue.popleft() for _ in range(min(self.lanes, len(self._queue)))]
            for job in jobs:
                job.taken = job.together.begun = True
            with trio.CancelScope(shield=True):
                await workers.run(lambda: self._hash(jobs), self.limiter)
        except Exception as error:
            for job in jobs:
                job.outcome = job.outcome or error
            raise
        finally:
            self._leaders -= 1
            self._last_ended = trio.current_time()
            for together in {job.together: None for job in jobs}:
                together.stir()
            self._hand_over()

    async def _gather(self) -> None:
        """Wait for more blocks, if it is likely that they come."""
        busy = trio.current_time() - self._last_ended < BUSY
        if self.lanes == 1 or not busy or self._queue[0].length < LARGE:
            return
        self._gather_until = float("inf")
        try:
            with trio.CancelScope() as self._gathering:
                self._go_on_gathering(min(job.together.patience for job in self._queue))
                await trio.sleep_forever()
        finally:
            self._gathering = None

    def _go_on_gathering(self, patience: float) -> None:
        """A block has come: wait for another one, unless it cannot wait so long, or there are enough."""
        if self._gathering is None:
            return
        now = trio.current_time()
        self._gather_until = min(self._gather_until, now + patience)
        self._gathering.deadline = min(self._gather_until, now + LULL)
        if len(self._queue) >= self.lanes:
            self._gathering.cancel()

    def _hash(self, jobs: list[Job]) -> None:
        found = chain.digests([job.block for job in jobs], self._library)
        for job, outcome in zip(jobs, found, strict=True):
            job.outcome = outcome

"""Hashing: every task gets the digest of its own block, and is rid of it when it was cancelled."""

import hashlib
import os
import tempfile
import threading

import pytest
import trio
import trio.testing

from tygerd.blocks import md5lanes
from tygerd.streams import hashing

LARGE = hashing.SMALL + 1


class Lanes:
    """A library that hashes when it is told to, and remembers how many blocks it was given together."""

    width = 4

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.entered = threading.Semaphore(0)
        self.may_go = threading.Semaphore(0)

    def digests(self, blocks):
        self.batches.append(len(blocks))
        self.entered.release()
        self.may_go.acquire()
        return [hashlib.md5(content(block)).digest() for block in blocks]


def content(block):
    return os.pread(*block, 0) if isinstance(block, tuple) else block


def memory(number: int, length: int = LARGE) -> memoryview:
    return memoryview(bytearray([number]) * length)


async def entered(lanes: Lanes) -> None:
    await trio.to_thread.run_sync(lanes.entered.acquire)


@pytest.fixture
def lanes():
    return Lanes()


@pytest.mark.parametrize("library", [md5lanes.FOUND, None])
async def test_many_at_once(library):
    hasher = hashing.Hasher(library)
    got = {}

    async def one(number: int) -> None:
        data = memory(number, number * 1000)
        got[number] = await hasher.digest_memory(data)

    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(one, number)
    assert got == {number: hashlib.md5(memory(number, number * 1000)).digest() for number in range(50)}


async def test_what_comes_meanwhile_is_taken_together(lanes):
    hasher = hashing.Hasher(lanes)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hasher.digest_memory, memory(0))
        await entered(lanes)
        for number in range(3):
            nursery.start_soon(hasher.digest_memory, memory(number))
        await trio.testing.wait_all_tasks_blocked()
        assert lanes.batches == [1]
        lanes.may_go.release()
        await entered(lanes)
        lanes.may_go.release()
    assert lanes.batches == [1, 3]


async def test_a_second_thread_helps_when_there_is_a_whole_batch(lanes):
    hasher = hashing.Hasher(lanes)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hasher.digest_memory, memory(0))
        await entered(lanes)
        for number in range(4):
            nursery.start_soon(hasher.digest_memory, memory(number))
        await entered(lanes)
        assert lanes.batches == [1, 4]
        lanes.may_go.release(2)


@pytest.mark.parametrize("more", [0, 3])
async def test_a_busy_daemon_waits_a_moment_for_more(lanes, mock_clock, more):
    hasher = hashing.Hasher(lanes)
    async with trio.open_nursery() as nursery:
        lanes.may_go.release(2)
        await hasher.digest_memory(memory(0))
        nursery.start_soon(hasher.digest_memory, memory(1, hashing.LARGE))
        await trio.testing.wait_all_tasks_blocked()
        assert lanes.batches == [1]
        if more:
            for number in range(more):
                nursery.start_soon(hasher.digest_memory, memory(number))
        else:
            mock_clock.jump(hashing.GATHER)
    assert lanes.batches == [1, 1 + more]


async def test_a_task_cancelled_while_it_waits_for_more_leaves_the_rest_to_others(lanes, mock_clock):
    hasher = hashing.Hasher(lanes)
    scope = trio.CancelScope()

    async def cancelled() -> None:
        with scope:
            await hasher.digest_memory(memory(1, hashing.LARGE))

    async with trio.open_nursery() as nursery:
        lanes.may_go.release(2)
        await hasher.digest_memory(memory(0))
        nursery.start_soon(cancelled)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(hasher.digest_memory, memory(2))
        await trio.testing.wait_all_tasks_blocked()
        scope.cancel()
    assert lanes.batches == [1, 1]


async def test_a_task_that_leads_is_followed_when_it_has_its_own(lanes):
    hasher = hashing.Hasher(lanes)
    got = []

    async def one(number: int) -> None:
        got.append((number, await hasher.digest_memory(memory(number))))

    async with trio.open_nursery() as nursery:
        for number in range(11):
            nursery.start_soon(one, number)
        lanes.may_go.release(11)
    assert sorted(got) == [(n, hashlib.md5(memory(n)).digest()) for n in range(11)]
    assert max(lanes.batches) == 4


async def test_errors_reach_whose_block_it_was():
    hasher = hashing.Hasher()
    outcomes = {}
    with tempfile.TemporaryFile() as file:
        file.write(b"x" * LARGE)
        file.flush()
        fd = file.fileno()

        async def one(name: str, fd: int, length: int) -> None:
            try:
                outcomes[name] = await hasher.digest(fd, length)
            except (OSError, EOFError) as error:
                outcomes[name] = type(error)

        reader, writer = os.pipe()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one, "good", fd, LARGE)
            nursery.start_soon(one, "short", fd, LARGE + 1)
            nursery.start_soon(one, "pipe", reader, LARGE)
            nursery.start_soon(one, "small", fd, 3)
            nursery.start_soon(one, "small pipe", reader, 3)
        os.close(reader)
        os.close(writer)
    assert outcomes == {
        "good": hashlib.md5(b"x" * LARGE).digest(),
        "short": EOFError,
        "pipe": OSError,
        "small": hashlib.md5(b"xxx").digest(),
        "small pipe": OSError,
    }


async def test_a_cancelled_task_waits_until_its_block_is_free(lanes):
    hasher = hashing.Hasher(lanes)
    scopes = [trio.CancelScope(), trio.CancelScope()]
    ended = []

    async def cancelled(number: int) -> None:
        try:
            with scopes[number - 1]:
                await hasher.digest_memory(memory(number))
        finally:
            ended.append(number)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hasher.digest_memory, memory(0))
        await entered(lanes)
        nursery.start_soon(cancelled, 1)
        nursery.start_soon(cancelled, 2)
        await trio.testing.wait_all_tasks_blocked()
        lanes.may_go.release()
        await entered(lanes)  # both are in the second batch; one of them leads
        for scope in scopes:
            scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert not ended
        lanes.may_go.release()
    assert lanes.batches == [1, 2]
    assert sorted(ended) == [1, 2]


async def test_a_task_cancelled_in_the_queue_leaves_no_trace(lanes):
    hasher = hashing.Hasher(lanes)
    scope = trio.CancelScope()
    got = []

    async def one(number: int) -> None:
        got.append(await hasher.digest_memory(memory(number)))

    async def cancelled() -> None:
        with scope:
            await one(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one, 0)
        await entered(lanes)
        nursery.start_soon(cancelled)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(one, 2)
        await trio.testing.wait_all_tasks_blocked()
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        lanes.may_go.release(2)
    assert lanes.batches == [1, 1]
    assert got == [hashlib.md5(memory(n)).digest() for n in (0, 2)]


# --- blocks of one task ----------------------------------------------------------------------------------


@pytest.fixture
def file():
    with tempfile.TemporaryFile() as opened:
        opened.write(bytes(2 * hashing.LARGE))
        opened.flush()
        yield opened.fileno()


async def busy(lanes: Lanes) -> hashing.Hasher:
    """A hasher that has just hashed a block."""
    hasher = hashing.Hasher(lanes)
    lanes.may_go.release()
    await hasher.digest_memory(memory(0))
    return hasher


def together(hasher: hashing.Hasher, file: int, *lengths: int) -> hashing.Together:
    blocks = hashing.Together(hashing.PATIENCE)
    assert all(hasher.join(blocks, file, length) for length in lengths)
    return blocks


async def test_blocks_that_nobody_waits_for_are_hashed_when_there_are_enough(lanes, file, mock_clock):
    hasher = await busy(lanes)
    blocks = together(hasher, file, hashing.LARGE)
    lanes.may_go.release()
    got = []

    async def hash_them():
        got.extend(await hasher.digests(blocks))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hash_them)
        for number in range(3):
            await trio.testing.wait_all_tasks_blocked()
            assert lanes.batches == [1]
            mock_clock.jump(0.9 * hashing.LULL)
            assert hasher.join(blocks, file, hashing.LARGE + number)
    assert lanes.batches == [1, 4]
    lengths = [hashing.LARGE, *range(hashing.LARGE, hashing.LARGE + 3)]
    assert got == [hashlib.md5(bytes(length)).digest() for length in lengths]
    assert not hasher.join(blocks, file, 1)


@pytest.mark.parametrize("why", ["a lull", "patience", "somebody else", "hurry"])
async def test_and_at_the_latest(lanes, file, mock_clock, why):
    hasher = await busy(lanes)
    lanes.width = hasher.lanes = 100
    blocks = together(hasher, file, hashing.LARGE)
    lanes.may_go.release()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hasher.digests, blocks)
        await trio.testing.wait_all_tasks_blocked()
        assert lanes.batches == [1]
        if why == "a lull":
            mock_clock.jump(hashing.LULL)
        elif why == "hurry":
            hasher.hurry()
        elif why == "somebody else":
            nursery.start_soon(hasher.digest_memory, memory(1))
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(hashing.GATHER)
        else:
            for _ in range(round(hashing.PATIENCE / hashing.GATHER)):
                assert hasher.join(blocks, file, hashing.LARGE)
                await trio.testing.wait_all_tasks_blocked()
                assert lanes.batches == [1]
                mock_clock.jump(hashing.GATHER)
    assert len(lanes.batches) == 2


async def test_no_more_join_than_are_hashed_at_a_time(lanes, file):
    hasher = hashing.Hasher(lanes)
    blocks = together(hasher, file, *[LARGE] * 4)
    assert not hasher.join(blocks, file, LARGE)
    lanes.may_go.release()
    await hasher.digests(blocks)
    hasher = hashing.Hasher(None)
    assert not hasher.join(together(hasher, file, LARGE), file, LARGE)


async def test_a_block_that_cannot_be_hashed_fails_those_of_its_task(file):
    hasher = hashing.Hasher()
    with pytest.raises(EOFError):
        await hasher.digests(together(hasher, file, 2 * hashing.LARGE + 1))


async def test_cancelled_they_wait_for_what_a_thread_reads_and_forget_the_rest(lanes, file):
    hasher = hashing.Hasher(lanes)
    first, second = together(hasher, file, LARGE, LARGE), together(hasher, file, LARGE, LARGE, LARGE)
    ended, scope = [], trio.CancelScope()

    async def cancelled():
        with scope:
            try:
                await hasher.digests(second)
            finally:
                ended.append([job.taken for job in second.jobs])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hasher.digests, first)
        await entered(lanes)
        nursery.start_soon(cancelled)
        await trio.testing.wait_all_tasks_blocked()
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert not ended
        assert not hasher.join(second, file, LARGE)
        lanes.may_go.release()
    assert ended == [[True, True, False]]
    assert lanes.batches == [4]

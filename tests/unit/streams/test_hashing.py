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
        return [hashlib.md5(block).digest() for block in blocks]


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

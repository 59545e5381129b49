"""File to socket, fast and slow readers, and those who leave."""

import errno
import socket
import tempfile
import threading

import pytest
import trio

from tests.support import leftovers
from tygerd.osutil import sendfile

DATA = bytes(range(256)) * 20_000


@pytest.fixture
def file():
    with tempfile.TemporaryFile() as made:
        made.write(DATA)
        made.flush()
        yield made


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


async def send(sock, file, offset, length):
    await sendfile.send_file(sock.fileno(), file.fileno(), offset, length, trio.CapacityLimiter(1))


async def read_all(sock, length):
    return await trio.to_thread.run_sync(lambda: sock.makefile("rb").read(length))


async def socket_is_full():
    """Wait until the thread has gone back, and the task waits in trio for room in the socket."""
    with trio.fail_after(60):
        while trio.lowlevel.current_statistics().io_statistics.tasks_waiting_write == 0:  # noqa: ASYNC110 - no event tells of it
            await trio.sleep(0.005)


@pytest.mark.parametrize(("offset", "length"), [(0, len(DATA)), (1, 1), (1000, 100_000), (5, 0)])
async def test_every_byte_arrives(pair, file, offset, length):
    ours, theirs = pair
    got = []

    async def read():
        got.append(await read_all(theirs, length))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await send(ours, file, offset, length)
    assert got == [DATA[offset : offset + length]]


async def test_a_slow_reader_holds_no_thread(pair, file):
    ours, theirs = pair
    had = leftovers.held()
    limiter = trio.CapacityLimiter(1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sendfile.send_file, ours.fileno(), file.fileno(), 0, len(DATA), limiter)
        await socket_is_full()
        assert limiter.borrowed_tokens == 0
        assert await read_all(theirs, len(DATA)) == DATA
    assert sum(isinstance(one, threading.Thread) for one in leftovers.since(had)) <= 2


async def test_it_can_be_cancelled_while_a_reader_does_not_read(pair, file):
    ours, _theirs = pair
    scope = trio.CancelScope()

    async def work():
        with scope:
            await send(ours, file, 0, len(DATA))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(work)
        await socket_is_full()
        scope.cancel()
    assert scope.cancelled_caught


async def test_a_reader_that_leaves(pair, file):
    ours, theirs = pair
    theirs.close()
    with pytest.raises(BrokenPipeError):
        await send(ours, file, 0, len(DATA))


async def test_a_file_that_is_shorter(pair, file):
    ours, _theirs = pair
    with pytest.raises(OSError, match="shorter") as caught:
        await send(ours, file, len(DATA) - 10, 11)
    assert caught.value.errno == errno.EIO

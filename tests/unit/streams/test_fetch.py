"""Verified reading: ranges, waiting, damage, failure, deletion."""

import os

import pytest
import trio

from tests.support import leftovers
from tyger import errors
from tygerd.blocks import container, writer
from tygerd.streams import fetch, hashing, span

BLOCKS = [os.urandom(size) for size in (100, 20_000, 1, 70_000, 300)]
DATA = b"".join(BLOCKS)


@pytest.fixture
def target(tmp_path):
    made = container.Container(str(tmp_path))
    yield made
    made.close()


def add(into, *blocks):
    for data in blocks:
        number = into.next_number
        fd = into.block_file(number)
        os.pwrite(fd, data, 0)
        into.seal(number, len(data), into.digest(fd, len(data)))
        os.close(fd)
    into.container.feed.notify()


def reading(target, **options):
    return fetch.reading(target, hasher=hashing.Hasher(), **options)


async def drain(ahead, into=None):
    data = bytearray() if into is None else into
    while (piece := await ahead.next()) is not None:
        data += os.pread(piece.fd, piece.length, piece.offset)
    return bytes(data)


@pytest.fixture
def written(target):
    into = writer.Writer.create(target, 1 << 20)
    add(into, *BLOCKS)
    into.finish("complete")
    return target


async def test_all_of_it(written):
    async with reading(written) as ahead:
        assert await drain(ahead) == DATA
        assert await ahead.next() is None


@pytest.mark.parametrize(
    "offset", [0, 1, 99, 100, 101, 20_100, 20_101, len(DATA) - 1, len(DATA), len(DATA) + 9]
)
@pytest.mark.parametrize("length", [None, 0, 1, 150, 10**9])
async def test_ranges(written, offset, length):
    async with reading(written, wanted=span.Span(offset, length)) as ahead:
        assert await drain(ahead) == DATA[offset:][:length]


async def test_reading_while_it_is_written_in_every_order(target):
    into = writer.Writer.create(target, 1 << 20)
    pieces, delivered = trio.open_memory_channel[bytes](0)
    waits, waiting = [], trio.Event()

    def note(waits_now):
        waits.append(waits_now)
        waiting.set()

    async def deliver(ahead):
        with pieces:
            while (piece := await ahead.next()) is not None:
                await pieces.send(os.pread(piece.fd, piece.length, piece.offset))

    async with reading(target, on_waiting=note) as ahead, trio.open_nursery() as nursery:
        nursery.start_soon(deliver, ahead)
        with trio.fail_after(30):
            await waiting.wait()
            for block in BLOCKS:
                add(into, block)
                got = b""
                while len(got) < len(block):
                    got += await delivered.receive()
                assert got == block
            into.finish("complete")
            target.feed.notify()
            with pytest.raises(trio.EndOfChannel):
                await delivered.receive()
    assert waits[:2] == [True, False]


@pytest.mark.parametrize("number", range(len(BLOCKS)))
async def test_a_damaged_block_is_never_delivered(written, number):
    with open(written.block_path(number), "r+b") as file:
        byte = file.read(1)
        file.seek(0)
        file.write(bytes([byte[0] ^ 1]))
    got = bytearray()
    with pytest.raises(errors.Problem, match=f"block {number} is damaged.*MD5") as caught:
        async with reading(written) as ahead:
            await drain(ahead, got)
    assert caught.value.kind is errors.CORRUPT
    assert bytes(got) == b"".join(BLOCKS[:number])


@pytest.mark.parametrize("how", ["shorter", "missing"])
async def test_a_block_file_that_is_not_whole(written, how):
    path = written.block_path(3)
    os.truncate(path, 10) if how == "shorter" else os.unlink(path)
    with pytest.raises(errors.Problem, match="block 3 is damaged"):
        async with reading(written) as ahead:
            await drain(ahead)


async def test_exchanged_blocks_break_the_chain(tmp_path):
    """Each MD5 is right, the order is not: only the chain can tell."""
    target = container.Container(str(tmp_path))
    into = writer.Writer.create(target, 1 << 20)
    add(into, b"one", b"two", b"six")
    into.finish("complete")
    book = target.book()
    first, second = (os.pread(book.fd, 88, 40 + 88 * n) for n in (0, 1))
    os.pwrite(book.fd, second, 40)
    os.pwrite(book.fd, first, 40 + 88)
    os.rename(target.block_path(0), target.block_path(7))
    os.rename(target.block_path(1), target.block_path(0))
    os.rename(target.block_path(7), target.block_path(1))
    with pytest.raises(errors.Problem, match="hash chain mismatch"):
        async with reading(target) as ahead:
            await drain(ahead)
    target.close()


async def test_a_failed_buffer_gives_what_it_has_and_then_the_reason(target):
    into = writer.Writer.create(target, 1 << 20)
    add(into, b"some")
    into.finish("failed", "the producer was killed")
    got = bytearray()
    with pytest.raises(errors.Problem, match="permanently failed state: the producer was killed") as caught:
        async with reading(target) as ahead:
            await drain(ahead, got)
    assert caught.value.kind is errors.BUFFER_FAILED
    assert bytes(got) == b"some"


async def test_a_reader_of_a_deleted_buffer_is_told(target):
    add(writer.Writer.create(target, 1 << 20), b"some")

    async def delete():
        await trio.testing.wait_all_tasks_blocked(0.005)
        target.deleted = True
        target.feed.notify()

    with pytest.raises(errors.Problem, match="not found"):
        async with reading(target) as ahead:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(delete)
                with trio.CancelScope():
                    result = []

                    async def read():
                        try:
                            await drain(ahead)
                        except errors.Problem as problem:
                            result.append(problem)

                    await read()
            raise result[0]


async def test_cancelled_in_a_wait_no_descriptor_stays_open(target):
    add(writer.Writer.create(target, 1 << 20), *BLOCKS)
    before = leftovers.descriptors()
    async with trio.open_nursery() as nursery:

        async def read():
            async with reading(target, on_waiting=lambda _: nursery.cancel_scope.cancel()) as ahead:
                await drain(ahead)

        nursery.start_soon(read)
    assert nursery.cancel_scope.cancelled_caught
    assert target.feed.waiting == 0
    assert not leftovers.descriptors() - before


async def test_cancelled_while_blocks_are_delivered_no_descriptor_stays_open(target):
    """The client is gone, or its run has ended: one block is on its way, others were opened ahead."""
    add(writer.Writer.create(target, 1 << 20), *BLOCKS)
    before = leftovers.descriptors()
    with trio.CancelScope() as scope:
        async with reading(target) as ahead:
            await ahead.next()
            assert leftovers.descriptors() - before
            scope.cancel()
            await trio.sleep_forever()
    assert not leftovers.descriptors() - before

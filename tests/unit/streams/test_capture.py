"""Capture from real pipes: exactness, block boundaries, sealing for readers, cancellation, full disks."""

import contextlib
import hashlib
import os

import pytest
import trio

from tests.support import disks, leftovers
from tygerd.blocks import chain, container, md5lanes, writer
from tygerd.osutil import statedir
from tygerd.streams import capture, hashing


@pytest.fixture
def target(tmp_path):
    made = container.Container(str(tmp_path))
    yield made
    made.close()


class Pipe:
    """A pipe whose ends are closed once: their numbers are reused at once."""

    def __init__(self):
        self.r, self.w = os.pipe()

    def write(self, data):
        view = memoryview(data)
        while view:  # one who was stopped meanwhile has written a part
            view = view[os.write(self.w, view) :]

    def end(self):
        os.close(self.w)
        self.w = None

    def close(self):
        os.close(self.r)
        if self.w is not None:
            self.end()


@contextlib.contextmanager
def pipe():
    ends = Pipe()
    try:
        yield ends
    finally:
        ends.close()


def begin(
    target,
    reader,
    *,
    block_size=1000,
    flush_interval=0.0,
    on_progress=lambda: None,
    into=None,
    admit=None,
    hasher=None,
):
    return capture.Capture(
        into or writer.Writer.create(target, block_size),
        reader,
        block_size=block_size,
        flush_interval=flush_interval,
        hasher=hasher or hashing.Hasher(),
        on_progress=on_progress,
        admit=admit,
    )


def lengths(target):
    found = []
    while (block := target.block(len(found))) is not None:
        found.append(block.length)
    return found


def content(target):
    data = b""
    for number in range(len(lengths(target))):
        if os.path.exists(path := target.block_path(number)):
            with open(path, "rb") as file:
                data += file.read()
    return data


async def feed(ends, data, piece):
    for start in range(0, len(data), piece):
        await trio.to_thread.run_sync(ends.write, data[start : start + piece])
    ends.end()


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 5000, 300_000])
@pytest.mark.parametrize("piece", [700, 65536])
async def test_every_byte_once_in_full_blocks(target, size, piece):
    data = os.urandom(size)
    with pipe() as ends:
        taking = begin(target, ends.r)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed, ends, data, piece)
            await taking.run()
    assert content(target) == data
    full, rest = divmod(size, 1000)
    assert lengths(target) == [1000] * full + [rest] * bool(rest)
    assert taking.bytes == size
    assert taking.blocks == len(lengths(target))
    if size == 0:
        assert not os.path.exists(target.block_path(0))


@pytest.mark.parametrize("sync", [False, True])
@pytest.mark.parametrize("library", [md5lanes.FOUND, None])
async def test_blocks_that_are_hashed_together_are_sealed_in_order(target, library, sync):
    """More of them than are hashed at a time, or are between capture and journal; and one that is small."""
    size = hashing.SMALL + 1
    data = os.urandom(100 * size + 1)
    before = leftovers.descriptors()
    with pipe() as ends:
        into = writer.Writer.create(target, size, sync=sync)
        hasher = hashing.Hasher(library)
        taking = begin(target, ends.r, block_size=size, into=into, hasher=hasher)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed, ends, data, 65536)
            await taking.run()
    target.close()
    assert not leftovers.descriptors() - before
    blocks = [data[start : start + size] for start in range(0, len(data), size)]
    value = chain.INITIAL
    for number, block in enumerate(blocks):
        value = chain.following(value, hashlib.md5(block).digest())
        found = target.block(number)
        assert (found.md5, found.chain) == (hashlib.md5(block).digest(), value)
    assert content(target) == data


async def test_a_waiting_reader_gets_what_is_there_at_once(target):
    """With no flush interval at all: the reader's waiting seals the unfinished block."""
    with pipe() as ends:
        taking = begin(target, ends.r)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(taking.run)
            for number, data in enumerate([b"one", b"three"]):
                ends.write(data)
                while True:
                    event = target.feed.next()
                    if (block := target.block(number)) is not None:
                        break
                    await target.feed.wait(event)
                assert block.length == len(data)
            nursery.cancel_scope.cancel()


async def test_an_unfilled_block_is_sealed_after_the_flush_interval(target, autojump_clock):
    """Nobody reads, so only the interval can seal. (The pipe is ready before the clock may jump.)"""
    with pipe() as ends:
        taking = begin(target, ends.r, flush_interval=3600)
        async with trio.open_nursery() as nursery:
            ends.write(b"some")
            sealed = target.feed.next()
            nursery.start_soon(taking.run)
            await sealed.wait()
            assert lengths(target) == [4]
            assert trio.current_time() >= 3600
            nursery.cancel_scope.cancel()


async def test_cancelled_nothing_is_lost_and_recovery_goes_on(target):
    data = os.urandom(2500)
    with pipe() as ends:
        taking = begin(target, ends.r)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(taking.run)
                ends.write(data[:1700])
                while taking.bytes < 1700:
                    await trio.lowlevel.checkpoint()
                scope.cancel()
        ends.write(data[1700:])
        ends.end()
        again = begin(target, ends.r, into=writer.Writer.recover(target))
        assert again.bytes == 1700
        await again.run()
    assert content(target) == data
    assert lengths(target) == [1000, 700, 800]


async def test_the_rest_of_a_pipe_is_what_is_in_it_now(target):
    with pipe() as ends:
        ends.write(bytes(2300))
        await begin(target, ends.r).take_rest()
        assert lengths(target) == [1000, 1000, 300]
        assert capture.pending(ends.r) == 0


async def test_the_rest_of_an_empty_pipe(target):
    with pipe() as ends:
        await begin(target, ends.r).take_rest()
        assert lengths(target) == []


async def test_a_full_disk_holds_the_stream_until_there_is_space(tmp_path, autojump_clock):
    """The stream waits, says so, and goes on exactly where it stopped."""

    class Full(writer.Writer):
        refusals = 3

        def block_file(self, number):
            if number == 1 and self.refusals:
                self.refusals -= 1
                raise OSError(28, "No space left on device")
            return super().block_file(number)

    target = container.Container(str(tmp_path))
    said = []
    data = os.urandom(2500)
    with pipe() as ends:
        ends.write(data)
        ends.end()
        taking = begin(
            target, ends.r, into=Full.create(target, 1000), on_progress=lambda: said.append(taking.waiting)
        )
        await taking.run()
    assert content(target) == data
    assert "the disk is full" in said
    assert taking.waiting is None
    target.close()


async def test_a_stream_leaves_the_last_room_to_the_catalog(tmp_path, autojump_clock):
    with disks.mounted(tmp_path / "disk", "-o", "size=6m") as disk, pipe() as ends:
        (disk / "filler").write_bytes(bytes(4 * statedir.RESERVE))
        target = container.Container(str(disk))
        ends.write(b"some")
        ends.end()
        taking = begin(target, ends.r)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(taking.run)
            while taking.waiting is None:
                await trio.lowlevel.checkpoint()
            await trio.sleep(10 * capture.FULL_DISK_PAUSE)
            assert (taking.waiting, taking.bytes) == ("the disk is full", 0)
            (disk / "filler").unlink()
        assert content(target) == b"some"
        target.close()


async def test_an_end_needs_no_room(target):
    """A stream that is all in a full spool has ended all the same."""
    with pipe() as ends:
        admitted = trio.Event()

        async def admit():
            if admitted.is_set():
                await trio.sleep_forever()
            admitted.set()

        taking = begin(target, ends.r, block_size=4, admit=admit)
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(taking.run)
                ends.write(b"some")
                await admitted.wait()
                ends.end()
        assert content(target) == b"some"


async def test_a_fifo_without_a_writer_has_not_ended(tmp_path, target):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    taking = begin(target, reader)
    async with trio.open_nursery() as nursery:
        done = trio.Event()

        async def run():
            await taking.run()
            done.set()

        nursery.start_soon(run)
        await trio.testing.wait_all_tasks_blocked()
        assert not done.is_set()
        writing = os.open(path, os.O_WRONLY)
        os.write(writing, b"late")
        os.close(writing)
        await done.wait()
    os.close(reader)
    assert content(target) == b"late"

"""Downloading: order, polling, verification before delivery, failures."""

import hashlib
import os

import pytest
import trio
import trio.testing

from tests.support import blobserver
from tyger import errors
from tygerd.blocks import chain, names
from tygerd.stores import dataplane, network
from tygerd.streams import download

BLOCKS = [os.urandom(size) for size in (100, 20_000, 1, 70_000, 300, 300, 300)]
DATA = b"".join(BLOCKS)
START = b'{"version":"0.3.0"}'
COMPLETE = b'{"status":"complete"}'
FAILED = b'{"status":"failed"}'


def chained(blocks):
    """Each block's name, bytes and chain value; the empty last one included."""
    value = chain.INITIAL
    for number, data in enumerate([*blocks, b""]):
        value = chain.following(value, hashlib.md5(data).digest())
        yield names.block_name(number), data, value


def put(server, blocks=BLOCKS, end=COMPLETE):
    server.put(".bufferstart", START)
    for name, data, value in chained(blocks):
        server.put(name, data, cumulative_hash_chain=value)
    if end:
        server.put(".bufferend", end)


class Sink:
    """Takes what is delivered; `grown` is told of every delivery."""

    def __init__(self):
        self.data = bytearray()
        self.grown = trio.Event()

    async def deliver(self, piece):
        await trio.lowlevel.checkpoint()
        self.data += piece
        self.grown.set()
        self.grown = trio.Event()

    async def wait_for(self, size):
        while len(self.data) < size:
            await self.grown.wait()


class Measured(download.Download):
    """Notes the most memory that its blocks have had."""

    def __init__(self, remote, dop, **options):
        super().__init__(remote, self.take, download.Options(width=lambda: dop, **options))
        self.data = b""
        self.most = 0

    async def take(self, piece):
        self.most = max(self.most, self._memory.taken)
        await trio.lowlevel.checkpoint()
        self.data += piece


async def receive(remote, sink=None, dop=4):
    sink = sink or Sink()
    taking = download.Download(remote, sink.deliver, download.Options(width=lambda: dop))
    await taking.run()
    assert taking.bytes == len(sink.data)
    return bytes(sink.data)


@pytest.mark.parametrize("dop", [1, 2, 32])
@pytest.mark.parametrize("end", [COMPLETE, None])
async def test_a_whole_buffer(server, remote, dop, end):
    put(server, end=end)
    assert await receive(remote, dop=dop) == DATA
    assert server.most_at_once <= dop + 1  # the end marker is looked for beside


async def test_an_empty_buffer(server, remote):
    put(server, [])
    assert await receive(remote) == b""


async def test_many_blocks_use_the_parallelism_but_no_more_memory(server, remote):
    blocks = [bytes([n]) * 1000 for n in range(100)]
    put(server, blocks)
    taking = Measured(remote, 8)
    await taking.run()
    assert taking.data == b"".join(blocks)
    assert taking.blocks == 100
    assert taking.most <= 8 * 1000


async def test_huge_blocks_behind_small_ones(server, remote):
    """A window that has grown with small blocks asks for more large ones than there is memory for."""
    blocks = [*[b"x" * 10] * 64, *[os.urandom(70_000) for _ in range(16)]]
    put(server, blocks)
    taking = Measured(remote, 32, memory=200_000)
    await taking.run()
    assert taking.data == b"".join(blocks)
    assert taking.most <= 200_000 + 70_000
    assert len(server.seen) < 2 * len(blocks)


async def test_huge_blocks_are_not_asked_for_again_at_each_delivery(server, remote):
    """Those that found no room are left alone while small ones before them are delivered."""
    blocks = [*[b"x" * 10] * 60, *[os.urandom(70_000) for _ in range(10)]]
    put(server, blocks)

    class Uneven(Measured):
        """Lets the window grow, then lets it reach all huge blocks at once, then dwells on small ones."""

        async def take(self, piece):
            self.data += piece
            if not 10 <= self.blocks < 38:
                await trio.testing.wait_all_tasks_blocked(0.005)

    taking = Uneven(remote, 32, memory=200_000)
    await taking.run()
    assert taking.data == b"".join(blocks)
    asked = [seen.blob for seen in server.seen if seen.blob.startswith("00/")]
    assert len(asked) <= len(blocks) + 2 * 10


@pytest.mark.parametrize("fit", [1, 3])
async def test_huge_blocks_are_asked_for_once(server, remote, fit):
    blocks = [os.urandom(70_000) for _ in range(10)]
    put(server, blocks)
    taking = Measured(remote, 32, memory=fit * 70_000)
    await taking.run()
    assert taking.data == b"".join(blocks)
    asked = [seen.blob for seen in server.seen if seen.blob.startswith("00/")]
    assert len(asked) <= len(blocks) + 3


async def test_while_it_is_written_only_the_lowest_missing_block_is_asked_for(server, remote, autojump_clock):
    sink = Sink()
    total, there = 0, set()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive, remote, sink)
        server.put(".bufferstart", START)
        for name, data, value in chained(BLOCKS):
            await trio.to_thread.run_sync(server.wait, lambda n=name: server.count("GET", n) > 1)
            there.add(name)
            assert {seen.blob for seen in server.seen if not seen.blob.startswith(".")} == there
            server.put(name, data, cumulative_hash_chain=value)
            total += len(data)
            await sink.wait_for(total)
    assert sink.data == DATA


async def test_blocks_that_are_there_out_of_order(server, remote, autojump_clock):
    """A writer's uploads complete in any order."""
    server.put(".bufferstart", START)
    blobs = list(chained(BLOCKS))
    order = [*blobs[:2], *blobs[3:]]
    for name, data, value in order:
        server.put(name, data, cumulative_hash_chain=value)
    sink = Sink()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive, remote, sink)
        await sink.wait_for(len(BLOCKS[0] + BLOCKS[1]))
        name, data, value = blobs[2]
        await trio.to_thread.run_sync(server.wait, lambda: server.count("GET", name) > 2)
        server.put(name, data, cumulative_hash_chain=value)
    assert sink.data == DATA


# --- damage ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 3, 6])
async def test_a_corrupt_answer_is_asked_for_again(server, remote, number):
    put(server)
    server.fault("GET", names.block_name(number), blobserver.CORRUPT, blobserver.SHORT, blobserver.CORRUPT)
    assert await receive(remote) == DATA


async def test_a_block_that_stays_corrupt_is_never_delivered(server, remote):
    put(server)
    server.fault("GET", "00/003", *[blobserver.CORRUPT] * 5)
    sink = Sink()
    with pytest.raises(errors.Problem, match="cannot read block 3: MD5 mismatch") as caught:
        await receive(remote, sink)
    assert caught.value.kind is errors.CORRUPT
    assert sink.data == b"".join(BLOCKS[:3])


async def test_a_broken_chain_is_never_delivered(server, remote):
    """Two blocks changed places: each MD5 is right."""
    put(server)
    first, second = server.blobs["00/004"], server.blobs["00/005"]
    server.put("00/004", second.data, **first.meta)
    sink = Sink()
    with pytest.raises(errors.Problem, match="block 4 is damaged and was not delivered: hash chain mismatch"):
        await receive(remote, sink)
    assert sink.data == b"".join(BLOCKS[:4])


async def test_a_block_without_chain(server, remote):
    put(server)
    server.put("00/001", BLOCKS[1])
    with pytest.raises(errors.Problem, match="block 1: it has no hash chain"):
        await receive(remote)


@pytest.mark.parametrize("number", [0, 2, len(BLOCKS)])
async def test_a_block_that_is_missing_though_the_stream_is_complete(server, remote, number, autojump_clock):
    put(server)
    del server.blobs[names.block_name(number)]
    sink = Sink()
    with pytest.raises(
        errors.Problem, match=f"blob number {number} was expected to exist but does not"
    ) as caught:
        await receive(remote, sink)
    assert caught.value.kind is errors.CORRUPT
    assert sink.data == b"".join(BLOCKS[:number])


# --- markers ---------------------------------------------------------------------------------------------


async def test_a_failed_buffer(server, remote):
    put(server, BLOCKS[:2], FAILED)
    del server.blobs["00/002"]
    with pytest.raises(errors.Problem, match=r"^the buffer is in a permanently failed state$") as caught:
        await receive(remote)
    assert caught.value.kind is errors.BUFFER_FAILED


async def test_a_buffer_that_fails_while_it_is_read(server, remote, autojump_clock):
    put(server, BLOCKS[:2], None)
    del server.blobs["00/002"]
    sink = Sink()
    raised = []

    async def read():
        with pytest.raises(errors.Problem, match="permanently failed") as caught:
            await receive(remote, sink)
        raised.append(caught.value)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await sink.wait_for(len(BLOCKS[0] + BLOCKS[1]))
        server.put(".bufferend", FAILED)
    assert raised
    assert sink.data == BLOCKS[0] + BLOCKS[1]


async def test_a_buffer_that_never_began_and_failed(server, remote):
    server.put(".bufferend", FAILED)
    with pytest.raises(errors.Problem, match="permanently failed"):
        await receive(remote)


async def test_a_buffer_with_an_end_but_no_start(server, remote, autojump_clock):
    server.put(".bufferend", COMPLETE)
    with pytest.raises(errors.Problem, match="an end but no start"):
        await receive(remote)


@pytest.mark.parametrize(
    ("marker", "words"),
    [
        (b'{"version":"0.4.0"}', "unsupported format buffer version '0.4.0'. Expected '0.3.0'"),
        (b"{}", "unsupported format buffer version 'None'"),
        (b"[]", "the marker .bufferstart is not a JSON object"),
        (b"\xff", "the marker .bufferstart is not a JSON object"),
        (b"[" * 50_000, "the marker .bufferstart is not a JSON object"),
        (b" " * 65_537, "the marker .bufferstart is longer than 65536 bytes"),
    ],
)
async def test_start_markers_of_another_make(server, remote, marker, words):
    put(server)
    server.put(".bufferstart", marker)
    with pytest.raises(errors.Problem, match=words):
        await receive(remote)


async def test_an_unknown_end_is_taken_as_complete(server, remote, autojump_clock, caplog):
    """What is missing then stays missing; nobody waits for it."""
    put(server, end=b'{"status":"finished"}')
    del server.blobs["00/002"]
    with pytest.raises(errors.Problem, match="blob number 2 was expected to exist but does not"):
        await receive(remote)
    assert "unknown status 'finished'" in caplog.text


async def test_the_wrong_container_is_said_at_once(server, connecting):
    with pytest.raises(dataplane.ContainerNotFoundError, match=r"^the buffer does not exist$"):
        await receive(connecting("elsewhere"))
    assert len(server.seen) <= 2


async def test_what_happens_beyond_the_end_does_not_matter(server, remote):
    """Blocks are asked for ahead; the answers to those behind the last one are nobody's concern."""
    put(server, [b"x"] * 6, None)
    for number in range(7, 16):
        server.put(names.block_name(number), b"stray")
    assert await receive(remote, dop=16) == b"x" * 6


# --- cancellation and the sink ---------------------------------------------------------------------------


async def test_cancelled_with_a_silent_server(server, remote):
    put(server)
    server.fault("GET", "00/002", blobserver.SILENCE)
    sink = Sink()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive, remote, sink)
        await sink.wait_for(len(BLOCKS[0] + BLOCKS[1]))
        await trio.to_thread.run_sync(server.until_met)
        started = trio.current_time()
        nursery.cancel_scope.cancel()
    assert trio.current_time() - started < network.SILENCE, "it waited for the silent request"
    assert sink.data == BLOCKS[0] + BLOCKS[1]


async def test_what_the_sink_raises_comes_through_as_it_is(server, remote):
    put(server)

    async def deliver(piece):
        await trio.lowlevel.checkpoint()
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        await download.Download(remote, deliver, download.Options(width=lambda: 4)).run()

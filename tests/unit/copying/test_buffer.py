import os

import pytest
import trio

from tests.support import blobserver
from tests.unit.copying.conftest import COMPLETE, FAILED, bare, fill
from tyger import errors
from tygerd.blocks import names
from tygerd.copying import buffer

BLOCKS = [os.urandom(size) for size in (1000, 1, 70_000, *[300] * 40)]


@pytest.fixture
def copying(shop):
    """Copies container `b` from server to server."""

    async def copy(width=4):
        async with (
            shop.remotes.way(lambda: shop.source.access("b", writeable=False), "down") as down,
            shop.remotes.way(lambda: shop.target.access("b", writeable=True), "up") as up,
        ):
            return await buffer.Copy(down.remote, up.remote, lambda: width).run()

    return copy


@pytest.mark.parametrize("width", [1, 3, 100])
async def test_a_whole_buffer(copying, source_server, target_server, width):
    fill(source_server, "b", BLOCKS)
    target_server.containers["b"] = {}
    copied = await copying(width)
    assert copied == ("complete", len(BLOCKS), sum(map(len, BLOCKS)))
    assert bare(target_server.containers["b"]) == bare(source_server.containers["b"])
    assert target_server.seen[-1].blob == ".bufferend"
    assert target_server.most_at_once <= min(width, buffer.MOST_AT_ONCE)


async def test_blocks_that_are_larger_than_the_memory_come_one_at_a_time(shop, source_server, target_server):
    """Of all buffers that are copied together: eight with blocks of a GiB must not take eight GiB."""
    memory = 1 << 20
    large = [os.urandom(memory + size) for size in range(3)]
    for name in "bcd":
        fill(source_server, name, [*large, b"x" * 300])
        target_server.containers[name] = {}
    huge, held, most = trio.Lock(), 0, 0

    class Watched:
        """The way there; counts the large blocks under way."""

        def __init__(self, plane):
            self._plane = plane

        def __getattr__(self, name):
            return getattr(self._plane, name)

        async def put(self, name, body, md5, meta):
            nonlocal held, most
            is_large = len(body) > memory
            held += is_large
            most = max(most, held)
            await self._plane.put(name, body, md5, meta)
            held -= is_large

    async def copy(name):
        async with (
            shop.remotes.way(lambda: shop.source.access(name, writeable=False), "down") as down,
            shop.remotes.way(lambda: shop.target.access(name, writeable=True), "up") as up,
        ):
            await buffer.Copy(down.remote, Watched(up.remote), lambda: 4, huge, most=memory).run()

    async with trio.open_nursery() as nursery:
        for name in "bcd":
            nursery.start_soon(copy, name)
    assert most == 1
    for name in "bcd":
        assert bare(target_server.containers[name]) == bare(source_server.containers[name])


async def test_an_empty_buffer(copying, source_server, target_server):
    fill(source_server, "b", [])
    target_server.containers["b"] = {}
    assert await copying() == ("complete", 0, 0)
    assert bare(target_server.containers["b"]) == bare(source_server.containers["b"])


@pytest.mark.parametrize("start", [b'{"version":"0.3.0"}', None])
async def test_a_failed_buffer(copying, source_server, target_server, start):
    fill(source_server, "b", BLOCKS[:3] if start else [], end=FAILED, start=start)
    target_server.containers["b"] = {}
    assert (await copying()).status == "failed"
    assert bare(target_server.containers["b"]) == bare(source_server.containers["b"])


@pytest.mark.parametrize(
    ("started", "words"), [(True, "it is still being written"), (False, "nothing was ever written to it")]
)
async def test_an_unfinished_buffer(copying, source_server, target_server, started, words):
    fill(source_server, "b", BLOCKS[:2] if started else [], end=None, start=b"x" if started else None)
    target_server.containers["b"] = {}
    with pytest.raises(buffer.UnfinishedError, match=words):
        await copying()
    assert target_server.containers["b"] == {}


async def test_what_is_there_is_not_sent_again_and_the_rest_is(copying, source_server, target_server):
    fill(source_server, "b", BLOCKS)
    fill(target_server, "b", BLOCKS[:20], end=None)
    await copying()
    assert bare(target_server.containers["b"]) == bare(source_server.containers["b"])


async def test_something_else_is_there(copying, source_server, target_server):
    fill(source_server, "b", BLOCKS)
    fill(target_server, "b", [b"other"], end=None)
    with pytest.raises(
        errors.Problem, match="the destination holds another buffer of this id: 00/000 differs"
    ):
        await copying()
    assert ".bufferend" not in target_server.containers["b"]


async def test_a_block_that_is_missing(copying, source_server, target_server):
    fill(source_server, "b", BLOCKS)
    del source_server.containers["b"][names.block_name(7)]
    target_server.containers["b"] = {}
    with pytest.raises(errors.Problem, match="block 7 is missing at the source") as caught:
        await copying()
    assert caught.value.kind is errors.CORRUPT
    assert ".bufferend" not in target_server.containers["b"]


async def test_a_block_of_another_buffer(copying, source_server, target_server):
    fill(source_server, "b", BLOCKS)
    there = source_server.containers["b"]
    there["00/004"] = there["00/000"]
    target_server.containers["b"] = {}
    with pytest.raises(errors.Problem, match="block 4 does not continue the hash chain"):
        await copying()
    assert ".bufferend" not in target_server.containers["b"]


async def test_a_damaged_block(copying, source_server, target_server):
    fill(source_server, "b", BLOCKS)
    target_server.containers["b"] = {}
    source_server.fault("GET", "00/002", *[blobserver.CORRUPT] * 5)
    with pytest.raises(errors.Problem, match="block 2 is damaged at the source"):
        await copying()
    assert ".bufferend" not in target_server.containers["b"]


async def test_faults_that_pass(copying, source_server, target_server):
    fill(source_server, "b", BLOCKS)
    target_server.containers["b"] = {}
    source_server.fault("GET", "00/000", blobserver.CORRUPT, blobserver.HANG_UP, blobserver.Refusal(503))
    target_server.fault("PUT", "00/001", blobserver.LOST_REPLY, blobserver.Refusal(500))
    target_server.fault("PUT", ".bufferend", blobserver.LOST_REPLY)
    await copying()
    assert bare(target_server.containers["b"]) == bare(source_server.containers["b"])


@pytest.mark.parametrize(
    "end",
    [b'{"status":"tired"}', b'{"status":["complete"]}', b'{"status":{}}', b"[]", b"\xff", b"[" * 60_000],
    ids=["unknown", "list", "mapping", "no mapping", "no text", "deep"],
)
async def test_an_end_that_makes_no_sense(copying, source_server, target_server, end):
    fill(source_server, "b", BLOCKS[:2], end=end)
    target_server.containers["b"] = {}
    with pytest.raises(errors.Problem, match="end marker makes no sense"):
        await copying()


async def test_an_end_without_a_start(copying, source_server, target_server):
    fill(source_server, "b", [], start=None, end=COMPLETE)
    target_server.containers["b"] = {}
    with pytest.raises(errors.Problem, match="an end but no start"):
        await copying()


async def test_cancelled_it_leaves_no_end(copying, source_server, target_server):
    fill(source_server, "b", BLOCKS)
    target_server.containers["b"] = {}
    target_server.fault("PUT", "00/003", blobserver.SILENCE)
    with trio.move_on_after(30) as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(copying)
            await trio.to_thread.run_sync(
                lambda: target_server.wait(lambda: target_server.count("PUT", "00/003"))
            )
            nursery.cancel_scope.cancel()
    assert not scope.cancelled_caught
    assert ".bufferend" not in target_server.containers["b"]

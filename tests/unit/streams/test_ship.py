"""Shipping: the contract's order, parallelism, lost replies, other writers, failures, the spool."""

import hashlib
import os

import pytest
import trio
import trio.testing

from tests.support import blobserver
from tyger import errors
from tygerd.blocks import chain, container, names, writer
from tygerd.stores import dataplane, network
from tygerd.streams import ship

BLOCKS = [b"Hello", b", ", bytes(50_000), b"world"]


@pytest.fixture
def spool(tmp_path):
    made = container.Container(str(tmp_path / "spool"))
    os.mkdir(made.path)
    yield made
    made.close()


@pytest.fixture
def into(spool):
    return writer.Writer.create(spool, 1 << 20)


def add(into, *blocks):
    for data in blocks:
        number = into.next_number
        fd = into.block_file(number)
        os.pwrite(fd, data, 0)
        into.seal(number, len(data), into.digest(fd, len(data)))
        os.close(fd)
    into.container.feed.notify()


def end(into, outcome="complete", reason=None):
    into.finish(outcome, reason)
    into.container.feed.notify()


def shipper(spool, remote, **options):
    """Its last words may take long on a busy machine."""
    return ship.Ship(spool, remote, **{"last_words": 60.0, **options})


def remaining(spool):
    return sum(len(files) for _, _, files in os.walk(os.path.join(spool.path, "blocks")))


def assert_whole(server, blocks):
    """The remote buffer is what the contract says, byte for byte."""
    value = chain.INITIAL
    for number, data in enumerate([*blocks, b""]):
        blob = server.blobs[names.block_name(number)]
        value = chain.following(value, hashlib.md5(data).digest())
        assert blob == blobserver.Blob(data, {"cumulative_hash_chain": value})
    assert server.stored(".bufferstart") == b'{"version":"0.3.0"}'
    assert server.stored(".bufferend") == b'{"status":"complete"}'
    assert len(server.blobs) == len(blocks) + 3


async def test_it_waits_for_a_capture_that_has_not_begun(server, remote, spool):
    shipping = shipper(spool, remote, dop=4)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shipping.run)
        await trio.testing.wait_all_tasks_blocked()
        assert server.seen == []
        into = writer.Writer.create(spool, 1 << 20)
        add(into, *BLOCKS)
        end(into)
    assert_whole(server, BLOCKS)


async def test_a_whole_container(server, remote, into, spool):
    add(into, *BLOCKS)
    end(into)
    shipping = shipper(spool, remote, dop=4)
    assert await shipping.run() == "complete"
    assert_whole(server, BLOCKS)
    assert shipping.accepted == len(BLOCKS) + 1
    assert shipping.accepted_bytes == sum(map(len, BLOCKS))
    assert remaining(spool) == 0
    order = [(seen.method, seen.blob) for seen in server.seen]
    assert order[:2] == [("HEAD", ".bufferstart"), ("PUT", ".bufferstart")]
    assert order[-1] == ("PUT", ".bufferend")


async def test_an_empty_stream(server, remote, into, spool):
    end(into)
    await shipper(spool, remote, dop=4).run()
    assert_whole(server, [])


async def test_while_it_is_captured_and_without_being_a_reader(server, remote, into, spool):
    """A reader that waits makes capture cut small blocks; a shipper must not."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shipper(spool, remote, dop=4).run)
        for number, data in enumerate(BLOCKS):
            await trio.testing.wait_all_tasks_blocked(0.005)
            assert spool.feed.waiting == 0
            add(into, data)
            await trio.to_thread.run_sync(server.wait, lambda n=number: names.block_name(n) in server.blobs)
        assert ".bufferend" not in server.blobs
        end(into)
    assert_whole(server, BLOCKS)


async def test_at_most_dop_blocks_are_under_way(server, remote, into, spool):
    add(into, *[bytes([n]) for n in range(40)])
    end(into)
    await shipper(spool, remote, dop=3).run()
    assert_whole(server, [bytes([n]) for n in range(40)])
    assert 1 <= server.most_at_once <= 3


@pytest.mark.parametrize("overwrite", ["UnauthorizedBlobOverwrite", "AuthorizationPermissionMismatch"])
@pytest.mark.parametrize("blob", [".bufferstart", "00/000", "00/004", ".bufferend"])
async def test_a_lost_reply_is_a_success(server, remote, into, spool, blob, overwrite):
    """The second PUT is refused, in Azurite's words or Azure's: what is there is ours."""
    server.overwrite = overwrite
    server.fault("PUT", blob, blobserver.LOST_REPLY)
    add(into, *BLOCKS)
    end(into)
    await shipper(spool, remote, dop=4).run()
    assert_whole(server, BLOCKS)
    assert server.count("PUT", blob) == 2
    assert remaining(spool) == 0


@pytest.mark.parametrize(
    "fault", [blobserver.HANG_UP, blobserver.Refusal(503), blobserver.Refusal(400, "Md5Mismatch")]
)
async def test_faults_that_pass(server, remote, into, spool, fault):
    for blob in (".bufferstart", "00/000", "00/003", "00/004", ".bufferend"):
        server.fault("PUT", blob, fault, fault)
    add(into, *BLOCKS)
    end(into)
    await shipper(spool, remote, dop=4).run()
    assert_whole(server, BLOCKS)


# --- other writers ---------------------------------------------------------------------------------------


async def test_a_buffer_that_was_begun_is_not_touched(server, remote, into, spool):
    server.put(".bufferstart", b'{"version":"0.3.0"}')
    add(into, *BLOCKS)
    with pytest.raises(dataplane.ExistsError, match="buffer cannot be overwritten"):
        await shipper(spool, remote, dop=4).run()
    assert list(server.blobs) == [".bufferstart"]
    assert remaining(spool) == len(BLOCKS)


async def test_a_head_that_is_answered_oddly_leaves_it_to_the_put(server, remote, into, spool):
    server.fault("HEAD", ".bufferstart", blobserver.Refusal(400, "Odd"))
    end(into)
    await shipper(spool, remote, dop=4).run()
    assert_whole(server, [])


async def test_two_writers_at_once_one_wins(server, remote, into, spool):
    """Both saw no start marker; the other's came between our HEAD and our PUT."""
    server.fault("HEAD", ".bufferstart", blobserver.Refusal(404, "BlobNotFound"))
    server.put(".bufferstart", b'{"version":"0.3.0"}', tyger_writer="another")
    with pytest.raises(dataplane.ExistsError):
        await shipper(spool, remote, dop=4).run()
    assert list(server.blobs) == [".bufferstart"]


async def test_anothers_block_fails_the_buffer(server, remote, into, spool):
    server.put("00/001", b"from elsewhere", cumulative_hash_chain="x")
    add(into, *BLOCKS)
    with pytest.raises(dataplane.ExistsError):
        await shipper(spool, remote, dop=1).run()
    assert server.stored(".bufferend") == b'{"status":"failed"}'


async def test_what_an_earlier_process_sent_is_not_sent_again(server, connecting, into, spool):
    """Its files are gone from the spool; the data plane vouches for them."""
    add(into, *BLOCKS)
    async with trio.open_nursery() as nursery:
        first = shipper(spool, connecting(), dop=2)
        nursery.start_soon(first.run)
        await trio.to_thread.run_sync(server.wait, lambda: "00/003" in server.blobs)
        while first.accepted < len(BLOCKS):
            await first._progress.wait()
        server.signatures["good"] = "r"  # so that it cannot say that it failed
        nursery.cancel_scope.cancel()
    server.signatures["good"] = "cr"
    server.seen.clear()
    end(into)
    assert await shipper(spool, connecting(), dop=2).run() == "complete"
    assert_whole(server, BLOCKS)
    assert server.count("PUT", "00/000") == 0


async def test_a_block_that_is_neither_here_nor_there(server, remote, into, spool):
    add(into, *BLOCKS)
    os.unlink(spool.block_path(1))
    with pytest.raises(errors.Problem, match="block 1 is neither in the spool nor at the store"):
        await shipper(spool, remote, dop=1).run()
    assert server.stored(".bufferend") == b'{"status":"failed"}'


# --- failures --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        (blobserver.Refusal(404, "ContainerNotFound"), "^the buffer does not exist$"),
        (blobserver.Refusal(403, "AuthenticationFailed"), "invalid access URL"),
        (blobserver.Refusal(413), "cannot send block 2: the store does not accept blocks of this size"),
        (blobserver.Refusal(409, "Odd"), "cannot send block 2: unexpected status code 409: Odd"),
    ],
)
async def test_a_refusal_fails_the_buffer(server, remote, into, spool, refusal, words):
    add(into, *BLOCKS)
    server.fault("PUT", "00/002", refusal)
    with pytest.raises(errors.Problem, match=words):
        await shipper(spool, remote, dop=1).run()
    assert server.stored(".bufferend") == b'{"status":"failed"}'
    assert os.path.exists(spool.block_path(2))


async def test_no_write_access_is_said_so_and_no_end_is_written(server, connecting, into, spool):
    with pytest.raises(dataplane.NotPermittedError, match="does not allow write access"):
        await shipper(spool, connecting("buffer1", "reader"), dop=1).run()
    assert server.blobs == {}
    assert server.count("PUT", ".bufferend") == 0


async def test_an_end_marker_that_cannot_be_written_is_a_warning(server, remote, into, spool, caplog):
    add(into, *BLOCKS)
    end(into)
    server.fault("PUT", ".bufferend", blobserver.Refusal(400, "Odd"))
    assert await shipper(spool, remote, dop=4).run() == "complete"
    assert "failed to upload optional metadata at the end of the transfer" in caplog.text
    assert ".bufferend" not in server.blobs


async def test_a_container_that_fails_fails_the_remote_buffer(server, remote, into, spool):
    """At once, although a server that says nothing holds every slot."""
    add(into, *BLOCKS)
    server.fault("PUT", "00/000", blobserver.SILENCE)
    async with trio.open_nursery() as nursery:
        outcomes = []

        async def run():
            outcomes.append(await shipper(spool, remote, dop=1).run())

        nursery.start_soon(run)
        await trio.to_thread.run_sync(server.until_met)
        end(into, "failed", "the producer was killed")
    assert outcomes == ["failed"]
    assert server.stored(".bufferend") == b'{"status":"failed"}'


async def test_cancelled_the_remote_buffer_is_failed(server, remote, into, spool):
    add(into, *BLOCKS)
    server.fault("PUT", "00/003", blobserver.SILENCE)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shipper(spool, remote, dop=4).run)
        await trio.to_thread.run_sync(server.until_met)
        started = trio.current_time()
        nursery.cancel_scope.cancel()
    assert trio.current_time() - started < network.SILENCE, "it waited for the silent request"
    assert server.stored(".bufferend") == b'{"status":"failed"}'
    assert os.path.exists(spool.block_path(3))


@pytest.mark.parametrize("begun", [True, False])
async def test_cancelled_while_it_begins(server, remote, into, spool, begun):
    """Nobody knows whether the start marker is there; it is looked for before the buffer is failed."""
    busy = blobserver.Refusal(503, "ServerBusy", headers=(("Retry-After", "600"),))
    faults = [blobserver.LOST_REPLY, busy] if begun else [busy]
    server.fault("PUT", ".bufferstart", *faults)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shipper(spool, remote, dop=4).run)
        await trio.to_thread.run_sync(server.until_met)
        nursery.cancel_scope.cancel()
    assert set(server.blobs) == ({".bufferstart", ".bufferend"} if begun else set())


async def test_cancelled_while_nobody_answers_it_gives_up(server, remote, into, spool, caplog):
    add(into, b"x")
    server.fault("PUT", "00/000", blobserver.SILENCE)
    server.fault("PUT", ".bufferend", blobserver.SILENCE)
    async with trio.open_nursery() as nursery:
        shipping = shipper(spool, remote, dop=4, last_words=0.05)
        nursery.start_soon(shipping.run)
        await trio.to_thread.run_sync(server.wait, lambda: server.count("PUT", "00/000") == 1)
        nursery.cancel_scope.cancel()
    assert "could not be marked as failed: no answer within 0.05 s" in caplog.text


async def test_cancelled_after_the_last_block_a_whole_stream_is_not_failed(server, remote, into, spool):
    add(into, *BLOCKS)
    end(into)
    server.fault("PUT", ".bufferend", blobserver.SILENCE)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shipper(spool, remote, dop=4).run)
        await trio.to_thread.run_sync(server.until_met)
        nursery.cancel_scope.cancel()
    assert ".bufferend" not in server.blobs
    assert server.stored("00/004") == b""


async def test_a_damaged_spool_is_named(server, remote, into, spool):
    add(into, *BLOCKS)
    os.pwrite(spool.book().fd, b"xx", 40 + 88 * 2 + 40)
    with pytest.raises(errors.Problem, match="the spool is damaged: record 2") as caught:
        await shipper(spool, remote, dop=1).run()
    assert caught.value.kind is errors.CORRUPT


async def test_a_block_that_was_damaged_in_the_spool_is_never_accepted(server, remote, into, spool):
    add(into, *BLOCKS)
    with open(spool.block_path(2), "r+b") as file:
        file.write(b"x")
    with pytest.raises(errors.Problem, match="cannot send block 2: MD5 mismatch"):
        await shipper(spool, remote, dop=1).run()
    assert server.stored("00/002") is None


# --- the spool's bound -----------------------------------------------------------------------------------


async def test_room_comes_as_blocks_are_accepted(server, remote, into, spool):
    add(into, *BLOCKS)
    shipping = shipper(spool, remote, dop=2)
    await shipping.wait_for_room(5)
    with trio.move_on_after(0) as scope:
        await shipping.wait_for_room(4)
    assert scope.cancelled_caught
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shipping.run)
        await shipping.wait_for_room(1)
        assert shipping.accepted == len(BLOCKS)
        nursery.cancel_scope.cancel()

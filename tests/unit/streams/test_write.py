"""A write to the local store: every way to end."""

import pytest
import trio

from tests.support import localwrites
from tyger import errors
from tygerd.streams import write

BUFFER = localwrites.BUFFER
ID = localwrites.ID


@pytest.mark.parametrize("sync", [False, True])
async def test_complete_needs_end_of_file_and_the_clients_word(tmp_path, client, sync):
    async with localwrites.writing(tmp_path, client, sync=sync) as (daemon, entry, _):
        client.produce(b"some bytes")
        with pytest.raises(errors.Problem, match="end of file has not been seen"):
            await entry.say("complete")
        client.end()
        await client.heard("eof")
        assert (await daemon.end())[0] is None
        assert (await daemon.transfers.show(ID)).state == "ended"
        await entry.say("complete")
        assert await daemon.end() == ("complete", b"some bytes")
        await client.heard("complete")
        await entry.say("complete")
        with pytest.raises(errors.Problem, match="already complete"):
            await entry.say("failed", "late")
    assert client.events[0]["event"] == "attached"
    assert client.events[-1] == {"event": "complete", "bytes": 10, "blocks": 2}


async def test_the_word_failed_counts_at_any_time(tmp_path, client):
    async with localwrites.writing(tmp_path, client) as (daemon, entry, _):
        client.produce(b"some bytes")
        await client.progressed(10)
        await entry.say("failed", "interrupted")
        await client.heard("failed")
        assert await daemon.end() == ("failed", b"some bytes")
        assert (await daemon.transfers.show(ID)).reason == "interrupted"


async def test_a_store_that_cannot_be_written_fails_the_buffer_with_the_systems_word(tmp_path, client):
    async with localwrites.running(tmp_path) as daemon, trio.open_nursery() as nursery:
        entry = await daemon.transfers.create_write(localwrites.request(), 1)
        await trio.Path(tmp_path / "containers" / BUFFER / "blocks").write_bytes(b"a file in its place")
        nursery.start_soon(localwrites.attached, entry, client)
        client.produce(b"some bytes")
        await client.heard("failed")
        assert "could not store the stream: Not a directory" in entry.reason
        target = await daemon.store.open(BUFFER)
        assert target.end() == "failed"


async def test_a_buffer_that_is_deleted_under_its_writer_fails_and_does_not_come_back(tmp_path, client):
    async with localwrites.writing(tmp_path, client, block_size=4) as (daemon, entry, _):
        client.produce(b"0123")
        await client.progressed(4)
        await daemon.store.delete(BUFFER)
        client.produce(b"4567")
        await client.heard("failed")
        assert entry.reason == "the daemon could not store the stream: No such file or directory"
        assert await daemon.store.ids() == []


async def test_a_buffer_that_somebody_else_fails_under_its_writer(tmp_path, client):
    async with localwrites.writing(tmp_path, client) as (daemon, entry, _):
        client.produce(b"some bytes")
        client.end()
        await client.heard("eof")
        await daemon.store.mark_failed(BUFFER, "the run left it unfinished")
        with trio.fail_after(60), pytest.raises(errors.Problem, match="already failed"):
            await entry.say("complete")
        await client.heard("failed")
        assert entry.reason == "the run left it unfinished"


async def test_a_client_that_is_gone_leaves_a_failed_buffer_with_what_was_in_the_pipe(tmp_path, client):
    async with localwrites.running(tmp_path) as daemon, trio.open_nursery() as nursery:
        entry = await daemon.transfers.create_write(localwrites.request(block_size=4), 1)
        scope = trio.CancelScope()
        nursery.start_soon(localwrites.attached, entry, client, scope)
        client.produce(b"0123456789")
        await client.progressed(10)
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked(0.005)
        client.produce(b"abcdef")
        daemon.transfers.abandon_soon(entry, client.passed())
        await entry._final.wait()
        with pytest.raises(errors.Problem, match="already failed"):
            await entry.say("complete")
        assert await daemon.end() == ("failed", b"0123456789abcdef")
        assert (await daemon.transfers.show(ID)).reason == write.GONE


async def test_a_word_said_before_the_client_went_counts(tmp_path, client):
    async with localwrites.running(tmp_path) as daemon, trio.open_nursery() as nursery:
        entry = await daemon.transfers.create_write(localwrites.request(), 1)
        scope = trio.CancelScope()
        nursery.start_soon(localwrites.attached, entry, client, scope)
        client.produce(b"some")
        client.end()
        await client.heard("eof")
        entry._hear("complete", None)
        scope.cancel()
        daemon.transfers.abandon_soon(entry, client.passed())
        await entry.say("complete")
        assert await daemon.end() == ("complete", b"some")


async def test_a_later_attachment_replaces_an_earlier_one(tmp_path, client):
    async with localwrites.running(tmp_path) as daemon, trio.open_nursery() as nursery:
        entry = await daemon.transfers.create_write(localwrites.request(), 1)
        replaced = trio.Event()

        async def first():
            with client.passed() as pipe, pytest.raises(write.ReplacedError):
                await entry.attach(pipe, client.report)
            replaced.set()

        nursery.start_soon(first)
        client.produce(b"one ")
        await client.progressed(4)
        nursery.start_soon(localwrites.attached, entry, client)
        await replaced.wait()
        client.produce(b"two")
        client.end()
        await client.heard("eof")
        await entry.say("complete")
        assert await daemon.end() == ("complete", b"one two")

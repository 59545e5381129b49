"""A write to the local store over restarts and kills of its daemon."""

import os

import trio

from tests.support import disks, localwrites

BUFFER = localwrites.BUFFER
ID = localwrites.ID


async def test_after_a_restart_the_client_comes_back_and_nothing_is_lost(tmp_path, client):
    async with localwrites.writing(tmp_path, client, block_size=4) as (_, _, nursery):
        client.produce(b"0123456789")
        await client.progressed(10)
        nursery.cancel_scope.cancel()
    client.produce(b"abc")
    async with localwrites.running(tmp_path) as daemon, trio.open_nursery() as nursery:
        assert (await daemon.transfers.show(ID)).state == "suspended"
        assert daemon.transfers.statistics().suspended == 1
        again = await daemon.transfers.create_write(localwrites.request(block_size=4), 1)
        assert again is await daemon.transfers.find_write(ID)
        client.events.clear()
        nursery.start_soon(localwrites.attached, again, client)
        client.produce(b"def")
        client.end()
        await client.heard("eof")
        await again.say("complete")
        assert await daemon.end() == ("complete", b"0123456789abcdef")


async def test_a_restart_on_a_full_disk_waits_for_room(tmp_path, client):
    with disks.mounted(tmp_path / "containers", "-o", "size=16m") as disk:
        async with localwrites.writing(tmp_path, client) as (_, _, nursery):
            client.produce(b"some ")
            await client.progressed(5)
            nursery.cancel_scope.cancel()
        disks.fill(disk / "filler")
        # Another durability is written down first, and that takes room.
        async with localwrites.running(tmp_path, sync=True) as daemon, trio.open_nursery() as nursery:
            entry = await daemon.transfers.find_write(ID)
            nursery.start_soon(localwrites.attached, entry, client)
            with trio.fail_after(60):
                while entry.waiting != "the disk is full":
                    await trio.lowlevel.checkpoint()
            os.unlink(disk / "filler")
            client.produce(b"bytes")
            client.end()
            await client.heard("eof")
            await entry.say("complete")
            assert await daemon.end() == ("complete", b"some bytes")


async def test_a_client_that_does_not_come_back_in_time_has_failed(tmp_path, client):
    async with localwrites.writing(tmp_path, client) as (_, _, nursery):
        client.produce(b"some")
        await client.progressed(4)
        nursery.cancel_scope.cancel()
    async with localwrites.running(tmp_path, grace=0) as daemon:
        entry = await daemon.transfers.find_write(ID)
        await entry._final.wait()
        assert await daemon.end() == ("failed", b"some")


async def test_after_the_end_a_restarted_daemon_still_knows_it(tmp_path, client):
    """The client whose last answer was lost asks again, and is told."""
    async with localwrites.writing(tmp_path, client) as (_, entry, _):
        client.end()
        await client.heard("eof")
        await entry.say("complete")
    client.events.clear()
    async with localwrites.running(tmp_path) as daemon:
        entry = await daemon.transfers.find_write(ID)
        await localwrites.attached(entry, client)
        await entry.say("complete")
    assert [event["event"] for event in client.events] == ["attached", "complete"]


async def test_killed_between_the_row_and_the_journal(tmp_path, client):
    async with localwrites.running(tmp_path) as daemon:
        await daemon.transfers.create_write(localwrites.request(), 1)
        os.unlink(tmp_path / "containers" / BUFFER / "journal")
    client.produce(b"some")
    client.end()
    async with localwrites.writing(tmp_path, client) as (daemon, entry, _):
        await client.heard("eof")
        await entry.say("complete")
        assert await daemon.end() == ("complete", b"some")


async def test_killed_between_the_end_and_its_row(tmp_path):
    async with localwrites.running(tmp_path) as daemon:
        await daemon.transfers.create_write(localwrites.request(), 1)
        (await daemon.store.open(BUFFER)).mark_failed("because")
    async with localwrites.running(tmp_path) as daemon:
        assert daemon.transfers.statistics().writing == 0
        entry = await daemon.transfers.find_write(ID)
        assert (entry.state, entry.reason) == ("failed", "because")

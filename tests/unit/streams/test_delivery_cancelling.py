"""Writes to a store elsewhere that are cancelled: what readers, the client and the next daemon are told."""

import pytest
import trio

from tests.support import blobserver, delivering
from tyger import errors
from tygerd.blocks import container
from tygerd.streams import ship

ID = delivering.ID
DATA = delivering.DATA
BUSY = delivering.BUSY
LATER = delivering.LATER


async def test_a_cancelled_transfer_is_told_to_the_store_when_it_is_back(site, producer, server):
    """A reader must not wait for what will never come."""
    server.fault("HEAD", ".bufferstart", LATER)
    async with site.daemon() as registry:
        async with delivering.writing(registry, producer) as entry:
            await delivering.write_all(entry, producer)
            await site.waits("retrying .bufferstart")
            server.fault("HEAD", ".bufferstart", *[BUSY] * 2)
            await registry.cancel(ID)
            failed = await producer.heard("failed")
        assert failed["reason"] == "cancelled by user"
        await site.sweeps()
    assert set(server.blobs) == {".bufferstart", ".bufferend"}
    assert server.stored(".bufferend") == b'{"status":"failed"}'


async def test_cancelled_when_the_store_has_all_of_it(site, producer, server):
    """What readers are told counts: the end marker got there, and only its reply did not come back."""
    server.fault("PUT", ".bufferend", blobserver.LOST_REPLY, LATER)
    async with site.daemon() as registry:
        async with delivering.writing(registry, producer) as entry:
            await delivering.write_all(entry, producer)
            await site.waits("retrying .bufferend after unexpected status code 503")
            assert (await registry.cancel(ID)).state == "failing"
            await producer.heard("complete")
        shown = await registry.show(ID)
        assert (shown.state, shown.reason) == ("complete", None)
        assert await delivering.read_back(site) == DATA


async def test_cancelled_again_it_is_not_told_for_ever(site, producer, server, mock_clock):
    mock_clock.rate = 1.0
    server.fault("HEAD", ".bufferstart", LATER)
    server.fault("PUT", ".bufferend", *[LATER] * 2)  # for the attempt to tell, and for the last one
    async with site.daemon() as registry:
        async with delivering.writing(registry, producer) as entry, trio.open_nursery() as nursery:
            await delivering.write_all(entry, producer)
            await site.waits("retrying .bufferstart")
            assert (await registry.cancel(ID)).state == "failing"
            await site.waits("retrying .bufferend")
            mock_clock.rate = 0.0
            nursery.start_soon(registry.cancel, ID)
            await site.met()
            assert (await registry.show(ID)).state == "failing"
            mock_clock.jump(ship.LAST_WORDS)
        assert (await registry.show(ID)).state == "failed"
        await site.sweeps()


async def test_cancelled_while_it_waits(site, producer, server):
    async with site.daemon() as registry:
        async with delivering.writing(registry, producer) as entry:
            await producer.give(DATA[:30_000])
            await site.shows(shipped=30_000)
            await registry.pause(ID)
            await delivering.write_all(entry, producer, DATA[30_000:])
            await producer.heard("spooled")
            await registry.cancel(ID)
            failed = await producer.heard("failed")
        assert failed["reason"] == "cancelled by user"
        await site.sweeps()
        with pytest.raises(errors.Problem, match="permanently failed"):
            await delivering.read_back(site)


async def test_a_cancelled_transfer_is_over_though_it_is_paused(site, producer, server):
    async with site.daemon() as registry, delivering.writing(registry, producer, paused=True):
        await producer.give(DATA[:30_000])
        await registry.cancel(ID)
        assert (await producer.heard("failed"))["reason"] == "cancelled by user"
    assert server.stored(".bufferend") == container.END_MARKERS["failed"]


async def test_what_was_cancelled_stays_cancelled_in_the_next_daemon(site, producer, server):
    """The user is told before the row is written: the container says it first."""
    ends = []
    async with site.daemon() as registry:
        entry = await registry.create_write(delivering.request(), 1)
        entry._on_final = lambda it: ends.append(it._container.end())
        await registry.pause(ID)
        async with delivering.attached(entry, producer):
            await delivering.write_all(entry, producer)
            await producer.heard("spooled")
            await registry.cancel(ID)
            await producer.heard("failed")
    assert ends == ["failed"]
    async with site.daemon():
        assert (await site.shows(state="failed")).reason == "cancelled by user"

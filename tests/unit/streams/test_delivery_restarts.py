"""Writes to a store elsewhere, over restarts of the daemon and with a spool that was damaged meanwhile."""

import os

import pytest

from tests.support import delivering, remotestore
from tyger import errors
from tygerd.catalog import transfers as rows

BUFFER = delivering.BUFFER
ID = delivering.ID
DATA = delivering.DATA


async def test_a_restart_goes_on_where_it_was(site, producer):
    async with site.daemon() as registry, delivering.writing(registry, producer) as entry:
        await producer.give(DATA[:60_000])
        await site.shows(shipped=60_000)
    async with site.daemon() as registry:
        assert (await registry.show(ID)).state == "suspended"
        entry = await registry.find_write(ID)
        producer.events.clear()
        async with delivering.attached(entry, producer):
            await delivering.write_all(entry, producer, DATA[60_000:])
            await producer.heard("complete")
        assert await delivering.read_back(site) == DATA


async def test_a_spooled_stream_survives_its_daemon(site, producer):
    await site.spools(producer)
    async with site.daemon() as registry:
        shown = await registry.show(ID)
        assert (shown.state, shown.paused, shown.waiting) == ("spooled", True, "paused")
        await registry.resume(ID)
        await site.shows(state="complete")
        assert await delivering.read_back(site) == DATA


async def test_a_failure_that_could_not_be_told_is_told_later(site, producer, server):
    server.fault("HEAD", ".bufferstart", *[delivering.LATER] * 2)  # the second is for the last words
    async with site.daemon() as registry:
        async with delivering.writing(registry, producer) as entry:
            await producer.give(b"some")
            await site.waits("retrying .bufferstart")
            await entry.say("failed", "interrupted")
            await site.met()
        assert (await registry.show(ID)).state == "failing"
    async with site.daemon():
        shown = await site.shows(state="failed")
        assert shown.reason == "interrupted"
    assert server.stored(".bufferend") == b'{"status":"failed"}'


async def test_what_a_loss_of_power_took_is_named(site, producer, server):
    await site.spools(producer)
    spool = site.path / "spool" / ID
    (spool / "boot").write_text("another boot\n")
    (spool / "blocks/00/001").write_bytes(bytes(30_000))
    async with site.daemon():  # that it is paused does not matter: there is nothing to be sent but this
        shown = await site.shows(state="failed")
        assert "block 1 was lost when the machine went down" in shown.reason
    assert server.stored(".bufferend") == b'{"status":"failed"}'


async def test_what_no_transfer_needs_is_swept_from_the_spool(site):
    os.makedirs(site.path / "spool" / "rubbish")
    async with site.daemon():
        await site.sweeps()


async def test_an_account_that_is_not_configured_any_more_stalls_it(site, producer):
    await site.spools(producer)
    store, site.store = site.store, remotestore.RemoteStore(site.server, name="another")
    async with site.daemon() as registry:
        await registry.resume(ID)
        await site.waits("account1 is not in the configuration")
    site.store = store
    async with site.daemon() as registry:
        await site.shows(state="complete")
        assert await delivering.read_back(site) == DATA


async def test_a_spool_that_is_gone_fails_the_write(site, producer):
    await site.spools(producer)
    os.rename(site.path / "spool" / ID, site.path / "elsewhere")
    async with site.daemon() as registry:
        shown = await registry.show(ID)
        assert (shown.state, shown.code) == ("failed", "IOError")


async def test_a_refusal_after_a_restart_throws_nothing_away(site, producer):
    """A daemon may come back to a secret that has expired: what it holds cannot be sent again."""
    async with site.daemon() as registry, delivering.writing(registry, producer, paused=True):
        await producer.give(DATA[:60_000])
        await site.shows(bytes=60_000)
    site.store.refusal = errors.Problem(errors.CONFIG, "its secret has expired")
    async with site.daemon() as registry:
        await registry.resume(ID)
        await site.until(lambda it: it.stalled == "its secret has expired")
        site.store.refusal = None
        await registry.resume(ID)
        async with delivering.attached(await registry.find_write(ID), producer):
            await delivering.write_all(await registry.find_write(ID), producer, DATA[60_000:])
            await producer.heard("complete")
        assert await delivering.read_back(site) == DATA


async def test_what_is_in_the_spool_counts_after_a_restart(site, producer):
    await site.spools(producer)
    async with site.daemon() as registry:
        shown = await registry.show(ID)
        assert (shown.bytes, shown.blocks, shown.shipped) == (len(DATA), 5, 0)
        assert registry.statistics().bytes_spooled == len(DATA)
        await registry.resume(ID)
        await site.shows(state="complete")
        await site.sweeps()
        row = await site.catalog.read(rows.get, ID)
        assert (row.bytes, row.shipped) == (len(DATA), len(DATA))


async def test_a_row_without_its_write_is_no_write(site):
    """One that is just being made, or whose making was broken off: nobody may end it in its stead."""
    row = rows.TransferRow(
        id=ID, buffer=BUFFER, run=None, state="running", reason=None, block_size=1, flush_interval=0, bytes=0,
        blocks=0, created_at=1, finished_at=None, owner_uid=1, owner="", epoch=1, account="account1",
    )  # fmt: skip
    async with site.daemon() as registry:
        await site.catalog.write(rows.insert, row)
        with pytest.raises(errors.Problem, match="not found"):
            await registry.find_write(ID)


async def test_a_spool_that_cannot_be_cleaned_up_does_not_end_the_daemon(site, producer):
    async with site.daemon() as registry:
        async with delivering.writing(registry, producer) as entry:
            os.rmdir(site.path / "trash")
            (site.path / "trash").write_text("no directory")
            await delivering.write_all(entry, producer)
            await producer.heard("complete")
        await site.puts_away()
        assert site.spooled() == [ID]
        os.unlink(site.path / "trash")
    async with site.daemon():
        await site.sweeps()


async def test_a_disk_that_fails_stalls_the_write_and_not_the_daemon(site, producer):
    await site.spools(producer)
    mark = site.path / "spool" / ID / "shipped"
    os.unlink(mark)
    mark.mkdir()
    async with site.daemon() as registry:
        await registry.resume(ID)
        await site.waits("stalled: ")
        mark.rmdir()
        await registry.resume(ID)
        await site.shows(state="complete")
        assert await delivering.read_back(site) == DATA

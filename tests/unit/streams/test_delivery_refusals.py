"""Writes to a store elsewhere that refuses them, belongs to another writer, is away or busy."""

import contextlib

import pytest

from tests.support import delivering
from tests.support.blobserver import Refusal
from tyger import errors
from tygerd.blocks import container
from tygerd.stores import retrying
from tygerd.streams import states

BUFFER = delivering.BUFFER
ID = delivering.ID
DATA = delivering.DATA
BUSY = delivering.BUSY
LATER = delivering.LATER


async def test_why_it_waits(site, producer, server):
    """And whoever knows that the store is back can say so."""
    server.fault("PUT", "00/004", LATER)
    async with site.daemon() as registry, delivering.writing(registry, producer) as entry:
        await delivering.write_all(entry, producer)
        shown = await site.waits("retrying")
        assert shown.waiting == "retrying block 4 after unexpected status code 503: ServerBusy"
        await registry.resume(ID)
        await producer.heard("complete")


async def test_a_store_that_refuses_at_the_beginning_ends_it(site, producer, server):
    site.store.signature = "reader"
    async with site.daemon() as registry:
        async with delivering.writing(registry, producer):
            failed = await producer.heard("failed")
        assert failed["code"] == "Forbidden"
        assert "does not allow write access" in failed["reason"]
        await site.sweeps()


@pytest.mark.parametrize("detach", [False, True])
async def test_a_refusal_after_the_last_byte_is_told_who_waits_for_it(site, producer, server, detach):
    """Who has left, or will, was told that all is well: then the data stay."""
    site.store.signature = "reader"
    server.fault("HEAD", ".bufferstart", LATER)
    async with site.daemon() as registry, delivering.writing(registry, producer, detach=detach) as entry:
        await delivering.write_all(entry, producer)
        await producer.heard("spooled")
        await site.waits("retrying .bufferstart")
        await registry.resume(ID)
        if detach:
            shown = await site.waits("stalled: ")
            assert (shown.state, site.spooled()) == ("spooled", [ID])
        else:
            failed = await producer.heard("failed")
            assert failed["code"] == "Forbidden"
            assert "does not allow write access" in failed["reason"]


async def test_another_writers_buffer_is_not_touched(site, producer, server):
    server.put(".bufferstart", b'{"version":"0.3.0"}', tyger_writer="somebody else")
    async with site.daemon() as registry:
        async with delivering.writing(registry, producer):
            failed = await producer.heard("failed")
        assert (failed["code"], failed["reason"]) == ("Conflict", "buffer cannot be overwritten")
    assert set(server.blobs) == {".bufferstart"}


@pytest.mark.parametrize("late", [False, True])
async def test_a_refusal_counts_whatever_the_client_has_said(site, producer, server, late):
    """Its word and the store's may cross: the store's is about what became of the bytes."""
    server.put(".bufferstart", b'{"version":"0.3.0"}', tyger_writer="somebody else")
    if late:
        server.fault("HEAD", ".bufferstart", LATER)
    async with site.daemon() as registry:
        for number in range(1 if late else 10):
            mine = delivering.Producer()
            transfer = f"{number:032x}"
            entry = await registry.create_write(delivering.request(id=transfer), 1)
            async with delivering.attached(entry, mine):
                await mine.give(b"again")
                mine.end()
                with contextlib.suppress(errors.Problem):
                    if late:
                        await mine.heard("eof")
                        await site.waits("retrying .bufferstart", transfer)
                        await registry.resume(transfer)
                    elif not states.is_final(entry.state):
                        await entry.changed.wait()
                    await entry.say("complete")
                failed = await mine.heard("failed")
            mine.close()
            assert (failed["code"], failed["reason"]) == ("Conflict", "buffer cannot be overwritten")
            assert (await registry.show(transfer)).state == "failed"
    assert set(server.blobs) == {".bufferstart"}


async def test_a_block_that_never_gets_through_fails_the_buffer_for_readers_too(site, producer, server):
    server.fault("PUT", "00/001", *[Refusal(400, "Md5Mismatch")] * retrying.MISMATCHES)
    async with site.daemon() as registry:
        async with delivering.writing(registry, producer):
            await producer.give(DATA[:60_000])
            failed = await producer.heard("failed")
        assert (failed["code"], failed["reason"]) == ("Corrupt", "cannot send block 1: MD5 mismatch")
    assert server.stored(".bufferend") == container.END_MARKERS["failed"]


async def test_a_container_that_is_gone(site, producer, server):
    del server.containers[BUFFER]
    async with site.daemon() as registry:
        async with delivering.writing(registry, producer):
            failed = await producer.heard("failed")
        assert (failed["code"], failed["reason"]) == ("NotFound", "the buffer does not exist")


async def test_a_refusal_in_the_middle_stalls_it_until_somebody_resumes(site, producer, server):
    async with site.daemon() as registry:
        async with delivering.writing(registry, producer, flush_interval=0) as entry:
            await producer.give(DATA[:30_000])
            await site.shows(shipped=30_000)
            server.signatures["good"] = "r"
            await delivering.write_all(entry, producer, DATA[30_000:])
            await site.waits("stalled: ")
            shown = await registry.show(ID)
            assert (shown.state, shown.bytes) == ("spooled", len(DATA))
            assert "does not allow write access" in shown.stalled
            server.signatures["good"] = "cr"
            await registry.resume(ID)
            await producer.heard("complete")
        assert await delivering.read_back(site) == DATA


async def test_a_deadline_that_passes_stalls_it(site, producer, server):
    server.fault("PUT", "00/001", BUSY)
    async with site.daemon(deadline=0.0) as registry:
        async with delivering.writing(registry, producer) as entry:
            await delivering.write_all(entry, producer)
            await site.shows(stalled="unexpected status code 503: ServerBusy")
            await registry.resume(ID)
            await producer.heard("complete")
        assert await delivering.read_back(site) == DATA


async def test_a_stream_that_somebody_else_has_failed_is_not_complete(site, producer, server):
    async with site.daemon() as registry:
        async with delivering.writing(registry, producer, flush_interval=0) as entry:
            await producer.give(DATA[:30_000])
            await site.shows(shipped=30_000)
            server.put(".bufferend", container.END_MARKERS["failed"])
            await delivering.write_all(entry, producer, DATA[30_000:])
            failed = await producer.heard("failed")
        assert failed["code"] == "BufferFailed"
        assert "marked as failed" in failed["reason"]


async def test_a_store_that_is_away_at_the_beginning_is_waited_for(site, producer):
    """To sign an access URL may take the network: a producer does not wait for that."""
    site.store.refusal = errors.Problem(errors.UNAVAILABLE, "it does not answer")
    async with site.daemon() as registry:
        async with delivering.writing(registry, producer) as entry:
            await producer.give(DATA[:30_000])
            await site.waits("it does not answer")
            site.store.refusal = None
            await delivering.write_all(entry, producer, DATA[30_000:])
            await producer.heard("complete")
        assert await delivering.read_back(site) == DATA


async def test_a_defect_stalls_its_transfer_and_no_other(site, producer):
    site.store.refusal = ZeroDivisionError("nobody thought of that")
    async with site.daemon() as registry:
        async with delivering.writing(registry, producer) as entry:
            await site.waits("stalled: a defect of ours, see the daemon's log: ZeroDivisionError")
            site.store.refusal = None
            await registry.resume(ID)
            await delivering.write_all(entry, producer)
            await producer.heard("complete")
        assert await delivering.read_back(site) == DATA

"""Writes to a store elsewhere, from the pipe to the store, and how their state is told."""

import pytest
import trio

from tests.support import delivering, remotestore
from tyger import errors
from tygerd.catalog import transfers as rows
from tygerd.streams import delivery, span, states

BUFFER = delivering.BUFFER
ID = delivering.ID
DATA = delivering.DATA


async def test_a_whole_write_and_its_read(site, producer, server):
    async with site.daemon() as registry:
        async with delivering.writing(registry, producer) as entry:
            await delivering.write_all(entry, producer)
            assert (await producer.heard("complete"))["bytes"] == len(DATA)
        for too_late in (registry.pause, registry.resume):
            with pytest.raises(errors.Problem, match="the transfer is over: it is complete"):
                await too_late(ID)
        shown = await registry.show(ID)
        assert (shown.state, shown.shipped, shown.location) == ("complete", len(DATA), "elsewhere")
        assert await delivering.read_back(site) == DATA
        await site.sweeps()
    assert server.stored(".bufferend") == b'{"status":"complete"}'
    (lease,) = site.store.leases.values()
    assert lease.acquired >= 1
    assert lease.released == 1


@pytest.mark.parametrize(
    ("offset", "length"),
    [(0, 10), (30_000, 5), (29_999, 2), (99_999, None), (60_001, 30_000), (100_000, None)],
)
async def test_any_part_of_it_can_be_read(site, producer, offset, length):
    async with site.daemon() as registry:
        async with delivering.writing(registry, producer) as entry:
            await delivering.write_all(entry, producer)
            await producer.heard("complete")
        end = None if length is None else offset + length
        assert await delivering.read_back(site, offset=offset, length=length) == DATA[offset:end]
        number = min(offset // 30_000, 3)
        hint = {"block": number, "start": number * 30_000}
        assert await delivering.read_back(site, offset=offset, length=length, **hint) == DATA[offset:end]


async def test_nothing_is_asked_for_beyond_what_is_wanted(site, producer, server):
    async with site.daemon() as registry:
        async with delivering.writing(registry, producer, block_size=1000) as entry:
            await delivering.write_all(entry, producer)
            await producer.heard("complete")
        assert await delivering.read_back(site, offset=1500, length=5000) == DATA[1500:6500]
    asked = {seen.blob for seen in server.seen if seen.method == "GET" and not seen.blob.startswith(".")}
    assert asked == {f"00/00{number}" for number in range(1, 7)}


async def test_what_is_there_now(site, producer):
    async with site.daemon() as registry:
        assert await delivering.read_back(site, follow=False) == b""
        async with delivering.writing(registry, producer, flush_interval=0):
            await producer.give(DATA[:60_000])
            await site.shows(shipped=60_000)
            assert await delivering.read_back(site, follow=False) == DATA[:60_000]


async def test_a_detached_client_is_not_needed_any_more(site, producer):
    async with site.daemon() as registry:
        async with delivering.writing(registry, producer, paused=True) as entry:
            await delivering.write_all(entry, producer)
            await producer.heard("spooled")
        await entry.abandon(producer.passed())
        assert (await registry.show(ID)).state == "spooled"
        await registry.resume(ID)
        await site.shows(state="complete")
        assert await delivering.read_back(site) == DATA


async def test_a_full_spool_holds_the_producer_back(site, producer, server):
    async with site.daemon(spool_limit=60_000) as registry:
        async with delivering.writing(registry, producer, paused=True) as entry:
            for start in range(0, 100_000, 50_000):
                await producer.give(DATA[start : start + 50_000])
            await site.waits("paused; the spool is full")
            await site.shows(bytes=60_000)
            await registry.resume(ID)
            producer.end()
            await producer.heard("eof")
            await entry.say("complete")
            await producer.heard("complete")
        assert await delivering.read_back(site) == DATA


async def test_a_client_that_goes_while_the_spool_is_full(site, producer):
    """Its rest is taken all the same: nobody waits for room that may never come."""
    async with site.daemon(spool_limit=60_000) as registry:
        async with delivering.writing(registry, producer, paused=True) as entry:
            for start in range(0, 100_000, 50_000):
                await producer.give(DATA[start : start + 50_000])
            await site.waits("paused; the spool is full")
        with trio.fail_after(delivering.PATIENCE):
            await entry.abandon(producer.passed())
        shown = await registry.show(ID)
        assert (shown.state, shown.bytes) == ("failing", len(DATA))


async def test_an_account_may_have_any_name(tmp_path, server, producer):
    site = delivering.Site(tmp_path, server)
    site.store = remotestore.RemoteStore(server, name="url")
    async with site.daemon() as registry, delivering.writing(registry, producer) as entry:
        await delivering.write_all(entry, producer)
        await producer.heard("complete")
    site.catalog.close()


async def test_only_what_is_shipped_can_be_paused(site):
    async with site.daemon() as registry:
        with pytest.raises(errors.Problem, match="not found"):
            await registry.pause(ID)
        entry, _ = await registry.new_read(BUFFER, span.Span(), 1)
        with pytest.raises(errors.Problem, match="not found"):
            await registry.pause(entry.id)


async def test_rows_of_transfers_that_are_over_are_shown(site, producer):
    async with site.daemon() as registry, delivering.writing(registry, producer, priority="bulk") as entry:
        await delivering.write_all(entry, producer)
        await producer.heard("complete")
    async with site.daemon() as registry:
        shown = await registry.show(ID)
        assert (shown.state, shown.priority, shown.bytes) == ("complete", "bulk", len(DATA))
        assert shown.state == states.State.COMPLETE
        row = await site.catalog.read(rows.get, ID)
        assert row.shipped == len(DATA)


def test_troubles_in_words():
    trouble = delivery.retrying.Trouble("00/029", "unexpected status code 503: ServerBusy", False, 0.0, 1)
    assert delivery.describe(trouble) == "retrying block 41 after unexpected status code 503: ServerBusy"
    assert delivery.describe(trouble._replace(blob=".bufferend")).startswith("retrying .bufferend after ")
    offline = trouble._replace(offline=True, since=delivery.clock.boottime(), message="refused (host:1)")
    assert delivery.describe(offline).startswith("offline since ")
    assert delivery.describe(offline).endswith(" UTC: refused (host:1)")

"""Writes to a store elsewhere, from the pipe to the store: refusals, pauses, restarts of the daemon."""

import contextlib
import os

import pytest
import trio

from tests.support import blobserver, parts, remotestore
from tests.support.blobserver import Refusal
from tyger import errors, model
from tygerd.blocks import container
from tygerd.catalog import db
from tygerd.catalog import transfers as rows
from tygerd.osutil import fds
from tygerd.stores import local, places, retrying
from tygerd.streams import assembly, delivery, span, states, transfers

BUFFER = "buffer1"
ID = "0123456789abcdef0123456789abcdef"
DATA = os.urandom(100_000)
BUSY = Refusal(503, "ServerBusy")


class Site:
    """A state directory, a store elsewhere, and the registry of whichever daemon is there now."""

    def __init__(self, path, server, **options):
        self.path = path
        self.server = server
        self.store = remotestore.RemoteStore(server)
        self.catalog = db.Catalog.open(str(path / "catalog.sqlite3"))
        self.options = options
        self.registry = None

    @contextlib.asynccontextmanager
    async def daemon(self, **options):
        """One daemon's life; what raises inside comes out unwrapped."""
        embedded = local.LocalStore(str(self.path))
        await embedded.start()
        made = parts.parts(self.path, places.Places(embedded, [self.store]), **options)
        failure = None

        async def locate(buffer):
            return self.store

        self.registry = transfers.Transfers(
            self.catalog, made, locate=locate, reattach_grace=float("inf"), **self.options
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(self.registry.run)
            try:
                yield self.registry
            except Exception as error:  # noqa: BLE001 - raised again, not wrapped
                failure = error
            nursery.cancel_scope.cancel()
        if failure:
            raise failure

    def spooled(self):
        return sorted(os.listdir(self.path / "spool"))

    async def until(self, condition):
        """Wait until the transfer is as wanted."""
        found = None

        async def look(transfer):
            nonlocal found
            if condition(transfer):
                found = transfer
                scope.cancel()

        with trio.fail_after(10), trio.CancelScope() as scope:
            await self.registry.watch(ID, look)
        assert found is not None, "it was over before"
        return found

    async def shows(self, **wanted):
        """Wait until the transfer shows these values."""
        return await self.until(lambda it: all(getattr(it, name) == value for name, value in wanted.items()))

    async def waits(self, words):
        """Wait until the transfer waits for what has these words in it."""
        return await self.until(lambda it: words in (it.waiting or ""))

    async def sweeps(self):
        """Wait until the transfer is put away; then nothing is left in the spool."""
        with trio.fail_after(10):
            while self.registry._writes:
                await trio.lowlevel.checkpoint()
        assert self.spooled() == []


class Producer:
    """A pipe and the events that its client has heard."""

    def __init__(self):
        self.reader, self.writer = os.pipe()
        self.events = []
        self._news = trio.Event()

    async def report(self, event):
        self.events.append(event)
        self._news.set()
        self._news = trio.Event()

    async def heard(self, name):
        with trio.fail_after(10):
            while not any(event["event"] == name for event in self.events):
                await self._news.wait()
        return next(event for event in self.events if event["event"] == name)

    async def give(self, data):
        await trio.to_thread.run_sync(os.write, self.writer, data)

    def end(self):
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1

    def passed(self):
        return fds.OwnedFd(os.dup(self.reader))

    def close(self):
        self.end()
        os.close(self.reader)


@pytest.fixture
def server():
    with blobserver.BlobServer() as made:
        yield made


@pytest.fixture
def site(tmp_path, server):
    made = Site(tmp_path, server)
    yield made
    made.catalog.close()


@pytest.fixture
def producer():
    made = Producer()
    yield made
    made.close()


def request(**options):
    return model.WriteRequest(**{"buffer": BUFFER, "id": ID, "block_size": 30_000, **options})


@contextlib.asynccontextmanager
async def attached(entry, producer):
    async with trio.open_nursery() as nursery:
        pipe = producer.passed()
        nursery.start_soon(entry.attach, pipe, producer.report)
        await producer.heard("attached")
        yield
        nursery.cancel_scope.cancel()
    pipe.close()


async def write_all(entry, producer, data=DATA):
    """Give everything and complete it."""
    for start in range(0, len(data), 50_000):
        await producer.give(data[start : start + 50_000])
    producer.end()
    await producer.heard("eof")
    await entry.say("complete")


async def read_back(site, **wanted):
    got = bytearray()

    class Sink:
        async def send_memory(self, data):
            got.extend(data)

    _, run = await site.registry.new_read(BUFFER, span.Span(**wanted), 1)
    with trio.fail_after(10):
        await run(Sink())
    return bytes(got)


# --- good days -------------------------------------------------------------------------------------------


async def test_a_whole_write_and_its_read(site, producer, server):
    async with site.daemon() as registry:
        entry = await registry.create_write(request(), 1)
        async with attached(entry, producer):
            await write_all(entry, producer)
            assert (await producer.heard("spooled"))["bytes"] == len(DATA)
            await producer.heard("complete")
        for too_late in (registry.pause, registry.resume):
            with pytest.raises(errors.Problem, match="the transfer is over: it is complete"):
                await too_late(ID)
        shown = await registry.show(ID)
        assert (shown.state, shown.shipped, shown.location) == ("complete", len(DATA), "elsewhere")
        assert await read_back(site) == DATA
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
        entry = await registry.create_write(request(), 1)
        async with attached(entry, producer):
            await write_all(entry, producer)
            await producer.heard("complete")
        end = None if length is None else offset + length
        assert await read_back(site, offset=offset, length=length) == DATA[offset:end]
        number = min(offset // 30_000, 3)
        hint = {"block": number, "start": number * 30_000}
        assert await read_back(site, offset=offset, length=length, **hint) == DATA[offset:end]


async def test_nothing_is_asked_for_beyond_what_is_wanted(site, producer, server):
    async with site.daemon() as registry:
        entry = await registry.create_write(request(block_size=1000), 1)
        async with attached(entry, producer):
            await write_all(entry, producer)
            await producer.heard("complete")
        assert await read_back(site, offset=1500, length=5000) == DATA[1500:6500]
    asked = {seen.blob for seen in server.seen if seen.method == "GET" and not seen.blob.startswith(".")}
    assert asked == {f"00/00{number}" for number in range(1, 7)}


async def test_what_is_there_now(site, producer):
    async with site.daemon() as registry:
        assert await read_back(site, follow=False) == b""
        entry = await registry.create_write(request(flush_interval=0), 1)
        async with attached(entry, producer):
            await producer.give(DATA[:60_000])
            await site.shows(shipped=60_000)
            assert await read_back(site, follow=False) == DATA[:60_000]


async def test_a_detached_client_is_not_needed_any_more(site, producer):
    async with site.daemon() as registry:
        entry = await registry.create_write(request(), 1)
        await registry.pause(ID)
        async with attached(entry, producer):
            await write_all(entry, producer)
            await producer.heard("spooled")
        await entry.abandon(producer.passed())
        assert (await registry.show(ID)).state == "spooled"
        await registry.resume(ID)
        await site.shows(state="complete")
        assert await read_back(site) == DATA


# --- restarts --------------------------------------------------------------------------------------------


async def test_a_restart_goes_on_where_it_was(site, producer):
    async with site.daemon() as registry:
        entry = await registry.create_write(request(), 1)
        async with attached(entry, producer):
            await producer.give(DATA[:60_000])
            await site.shows(shipped=60_000)
    async with site.daemon() as registry:
        assert (await registry.show(ID)).state == "suspended"
        entry = await registry.find_write(ID)
        producer.events.clear()
        async with attached(entry, producer):
            await write_all(entry, producer, DATA[60_000:])
            await producer.heard("complete")
        assert await read_back(site) == DATA


async def test_a_spooled_stream_survives_its_daemon(site, producer):
    async with site.daemon() as registry:
        entry = await registry.create_write(request(), 1)
        await registry.pause(ID)
        async with attached(entry, producer):
            await write_all(entry, producer)
            await producer.heard("spooled")
    async with site.daemon() as registry:
        shown = await registry.show(ID)
        assert (shown.state, shown.paused, shown.waiting) == ("spooled", True, "paused")
        await registry.resume(ID)
        await site.shows(state="complete")
        assert await read_back(site) == DATA


async def test_a_failure_that_could_not_be_told_is_told_later(site, producer, server):
    async with site.daemon() as registry:
        entry = await registry.create_write(request(), 1)
        await registry.pause(ID)
        async with attached(entry, producer):
            await producer.give(b"some")
            await entry.say("failed", "interrupted")
        assert (await registry.show(ID)).state == "failing"
    async with site.daemon() as registry:
        await registry.resume(ID)
        shown = await site.shows(state="failed")
        assert shown.reason == "interrupted"
    assert server.stored(".bufferend") == b'{"status":"failed"}'


async def test_what_a_loss_of_power_took_is_named(site, producer, server):
    async with site.daemon() as registry:
        entry = await registry.create_write(request(), 1)
        await registry.pause(ID)
        async with attached(entry, producer):
            await write_all(entry, producer)
            await producer.heard("spooled")
    spool = site.path / "spool" / ID
    (spool / "boot").write_text("another boot\n")
    (spool / "blocks/00/001").write_bytes(bytes(30_000))
    async with site.daemon() as registry:
        await registry.resume(ID)
        shown = await site.shows(state="failed")
        assert "block 1 was lost when the machine went down" in shown.reason
    assert server.stored(".bufferend") == b'{"status":"failed"}'


async def test_what_no_transfer_needs_is_swept_from_the_spool(site):
    os.makedirs(site.path / "spool" / "rubbish")
    async with site.daemon():
        await site.sweeps()


# --- bad days --------------------------------------------------------------------------------------------


async def test_why_it_waits(site, producer, server):
    server.fault("PUT", "00/004", BUSY._replace(headers=(("Retry-After", "1"),)))
    seen = set()
    async with site.daemon() as registry:
        entry = await registry.create_write(request(), 1)
        async with attached(entry, producer), trio.open_nursery() as nursery:

            async def note(transfer):
                seen.add(transfer.waiting)

            nursery.start_soon(registry.watch, ID, note)
            await write_all(entry, producer)
            await producer.heard("complete")
    assert "retrying block 4 after unexpected status code 503: ServerBusy" in seen


async def test_whoever_knows_that_the_store_is_back_can_say_so(site, producer, server):
    server.fault("PUT", "00/004", BUSY._replace(headers=(("Retry-After", "600"),)))
    async with site.daemon() as registry:
        entry = await registry.create_write(request(), 1)
        async with attached(entry, producer):
            await write_all(entry, producer)
            await site.waits("retrying block 4")
            await registry.resume(ID)
            await producer.heard("complete")


async def test_a_store_that_refuses_at_the_beginning_ends_it(site, producer, server):
    site.store.signature = "reader"
    async with site.daemon() as registry:
        entry = await registry.create_write(request(), 1)
        async with attached(entry, producer):
            failed = await producer.heard("failed")
        assert failed["code"] == "Forbidden"
        assert "does not allow write access" in failed["reason"]
        await site.sweeps()


@pytest.mark.parametrize("detach", [False, True])
async def test_a_refusal_after_the_last_byte_is_told_who_waits_for_it(site, producer, server, detach):
    """Who has left, or will, was told that all is well: then the data stay."""
    site.store.signature = "reader"
    server.fault("HEAD", ".bufferstart", BUSY._replace(headers=(("Retry-After", "1"),)))
    async with site.daemon() as registry:
        entry = await registry.create_write(request(detach=detach), 1)
        async with attached(entry, producer):
            await write_all(entry, producer)
            await producer.heard("spooled")
            if detach:
                shown = await site.waits("stalled: ")
                assert (shown.state, site.spooled()) == ("spooled", [ID])
            else:
                failed = await producer.heard("failed")
                assert failed["code"] == "Forbidden"
                assert "does not allow write access" in failed["reason"]


async def test_a_cancelled_transfer_is_told_to_the_store_when_it_is_back(site, producer, server):
    """A reader must not wait for what will never come."""
    server.fault("HEAD", ".bufferstart", BUSY._replace(headers=(("Retry-After", "600"),)))
    async with site.daemon() as registry:
        entry = await registry.create_write(request(), 1)
        async with attached(entry, producer):
            await write_all(entry, producer)
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
    server.fault("PUT", ".bufferend", blobserver.LOST_REPLY, BUSY._replace(headers=(("Retry-After", "600"),)))
    async with site.daemon() as registry:
        entry = await registry.create_write(request(), 1)
        async with attached(entry, producer):
            await write_all(entry, producer)
            await site.waits("retrying .bufferend after unexpected status code 503")
            assert (await registry.cancel(ID)).state == "failing"
            await producer.heard("complete")
        shown = await registry.show(ID)
        assert (shown.state, shown.reason) == ("complete", None)
        assert await read_back(site) == DATA


async def test_cancelled_again_it_is_not_told_for_ever(site, producer, server):
    server.fault("HEAD", ".bufferstart", BUSY._replace(headers=(("Retry-After", "600"),)))
    async with site.daemon() as registry:
        entry = await registry.create_write(request(), 1)
        async with attached(entry, producer):
            await write_all(entry, producer)
            await site.waits("retrying .bufferstart")
            server.fault("HEAD", ".bufferstart", BUSY._replace(headers=(("Retry-After", "600"),)))
            assert (await registry.cancel(ID)).state == "failing"
            assert (await registry.cancel(ID)).state == "failed"
        await site.sweeps()


async def test_another_writers_buffer_is_not_touched(site, producer, server):
    server.put(".bufferstart", b'{"version":"0.3.0"}', tyger_writer="somebody else")
    async with site.daemon() as registry:
        entry = await registry.create_write(request(), 1)
        async with attached(entry, producer):
            failed = await producer.heard("failed")
        assert (failed["code"], failed["reason"]) == ("Conflict", "buffer cannot be overwritten")
    assert set(server.blobs) == {".bufferstart"}


@pytest.mark.parametrize("late", [False, True])
async def test_a_refusal_counts_whatever_the_client_has_said(site, producer, server, late):
    """Its word and the store's may cross: the store's is about what became of the bytes."""
    server.put(".bufferstart", b'{"version":"0.3.0"}', tyger_writer="somebody else")
    if late:
        server.fault("HEAD", ".bufferstart", Refusal(503, "ServerBusy", headers=(("Retry-After", "1"),)))
    async with site.daemon() as registry:
        for number in range(1 if late else 10):
            mine = Producer()
            transfer = f"{number:032x}"
            entry = await registry.create_write(request(id=transfer), 1)
            async with attached(entry, mine):
                await mine.give(b"again")
                mine.end()
                with contextlib.suppress(errors.Problem):
                    if late:
                        await mine.heard("eof")
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
        entry = await registry.create_write(request(), 1)
        async with attached(entry, producer):
            await producer.give(DATA[:60_000])
            failed = await producer.heard("failed")
        assert (failed["code"], failed["reason"]) == ("Corrupt", "cannot send block 1: MD5 mismatch")
    assert server.stored(".bufferend") == container.END_MARKERS["failed"]


async def test_a_container_that_is_gone(site, producer, server):
    del server.containers[BUFFER]
    async with site.daemon() as registry:
        entry = await registry.create_write(request(), 1)
        async with attached(entry, producer):
            failed = await producer.heard("failed")
        assert (failed["code"], failed["reason"]) == ("NotFound", "the buffer does not exist")


async def test_a_refusal_in_the_middle_stalls_it_until_somebody_resumes(site, producer, server):
    async with site.daemon() as registry:
        entry = await registry.create_write(request(flush_interval=0), 1)
        async with attached(entry, producer):
            await producer.give(DATA[:30_000])
            await site.shows(shipped=30_000)
            server.signatures["good"] = "r"
            await write_all(entry, producer, DATA[30_000:])
            await site.waits("stalled: ")
            shown = await registry.show(ID)
            assert (shown.state, shown.bytes) == ("spooled", len(DATA))
            assert "does not allow write access" in shown.stalled
            server.signatures["good"] = "cr"
            await registry.resume(ID)
            await producer.heard("complete")
        assert await read_back(site) == DATA


async def test_a_deadline_that_passes_stalls_it(site, producer, server):
    server.fault("PUT", "00/001", BUSY)
    async with site.daemon(deadline=0.0) as registry:
        entry = await registry.create_write(request(), 1)
        async with attached(entry, producer):
            await write_all(entry, producer)
            await site.shows(stalled="unexpected status code 503: ServerBusy")
            await registry.resume(ID)
            await producer.heard("complete")
        assert await read_back(site) == DATA


async def test_cancelled_while_it_waits(site, producer, server):
    async with site.daemon() as registry:
        entry = await registry.create_write(request(), 1)
        async with attached(entry, producer):
            await producer.give(DATA[:30_000])
            await site.shows(shipped=30_000)
            await registry.pause(ID)
            await write_all(entry, producer, DATA[30_000:])
            await producer.heard("spooled")
            await registry.cancel(ID)
            failed = await producer.heard("failed")
        assert failed["reason"] == "cancelled by user"
        await site.sweeps()
        with pytest.raises(errors.Problem, match="permanently failed"):
            await read_back(site)


async def test_an_account_that_is_not_configured_any_more_stalls_it(site, producer):
    async with site.daemon() as registry:
        entry = await registry.create_write(request(), 1)
        await registry.pause(ID)
        async with attached(entry, producer):
            await write_all(entry, producer)
    store, site.store = site.store, remotestore.RemoteStore(site.server, name="another")
    async with site.daemon() as registry:
        await registry.resume(ID)
        await site.waits("account1 is not in the configuration")
    site.store = store
    async with site.daemon() as registry:
        await site.shows(state="complete")
        assert await read_back(site) == DATA


async def test_a_spool_that_is_gone_fails_the_write(site, producer):
    async with site.daemon() as registry:
        entry = await registry.create_write(request(), 1)
        await registry.pause(ID)
        async with attached(entry, producer):
            await write_all(entry, producer)
    os.rename(site.path / "spool" / ID, site.path / "elsewhere")
    async with site.daemon() as registry:
        shown = await registry.show(ID)
        assert (shown.state, shown.code) == ("failed", "IOError")


async def test_a_full_spool_holds_the_producer_back(site, producer, server):
    async with site.daemon(spool_limit=60_000) as registry:
        entry = await registry.create_write(request(), 1)
        await registry.pause(ID)
        async with attached(entry, producer):
            for start in range(0, 100_000, 50_000):
                await producer.give(DATA[start : start + 50_000])
            await site.waits("paused; the spool is full")
            await site.shows(bytes=60_000)
            await registry.resume(ID)
            producer.end()
            await producer.heard("eof")
            await entry.say("complete")
            await producer.heard("complete")
        assert await read_back(site) == DATA


async def test_a_refusal_after_a_restart_throws_nothing_away(site, producer):
    """A daemon may come back to a secret that has expired: what it holds cannot be sent again."""
    async with site.daemon() as registry:
        entry = await registry.create_write(request(), 1)
        await registry.pause(ID)
        async with attached(entry, producer):
            await producer.give(DATA[:60_000])
            await site.shows(bytes=60_000)
    site.store.refusal = errors.Problem(errors.CONFIG, "its secret has expired")
    async with site.daemon() as registry:
        await registry.resume(ID)
        await site.until(lambda it: it.stalled == "its secret has expired")
        site.store.refusal = None
        await registry.resume(ID)
        async with attached(await registry.find_write(ID), producer):
            await write_all(await registry.find_write(ID), producer, DATA[60_000:])
            await producer.heard("complete")
        assert await read_back(site) == DATA


async def test_what_is_in_the_spool_counts_after_a_restart(site, producer):
    async with site.daemon() as registry:
        entry = await registry.create_write(request(), 1)
        await registry.pause(ID)
        async with attached(entry, producer):
            await write_all(entry, producer)
            await producer.heard("spooled")
    async with site.daemon() as registry:
        shown = await registry.show(ID)
        assert (shown.bytes, shown.blocks, shown.shipped) == (len(DATA), 5, 0)
        assert registry.statistics().bytes_spooled == len(DATA)
        await registry.resume(ID)
        await site.shows(state="complete")
        await site.sweeps()
        row = await site.catalog.read(rows.get, ID)
        assert (row.bytes, row.shipped) == (len(DATA), len(DATA))


async def test_a_client_that_goes_while_the_spool_is_full(site, producer):
    """Its rest is taken all the same: nobody waits for room that may never come."""
    async with site.daemon(spool_limit=60_000) as registry:
        entry = await registry.create_write(request(), 1)
        await registry.pause(ID)
        async with attached(entry, producer):
            for start in range(0, 100_000, 50_000):
                await producer.give(DATA[start : start + 50_000])
            await site.waits("paused; the spool is full")
        with trio.fail_after(5):
            await entry.abandon(producer.passed())
        shown = await registry.show(ID)
        assert (shown.state, shown.bytes) == ("failing", len(DATA))


async def test_a_stream_that_somebody_else_has_failed_is_not_complete(site, producer, server):
    async with site.daemon() as registry:
        entry = await registry.create_write(request(flush_interval=0), 1)
        async with attached(entry, producer):
            await producer.give(DATA[:30_000])
            await site.shows(shipped=30_000)
            server.put(".bufferend", container.END_MARKERS["failed"])
            await write_all(entry, producer, DATA[30_000:])
            failed = await producer.heard("failed")
        assert failed["code"] == "BufferFailed"
        assert "marked as failed" in failed["reason"]


async def test_a_store_that_is_away_at_the_beginning_is_waited_for(site, producer):
    """To sign an access URL may take the network: a producer does not wait for that."""
    site.store.refusal = errors.Problem(errors.UNAVAILABLE, "it does not answer")
    async with site.daemon() as registry:
        entry = await registry.create_write(request(), 1)
        async with attached(entry, producer):
            await producer.give(DATA[:30_000])
            await site.waits("it does not answer")
            site.store.refusal = None
            await write_all(entry, producer, DATA[30_000:])
            await producer.heard("complete")
        assert await read_back(site) == DATA


async def test_a_defect_stalls_its_transfer_and_no_other(site, producer):
    site.store.refusal = ZeroDivisionError("nobody thought of that")
    async with site.daemon() as registry:
        entry = await registry.create_write(request(), 1)
        async with attached(entry, producer):
            await site.waits("stalled: a defect of ours, see the daemon's log: ZeroDivisionError")
            site.store.refusal = None
            await registry.resume(ID)
            await write_all(entry, producer)
            await producer.heard("complete")
        assert await read_back(site) == DATA


async def test_a_url_that_comes_late_ends_the_stall(site, producer, server, monkeypatch):
    monkeypatch.setattr(retrying, "RENEWAL_PATIENCE", 0.0)
    async with site.daemon() as registry:
        entry = await registry.create_write(request(buffer=None, url=server.url(), renewable=True), 1)
        async with attached(entry, producer):
            await producer.give(DATA[:30_000])
            await site.shows(shipped=30_000)
            del server.signatures["good"]
            server.signatures["fresh"] = "cr"
            await write_all(entry, producer, DATA[30_000:])
            await site.until(lambda it: it.stalled)
            registry.renew_access(entry, server.url(sig="fresh"))
            await producer.heard("complete")


async def test_a_spool_without_its_access_url_fails_the_write_and_not_the_daemon(site, producer, server):
    async with site.daemon() as registry:
        entry = await registry.create_write(request(buffer=None, url=server.url(), renewable=True), 1)
        await registry.pause(ID)
        async with attached(entry, producer):
            await producer.give(DATA[:30_000])
    os.unlink(site.path / "spool" / ID / "access")
    async with site.daemon() as registry:
        shown = await registry.show(ID)
        assert (shown.state, shown.code) == ("failed", "IOError")


async def test_a_cancelled_transfer_is_over_though_it_is_paused(site, producer, server):
    async with site.daemon() as registry:
        entry = await registry.create_write(request(), 1)
        await registry.pause(ID)
        async with attached(entry, producer):
            await producer.give(DATA[:30_000])
            await registry.cancel(ID)
            assert (await producer.heard("failed"))["reason"] == "cancelled by user"
    assert server.stored(".bufferend") == container.END_MARKERS["failed"]


async def test_what_was_cancelled_stays_cancelled_in_the_next_daemon(site, producer, server):
    """The user is told before the row is written: the container says it first."""
    ends = []
    async with site.daemon() as registry:
        entry = await registry.create_write(request(), 1)
        entry._on_final = lambda it: ends.append(it._container.end())
        await registry.pause(ID)
        async with attached(entry, producer):
            await write_all(entry, producer)
            await producer.heard("spooled")
            await registry.cancel(ID)
            await producer.heard("failed")
    assert ends == ["failed"]
    async with site.daemon() as registry:
        await registry.resume(ID)
        assert (await site.shows(state="failed")).reason == "cancelled by user"


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
        entry = await registry.create_write(request(), 1)
        async with attached(entry, producer):
            os.rmdir(site.path / "trash")
            (site.path / "trash").write_text("no directory")
            await write_all(entry, producer)
            await producer.heard("complete")
        with trio.fail_after(10):
            while registry._writes:
                await trio.lowlevel.checkpoint()
        assert site.spooled() == [ID]
        os.unlink(site.path / "trash")
    async with site.daemon():
        await site.sweeps()


async def test_a_disk_that_fails_stalls_the_write_and_not_the_daemon(site, producer):
    async with site.daemon() as registry:
        entry = await registry.create_write(request(), 1)
        await registry.pause(ID)
        async with attached(entry, producer):
            await write_all(entry, producer)
    mark = site.path / "spool" / ID / "shipped"
    os.unlink(mark)
    mark.mkdir()
    async with site.daemon() as registry:
        await registry.resume(ID)
        await site.waits("stalled: ")
        mark.rmdir()
        await registry.resume(ID)
        await site.shows(state="complete")
        assert await read_back(site) == DATA


# --- access URLs -----------------------------------------------------------------------------------------


async def test_a_write_and_a_read_by_access_url(site, producer, server):
    got = bytearray()

    class Sink:
        async def send_memory(self, data):
            got.extend(data)

    async with site.daemon() as registry:
        entry = await registry.create_write(request(buffer=None, url=server.url()), 1)
        async with attached(entry, producer):
            await write_all(entry, producer)
            await producer.heard("complete")
        shown = await registry.show(ID)
        assert (shown.buffer, shown.location) == (BUFFER, assembly.BY_URL)
        _, run = registry.new_read_by_url(server.url(), span.Span(), 1)
        await run(Sink())
    assert got == DATA


async def test_a_url_that_expires_is_renewed_by_its_client(site, producer, server):
    async with site.daemon() as registry:
        entry = await registry.create_write(request(buffer=None, url=server.url(), renewable=True), 1)
        async with attached(entry, producer):
            await producer.give(DATA[:30_000])
            await site.shows(shipped=30_000)
            del server.signatures["good"]
            server.signatures["fresh"] = "cr"
            await write_all(entry, producer, DATA[30_000:])
            await producer.heard("renew")
            await site.waits("its access URL has expired")
            with pytest.raises(errors.Problem, match="leads to another buffer"):
                registry.renew_access(entry, server.url("buffer2", "fresh"))
            registry.renew_access(entry, server.url(sig="fresh"))
            await producer.heard("complete")
        got = [server.stored(f"00/00{number}") for number in range(4)]
        assert b"".join(got) == DATA


async def test_a_url_that_expires_and_cannot_be_renewed_is_the_end(site, producer, server):
    async with site.daemon() as registry:
        entry = await registry.create_write(request(buffer=None, url=server.url()), 1)
        async with attached(entry, producer):
            await producer.give(DATA[:30_000])
            await site.shows(shipped=30_000)
            del server.signatures["good"]
            await producer.give(DATA[30_000:60_000])
            failed = await producer.heard("failed")
        assert "invalid access URL" in failed["reason"]


async def test_an_account_may_have_any_name(tmp_path, server, producer):
    site = Site(tmp_path, server)
    site.store = remotestore.RemoteStore(server, name="url")
    async with site.daemon() as registry:
        entry = await registry.create_write(request(), 1)
        async with attached(entry, producer):
            await write_all(entry, producer)
            await producer.heard("complete")
    site.catalog.close()


async def test_the_systems_daemon_opens_no_other_sockets(site, server):
    async with site.daemon(own_sockets_only=True) as registry:
        with pytest.raises(errors.Problem, match="does not connect to other Unix sockets"):
            await registry.create_write(request(buffer=None, url=server.url()), 1)
        with pytest.raises(errors.Problem, match="does not connect to other Unix sockets"):
            registry.new_read_by_url(server.url(), span.Span(), 1)


async def test_only_what_is_shipped_can_be_paused(site):
    async with site.daemon() as registry:
        with pytest.raises(errors.Problem, match="not found"):
            await registry.pause(ID)
        entry, _ = await registry.new_read(BUFFER, span.Span(), 1)
        with pytest.raises(errors.Problem, match="not found"):
            await registry.pause(entry.id)


async def test_rows_of_transfers_that_are_over_are_shown(site, producer):
    async with site.daemon() as registry:
        entry = await registry.create_write(request(priority="bulk"), 1)
        async with attached(entry, producer):
            await write_all(entry, producer)
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

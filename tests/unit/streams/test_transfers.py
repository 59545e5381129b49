"""Writes and their registry, with real pipes, store and catalog: every way to end, every restart."""

import contextlib
import gc
import os

import pytest
import trio

from tests.support import disks, parts
from tyger import errors, model
from tygerd.catalog import db
from tygerd.osutil import fds
from tygerd.stores import local
from tygerd.streams import span, write

BUFFER = "abcdefghijklmnopqrstuvwxyz"
ID = "0123456789abcdef0123456789abcdef"


class Daemon:
    """What a daemon holds; another one on the same directory is a restart."""

    def __init__(self, path, grace=float("inf"), sync=False):
        self.catalog = db.Catalog.open(str(path / "catalog.sqlite3"))
        self.store = local.LocalStore(str(path))
        self.transfers = parts.registry(self.catalog, path, self.store, sync=sync, reattach_grace=grace)

    async def end(self):
        """The buffer's end, and its bytes, as the disk has them."""
        target = await self.store.open(BUFFER)
        data, number = b"", 0
        while (block := target.block(number)) is not None and block.path:
            data += await trio.Path(block.path).read_bytes()
            number += 1
        return target.end(), data


@contextlib.asynccontextmanager
async def running(path, **options):
    daemon = Daemon(path, **options)
    await daemon.store.start()
    await daemon.store.create(BUFFER)
    failure = None
    async with trio.open_nursery() as nursery:
        await nursery.start(daemon.transfers.run)
        try:
            yield daemon
        except Exception as error:  # noqa: BLE001 - raised again, not wrapped
            failure = error
        nursery.cancel_scope.cancel()
    target = daemon.store._open.get(BUFFER)
    if target is not None:
        target.close()
    daemon.catalog.close()
    if failure:
        raise failure


class Client:
    """A pipe, its producer, and the events that were reported."""

    def __init__(self):
        reader, self.writer = os.pipe()
        self.kept = reader
        self.events = []
        self._changed = trio.Event()

    def passed(self):
        return fds.OwnedFd(os.dup(self.kept))

    def produce(self, data):
        os.write(self.writer, data)

    def end(self):
        os.close(self.writer)
        self.writer = -1

    async def report(self, event):
        self.events.append(event)
        self._changed.set()

    async def heard(self, name):
        while not any(event["event"] == name for event in self.events):
            self._changed = trio.Event()
            await self._changed.wait()

    async def progressed(self, count):
        while not any(event.get("bytes", 0) >= count for event in self.events):
            self._changed = trio.Event()
            await self._changed.wait()

    def close(self):
        os.close(self.kept)
        if self.writer >= 0:
            self.end()


@pytest.fixture
def client():
    made = Client()
    yield made
    made.close()


def request(**options):
    return model.WriteRequest(buffer=BUFFER, id=ID, flush_interval=0, **options)


async def attached(entry, client, scope=None):
    """One attachment from beginning to end, as the API's handler does it."""
    with client.passed() as pipe, scope or trio.CancelScope():
        await entry.attach(pipe, client.report)


@pytest.mark.parametrize("sync", [False, True])
async def test_complete_needs_end_of_file_and_the_clients_word(tmp_path, client, sync):
    async with running(tmp_path, sync=sync) as daemon, trio.open_nursery() as nursery:
        entry = await daemon.transfers.create_write(request(), 1)
        nursery.start_soon(attached, entry, client)
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
    async with running(tmp_path) as daemon, trio.open_nursery() as nursery:
        entry = await daemon.transfers.create_write(request(), 1)
        nursery.start_soon(attached, entry, client)
        client.produce(b"some bytes")
        await client.progressed(10)
        await entry.say("failed", "interrupted")
        await client.heard("failed")
        assert await daemon.end() == ("failed", b"some bytes")
        assert (await daemon.transfers.show(ID)).reason == "interrupted"


async def test_a_store_that_cannot_be_written_fails_the_buffer_with_the_systems_word(tmp_path, client):
    async with running(tmp_path) as daemon, trio.open_nursery() as nursery:
        entry = await daemon.transfers.create_write(request(), 1)
        await trio.Path(tmp_path / "containers" / BUFFER / "blocks").write_bytes(b"a file in its place")
        nursery.start_soon(attached, entry, client)
        client.produce(b"some bytes")
        await client.heard("failed")
        assert "could not store the stream: Not a directory" in entry.reason
        target = await daemon.store.open(BUFFER)
        assert target.end() == "failed"


async def test_a_buffer_that_is_deleted_under_its_writer_fails_and_does_not_come_back(tmp_path, client):
    async with running(tmp_path) as daemon, trio.open_nursery() as nursery:
        entry = await daemon.transfers.create_write(request(block_size=4), 1)
        nursery.start_soon(attached, entry, client)
        client.produce(b"0123")
        await client.progressed(4)
        await daemon.store.delete(BUFFER)
        client.produce(b"4567")
        await client.heard("failed")
        assert entry.reason == "the daemon could not store the stream: No such file or directory"
        assert await daemon.store.ids() == []


async def test_a_buffer_that_somebody_else_fails_under_its_writer(tmp_path, client):
    async with running(tmp_path) as daemon, trio.open_nursery() as nursery:
        entry = await daemon.transfers.create_write(request(), 1)
        nursery.start_soon(attached, entry, client)
        client.produce(b"some bytes")
        client.end()
        await client.heard("eof")
        await daemon.store.mark_failed(BUFFER, "the run left it unfinished")
        with trio.fail_after(10), pytest.raises(errors.Problem, match="already failed"):
            await entry.say("complete")
        await client.heard("failed")
        assert entry.reason == "the run left it unfinished"


async def test_a_client_that_is_gone_leaves_a_failed_buffer_with_what_was_in_the_pipe(tmp_path, client):
    async with running(tmp_path) as daemon, trio.open_nursery() as nursery:
        entry = await daemon.transfers.create_write(request(block_size=4), 1)
        scope = trio.CancelScope()
        nursery.start_soon(attached, entry, client, scope)
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
    async with running(tmp_path) as daemon, trio.open_nursery() as nursery:
        entry = await daemon.transfers.create_write(request(), 1)
        scope = trio.CancelScope()
        nursery.start_soon(attached, entry, client, scope)
        client.produce(b"some")
        client.end()
        await client.heard("eof")
        entry._hear("complete", None)
        scope.cancel()
        daemon.transfers.abandon_soon(entry, client.passed())
        await entry.say("complete")
        assert await daemon.end() == ("complete", b"some")


async def test_after_a_restart_the_client_comes_back_and_nothing_is_lost(tmp_path, client):
    async with running(tmp_path) as daemon, trio.open_nursery() as nursery:
        entry = await daemon.transfers.create_write(request(block_size=4), 1)
        nursery.start_soon(attached, entry, client)
        client.produce(b"0123456789")
        await client.progressed(10)
        nursery.cancel_scope.cancel()
    client.produce(b"abc")
    async with running(tmp_path) as daemon, trio.open_nursery() as nursery:
        assert (await daemon.transfers.show(ID)).state == "suspended"
        assert daemon.transfers.statistics().suspended == 1
        again = await daemon.transfers.create_write(request(block_size=4), 1)
        assert again is await daemon.transfers.find_write(ID)
        client.events.clear()
        nursery.start_soon(attached, again, client)
        client.produce(b"def")
        client.end()
        await client.heard("eof")
        await again.say("complete")
        assert await daemon.end() == ("complete", b"0123456789abcdef")


async def test_a_restart_on_a_full_disk_waits_for_room(tmp_path, client):
    with disks.mounted(tmp_path / "containers", "-o", "size=16m") as disk:
        async with running(tmp_path) as daemon, trio.open_nursery() as nursery:
            entry = await daemon.transfers.create_write(request(), 1)
            nursery.start_soon(attached, entry, client)
            client.produce(b"some ")
            await client.progressed(5)
            nursery.cancel_scope.cancel()
        disks.fill(disk / "filler")
        # Another durability is written down first, and that takes room.
        async with running(tmp_path, sync=True) as daemon, trio.open_nursery() as nursery:
            entry = await daemon.transfers.find_write(ID)
            nursery.start_soon(attached, entry, client)
            with trio.fail_after(10):
                while entry.waiting != "the disk is full":
                    await trio.lowlevel.checkpoint()
            os.unlink(disk / "filler")
            client.produce(b"bytes")
            client.end()
            await client.heard("eof")
            await entry.say("complete")
            assert await daemon.end() == ("complete", b"some bytes")


async def test_a_client_that_does_not_come_back_in_time_has_failed(tmp_path, client):
    async with running(tmp_path) as daemon, trio.open_nursery() as nursery:
        entry = await daemon.transfers.create_write(request(), 1)
        nursery.start_soon(attached, entry, client)
        client.produce(b"some")
        await client.progressed(4)
        nursery.cancel_scope.cancel()
    async with running(tmp_path, grace=0) as daemon:
        entry = await daemon.transfers.find_write(ID)
        await entry._final.wait()
        assert await daemon.end() == ("failed", b"some")


async def test_after_the_end_a_restarted_daemon_still_knows_it(tmp_path, client):
    """The client whose last answer was lost asks again, and is told."""
    async with running(tmp_path) as daemon, trio.open_nursery() as nursery:
        entry = await daemon.transfers.create_write(request(), 1)
        nursery.start_soon(attached, entry, client)
        client.end()
        await client.heard("eof")
        await entry.say("complete")
    client.events.clear()
    async with running(tmp_path) as daemon:
        entry = await daemon.transfers.find_write(ID)
        await attached(entry, client)
        await entry.say("complete")
    assert [event["event"] for event in client.events] == ["attached", "complete"]


async def test_killed_between_the_row_and_the_journal(tmp_path, client):
    async with running(tmp_path) as daemon:
        await daemon.transfers.create_write(request(), 1)
        os.unlink(tmp_path / "containers" / BUFFER / "journal")
    client.produce(b"some")
    client.end()
    async with running(tmp_path) as daemon, trio.open_nursery() as nursery:
        entry = await daemon.transfers.create_write(request(), 1)
        nursery.start_soon(attached, entry, client)
        await client.heard("eof")
        await entry.say("complete")
        assert await daemon.end() == ("complete", b"some")


async def test_killed_between_the_end_and_its_row(tmp_path):
    async with running(tmp_path) as daemon:
        await daemon.transfers.create_write(request(), 1)
        (await daemon.store.open(BUFFER)).mark_failed("because")
    async with running(tmp_path) as daemon:
        assert daemon.transfers.statistics().writing == 0
        entry = await daemon.transfers.find_write(ID)
        assert (entry.state, entry.reason) == ("failed", "because")


async def test_a_later_attachment_replaces_an_earlier_one(tmp_path, client):
    async with running(tmp_path) as daemon, trio.open_nursery() as nursery:
        entry = await daemon.transfers.create_write(request(), 1)
        replaced = trio.Event()

        async def first():
            with client.passed() as pipe, pytest.raises(write.ReplacedError):
                await entry.attach(pipe, client.report)
            replaced.set()

        nursery.start_soon(first)
        client.produce(b"one ")
        await client.progressed(4)
        nursery.start_soon(attached, entry, client)
        await replaced.wait()
        client.produce(b"two")
        client.end()
        await client.heard("eof")
        await entry.say("complete")
        assert await daemon.end() == ("complete", b"one two")


async def test_a_buffer_is_written_once_and_must_exist(tmp_path):
    async with running(tmp_path) as daemon:
        await daemon.transfers.create_write(request(), 1)
        with pytest.raises(errors.Problem, match="already written"):
            await daemon.transfers.create_write(model.WriteRequest(buffer=BUFFER), 1)
        with pytest.raises(errors.Problem, match="not found"):
            await daemon.transfers.create_write(model.WriteRequest(buffer="b" * 26), 1)
        with pytest.raises(errors.Problem, match="in use for another buffer"):
            await daemon.transfers.create_write(model.WriteRequest(buffer="b" * 26, id=ID), 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"run": 1 << 63}, "run must be"),
        ({"block_size": 0}, "blockSize must be"),
        ({"block_size": 1 << 31}, "blockSize must be"),
        ({"flush_interval": -1.0}, "flushInterval must"),
        ({"flush_interval": float("inf")}, "flushInterval must"),
        ({"id": "short"}, "id must be 32"),
    ],
)
async def test_bad_requests_are_named(tmp_path, options, message):
    async with running(tmp_path) as daemon:
        with pytest.raises(errors.Problem, match=message):
            await daemon.transfers.create_write(model.WriteRequest(buffer=BUFFER, **options), 1)


async def test_two_requests_with_one_id_at_once_are_one_write(tmp_path):
    async with running(tmp_path) as daemon:
        entries = []

        async def ask():
            entries.append(await daemon.transfers.create_write(request(), 1))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(ask)
        assert len(set(map(id, entries))) == 1


async def test_cancel_and_list(tmp_path):
    async with running(tmp_path) as daemon:
        await daemon.transfers.create_write(request(), 1)
        assert daemon.transfers.writing(BUFFER)
        cancelled = await daemon.transfers.cancel(ID)
        assert (cancelled.state, cancelled.reason) == ("failed", "cancelled by user")
        assert [entry.id for entry in daemon.transfers.every()] == [ID]
        assert not daemon.transfers.writing(BUFFER)
        with pytest.raises(errors.Problem, match="not found"):
            await daemon.transfers.cancel("0" * 32)


async def test_what_is_over_holds_no_descriptor(tmp_path, client):
    async with running(tmp_path) as daemon:
        async with trio.open_nursery() as nursery:
            entry = await daemon.transfers.create_write(request(), 1)
            nursery.start_soon(attached, entry, client)
            client.end()
            await client.heard("eof")
            await entry.say("complete")
        del entry, nursery
        with trio.fail_after(10):
            while daemon.transfers._writes:  # until its row says that it is over
                await trio.lowlevel.checkpoint()
        gc.collect()
        journals = [path for path in map(_target, os.listdir("/proc/self/fd")) if path.endswith("/journal")]
        assert not [path for path in journals if path.startswith(str(tmp_path))]
        assert (await daemon.transfers.show(ID)).state == "complete"


def _target(fd):
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except FileNotFoundError:
        return ""


async def test_a_read_is_listed_while_it_lasts(tmp_path):
    async with running(tmp_path) as daemon:
        await daemon.transfers.create_write(request(), 1)
        entry, run = await daemon.transfers.new_read(BUFFER, span.Span(), 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, None)
            await entry.moved.wait()
            with pytest.raises(errors.Problem, match="ending its client"):
                await daemon.transfers.cancel(entry.id)
            shown = await daemon.transfers.show(entry.id)
            assert (shown.kind, shown.waiting) == ("read", "its writer")
            assert daemon.transfers.statistics().reading == 1
            nursery.cancel_scope.cancel()
        ended = await daemon.transfers.show(entry.id)
        assert (ended.state, ended.reason) == ("failed", "its client went away")
        assert daemon.transfers.statistics().reading == 0

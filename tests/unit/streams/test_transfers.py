"""The registry of transfers, with real pipes, store and catalog: made once, listed, cancelled, put away."""

import gc
import os

import pytest
import trio

from tests.support import localwrites
from tyger import errors, model
from tygerd.streams import span

BUFFER = localwrites.BUFFER
ID = localwrites.ID


async def test_a_buffer_is_written_once_and_must_exist(tmp_path):
    async with localwrites.running(tmp_path) as daemon:
        await daemon.transfers.create_write(localwrites.request(), 1)
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
    async with localwrites.running(tmp_path) as daemon:
        with pytest.raises(errors.Problem, match=message):
            await daemon.transfers.create_write(model.WriteRequest(buffer=BUFFER, **options), 1)


async def test_two_requests_with_one_id_at_once_are_one_write(tmp_path):
    async with localwrites.running(tmp_path) as daemon:
        entries = []

        async def ask():
            entries.append(await daemon.transfers.create_write(localwrites.request(), 1))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(ask)
        assert len(set(map(id, entries))) == 1


async def test_cancel_and_list(tmp_path):
    async with localwrites.running(tmp_path) as daemon:
        await daemon.transfers.create_write(localwrites.request(), 1)
        assert daemon.transfers.writing(BUFFER)
        cancelled = await daemon.transfers.cancel(ID)
        assert (cancelled.state, cancelled.reason) == ("failed", "cancelled by user")
        assert [entry.id for entry in daemon.transfers.every()] == [ID]
        assert not daemon.transfers.writing(BUFFER)
        with pytest.raises(errors.Problem, match="not found"):
            await daemon.transfers.cancel("0" * 32)


async def test_what_is_over_holds_no_descriptor(tmp_path, client):
    async with localwrites.running(tmp_path) as daemon:
        async with trio.open_nursery() as nursery:
            entry = await daemon.transfers.create_write(localwrites.request(), 1)
            nursery.start_soon(localwrites.attached, entry, client)
            client.end()
            await client.heard("eof")
            await entry.say("complete")
        del entry, nursery
        with trio.fail_after(60):
            while daemon.transfers._writes:  # until its row says that it is over
                await trio.lowlevel.checkpoint()
        assert not _journals(tmp_path)
        assert (await daemon.transfers.show(ID)).state == "complete"


async def test_what_nobody_came_back_for_holds_no_descriptor(tmp_path, client):
    async with localwrites.running(tmp_path) as daemon, trio.open_nursery() as nursery:
        entry = await daemon.transfers.create_write(localwrites.request(), 1)
        nursery.start_soon(localwrites.attached, entry, client)
        await client.heard("attached")
        nursery.cancel_scope.cancel()
    del entry, nursery, daemon
    async with localwrites.running(tmp_path, grace=0) as daemon:
        with trio.fail_after(60):
            while daemon.transfers._writes:
                await trio.lowlevel.checkpoint()
        assert not _journals(tmp_path)
        assert (await daemon.transfers.show(ID)).state == "failed"


def _journals(place):
    gc.collect()
    journals = [path for path in map(_target, os.listdir("/proc/self/fd")) if path.endswith("/journal")]
    return [path for path in journals if path.startswith(str(place))]


def _target(fd):
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except FileNotFoundError:
        return ""


async def test_a_read_is_listed_while_it_lasts(tmp_path):
    async with localwrites.running(tmp_path) as daemon:
        await daemon.transfers.create_write(localwrites.request(), 1)
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

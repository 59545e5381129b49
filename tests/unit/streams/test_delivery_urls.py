"""Writes and reads by access URL: renewed, expired, of no socket that is not ours."""

import errno
import os

import pytest

from tests.support import delivering
from tyger import errors
from tygerd.blocks import writer
from tygerd.streams import assembly, span

BUFFER = delivering.BUFFER
ID = delivering.ID
DATA = delivering.DATA


def by_url(server):
    """A write whose access URL its client can renew."""
    return {"buffer": None, "url": server.url(), "renewable": True}


async def expires(site, producer, server):
    """With part of the data in the store the access URL expires, and another becomes good."""
    await producer.give(DATA[:30_000])
    await site.shows(shipped=30_000)
    del server.signatures["good"]
    server.signatures["fresh"] = "cr"


async def test_a_url_that_comes_late_ends_the_stall(site, producer, server):
    async with (
        site.daemon(renewal=0.0) as registry,
        delivering.writing(registry, producer, buffer=None, url=server.url(), renewable=True) as entry,
    ):
        await expires(site, producer, server)
        await delivering.write_all(entry, producer, DATA[30_000:])
        await site.until(lambda it: it.stalled)
        registry.renew_access(entry, server.url(sig="fresh"))
        await producer.heard("complete")


async def test_a_spool_without_its_access_url_fails_the_write_and_not_the_daemon(site, producer, server):
    async with (
        site.daemon() as registry,
        delivering.writing(registry, producer, paused=True, buffer=None, url=server.url(), renewable=True),
    ):
        await producer.give(DATA[:30_000])
    os.unlink(site.path / "spool" / ID / "access")
    async with site.daemon() as registry:
        shown = await registry.show(ID)
        assert (shown.state, shown.code) == ("failed", "IOError")


async def test_a_write_and_a_read_by_access_url(site, producer, server):
    got = bytearray()

    class Sink:
        async def send_memory(self, data):
            got.extend(data)

    async with site.daemon() as registry:
        async with delivering.writing(registry, producer, buffer=None, url=server.url()) as entry:
            await delivering.write_all(entry, producer)
            await producer.heard("complete")
        shown = await registry.show(ID)
        assert (shown.buffer, shown.location) == (BUFFER, assembly.BY_URL)
        _, run = registry.new_read_by_url(server.url(), span.Span(), 1)
        await run(Sink())
    assert got == DATA


async def test_a_url_that_expires_is_renewed_by_its_client(site, producer, server):
    async with site.daemon() as registry:
        async with delivering.writing(
            registry, producer, buffer=None, url=server.url(), renewable=True
        ) as entry:
            await expires(site, producer, server)
            await delivering.write_all(entry, producer, DATA[30_000:])
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
        async with delivering.writing(registry, producer, buffer=None, url=server.url()):
            await producer.give(DATA[:30_000])
            await site.shows(shipped=30_000)
            del server.signatures["good"]
            await producer.give(DATA[30_000:60_000])
            failed = await producer.heard("failed")
        assert "invalid access URL" in failed["reason"]


async def test_the_systems_daemon_opens_no_other_sockets(site, server):
    async with site.daemon(own_sockets_only=True) as registry:
        with pytest.raises(errors.Problem, match="does not connect to other Unix sockets"):
            await registry.create_write(delivering.request(buffer=None, url=server.url()), 1)
        with pytest.raises(errors.Problem, match="does not connect to other Unix sockets"):
            registry.new_read_by_url(server.url(), span.Span(), 1)


async def test_a_write_that_the_disk_refuses_leaves_no_access_url(site, server, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writer.Writer, "create", refuse)
    async with site.daemon() as registry:
        with pytest.raises(errors.Problem) as refused:
            await registry.create_write(delivering.request(buffer=None, url=server.url()), 1)
        assert refused.value.kind is errors.STORAGE_FULL
        assert os.listdir(site.path / "spool") == []

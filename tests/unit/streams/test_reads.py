"""Reads as the registry keeps them: what they wait for, how they end."""

import os

import pytest
import trio

from tests.support import blobserver
from tyger import errors
from tygerd.blocks import container, writer
from tygerd.stores import access, network
from tygerd.streams import hashing, reads, remote, span


class Sink:
    """Takes what is delivered."""

    def __init__(self):
        self.data = b""

    async def send_file(self, fd, offset, length):
        self.data += os.pread(fd, length, offset)
        await trio.lowlevel.checkpoint()

    async def send_memory(self, data):
        self.data += data
        await trio.lowlevel.checkpoint()


@pytest.fixture
def ended():
    return []


@pytest.fixture
async def registry(ended):
    hasher = hashing.Hasher()
    remotes = remote.Remotes(network.settings({}), bandwidth=None, deadline=10)
    return reads.Reads(remotes, hasher, lease_grace=10, on_end=ended.append)


@pytest.fixture
def written(tmp_path):
    made = container.Container(str(tmp_path))
    into = writer.Writer.create(made, 10)
    fd = into.block_file(0)
    os.pwrite(fd, b"some", 0)
    into.seal(0, 4, into.digest(fd, 4))
    os.close(fd)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("away", "why"), [(False, "its writer"), (True, "its writer is away: it has not come back yet")]
)
async def test_what_a_local_read_waits_for(registry, ended, written, away, why):
    entry, sink = reads.Read("abc", "local", 1), Sink()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(registry.local, entry, written, span.Span(), sink, lambda: away)
        await entry.moved.wait()
        assert (entry.waiting, entry.bytes, list(registry.live)) == (why, 4, [entry.id])
        nursery.cancel_scope.cancel()
    assert ended == [entry]
    assert (entry.reason, entry.waiting, entry.whole) == ("its client went away", None, False)
    assert sink.data == b"some"
    assert registry.live == {}


async def test_what_is_there_now(registry, written):
    entry, sink = reads.Read("abc", "local", 1), Sink()
    await registry.local(entry, written, span.Span(follow=False), sink, lambda: False)
    assert (sink.data, entry.whole, entry.reason) == (b"some", True, None)
    assert registry.bytes == 4


async def test_an_access_url_that_has_expired(registry):
    """The client is told so that it can bring another one."""
    with blobserver.BlobServer() as server:
        url = access.parse(server.url("buffer1", "old"))

        async def opening():
            return access.Access(url)

        entry = reads.Read("buffer1", "url", 1)
        with pytest.raises(errors.Problem) as caught:
            await registry.remote(entry, opening, span.Span(), Sink())
    assert caught.value.kind is errors.ACCESS_EXPIRED
    assert (entry.code, entry.reason) == ("AccessExpired", caught.value.message)


async def test_an_ephemeral_buffer_is_not_stored_anywhere(registry):
    async def opening():
        return access.locate("http+unix:///run/tyger/relay:?sig=x&relay=true")

    with pytest.raises(errors.Problem, match="ephemeral buffer") as caught:
        await registry.remote(reads.Read("x", "url", 1), opening, span.Span(), Sink())
    assert caught.value.kind is errors.INVALID_INPUT

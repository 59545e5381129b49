"""No room in the spool or on its disk: the producer waits, nothing is dropped, and it goes on."""

import contextlib

import pytest

from tests.support import cloud as clouds
from tests.support import daemon, disks, faultproxy, streaming

MIB = 1 << 20
SIZE = 24 * MIB


def waits_for(streams, buffer, words):
    return streams.wait_transfer(buffer, lambda transfer: words in (transfer.get("waiting") or ""))


def test_the_spool_is_full(make_cloud):
    """While the store is away only so much is taken from the producer, which then waits."""
    cloud = make_cloud(more='[spool]\nlimit = "6MiB"\nfloor = "0"\n')
    streams = cloud.streams
    buffer = streams.buffer()
    cloud.proxy.refuse()
    writing = streams.write(buffer, 1, SIZE)
    there = waits_for(streams, buffer, "the spool is full")
    assert 6 * MIB - clouds.BLOCK <= there["bytes"] <= 6 * MIB + clouds.BLOCK
    assert writing.producer.process.poll() is None
    assert "the spool is full" in streams.run("status").stdout.decode()
    cloud.proxy.restore()
    made = writing.finish()
    assert streams.read(buffer, 1).finish() == made


def test_the_limit_is_for_all_together(make_cloud):
    cloud = make_cloud(more='[spool]\nlimit = "6MiB"\nfloor = "0"\n')
    streams = cloud.streams
    buffers = [streams.buffer() for _ in range(3)]
    cloud.proxy.refuse()
    writings = [streams.write(buffer, seed, SIZE) for seed, buffer in enumerate(buffers)]
    for buffer in buffers:
        waits_for(streams, buffer, "the spool is full")
    taken = sum(streams.transfer(buffer)["bytes"] for buffer in buffers)
    assert taken <= 6 * MIB + 3 * clouds.BLOCK
    cloud.proxy.restore()
    for seed, (buffer, writing) in enumerate(zip(buffers, writings, strict=True)):
        made = writing.finish()
        assert streams.read(buffer, seed).finish() == made


@pytest.fixture
def on_a_small_disk(azurite):
    """A site whose daemon has 24 MiB for its state."""
    with contextlib.ExitStack() as stack:
        proxy = stack.enter_context(faultproxy.Proxy(("127.0.0.1", azurite.port)))
        text = clouds.config(azurite, proxy.address[1], more='[spool]\nfloor = "6MiB"\n')
        it = stack.enter_context(daemon.daemon(start=False, config=text))
        it.state = str(it.path / "disk/state")
        stack.enter_context(disks.mounted(it.path / "disk", "-o", "size=24m"))
        stack.callback(it.kill)
        it.start()
        streams = stack.enter_context(streaming.streaming(it, block=clouds.BLOCK))
        yield clouds.Cloud(proxy, it, streams, azurite)


def test_the_disk_is_full(on_a_small_disk):
    """First because nothing leaves the spool, then because of somebody's file; then there is room again."""
    cloud, streams = on_a_small_disk, on_a_small_disk.streams
    filler = cloud.daemon.path / "disk/filler"
    buffer = streams.buffer()
    cloud.proxy.refuse()
    writing = streams.write(buffer, 1, 2 * SIZE)
    waits_for(streams, buffer, "less free space than the spool must leave")
    disks.fill(filler)
    cloud.proxy.restore()
    # What is in the spool leaves it even now.
    cloud.proxy.wait(lambda: cloud.proxy.count("PUT", "00/*", status=201) > 20)
    filler.unlink()
    made = writing.finish()
    assert streams.read(buffer, 1).finish() == made


def test_the_daemon_is_killed_while_the_disk_is_full(on_a_small_disk):
    cloud, streams = on_a_small_disk, on_a_small_disk.streams
    filler = cloud.daemon.path / "disk/filler"
    buffer = streams.buffer()
    cloud.proxy.refuse()
    writing = streams.write(buffer, 1, 2 * SIZE)
    waits_for(streams, buffer, "less free space than the spool must leave")
    disks.fill(filler)
    cloud.daemon.kill()
    cloud.proxy.restore()
    filler.unlink()
    cloud.daemon.start()
    made = writing.finish()
    assert streams.read(buffer, 1).finish() == made

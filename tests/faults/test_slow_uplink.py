"""A daemon behind a link of its own: 1 Mbit/s upwards with blocks of 4 MiB, and a cable that is pulled."""

import contextlib

import pytest

from tests.support import cloud as clouds
from tests.support import daemon, faultproxy, netns, streaming

MIB = 1 << 20
BLOCKS = 4
SIZE = BLOCKS * 4 * MIB


class Behind(daemon.Daemon):
    """A daemon in a namespace; its socket is in the file system, which all share."""

    link: netns.Link

    def command(self, *arguments):
        return self.link.command(super().command(*arguments))


@contextlib.contextmanager
def behind(azurite, rate, block):
    with contextlib.ExitStack() as stack:
        link = stack.enter_context(netns.slow(rate))
        listen = (link.address, 0)
        proxy = stack.enter_context(faultproxy.Proxy(("127.0.0.1", azurite.port), listen=listen))
        port = proxy.address[1]
        text = clouds.config(azurite, port).replace(f"127.0.0.1:{port}", f"{link.address}:{port}")
        path = stack.enter_context(daemon.directory())
        it = Behind(path, text, ())
        it.link = link
        stack.callback(it.kill)
        it.start()
        streams = stack.enter_context(streaming.streaming(it, block=block))
        yield clouds.Cloud(proxy, it, streams, azurite)


@pytest.mark.long
def test_it_progresses_and_nothing_is_sent_twice(azurite):
    """Each block takes half a minute or more, and none times out."""
    with behind(azurite, "1mbit", 4 * MIB) as cloud:
        buffer = cloud.streams.buffer()
        made = cloud.streams.write(buffer, 1, SIZE).finish(400)
        for number in range(BLOCKS):
            (only,) = cloud.proxy.find("PUT", f"00/{number:03X}")
            assert (only.status, only.up) == (201, 4 * MIB)
        assert all(seen.status is not None for seen in cloud.proxy.find("PUT"))
        assert cloud.streams.read(buffer, 1).finish() == made


def test_a_cable_that_is_pulled(azurite):
    """Packets are lost and nobody says so, in the middle of blocks in both directions."""
    with behind(azurite, "100mbit", clouds.BLOCK) as cloud:
        streams = cloud.streams
        buffer = streams.buffer()
        writing = streams.write(buffer, 1, 16 * MIB, rate=3 * MIB)
        reading = streams.read(buffer, 1)
        streams.wait_transfer(buffer, lambda transfer: transfer["shipped"] > 0)
        cloud.daemon.link.unplug()
        taken = min(16 * MIB, streams.transfer(buffer)["bytes"] + 6 * MIB)
        streams.wait_transfer(buffer, lambda transfer: transfer["bytes"] >= taken)
        cloud.daemon.link.plug()
        made = writing.finish()
        assert reading.finish() == made

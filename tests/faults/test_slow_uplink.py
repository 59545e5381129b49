"""An uplink of 1 Mbit/s with blocks of 4 MiB: each takes half a minute or more, and none is sent twice."""

import contextlib

import pytest

from tests.support import cloud as clouds
from tests.support import daemon, faultproxy, netns, streaming

MIB = 1 << 20
BLOCKS = 4
SIZE = BLOCKS * 4 * MIB

pytestmark = pytest.mark.long


class Behind(daemon.Daemon):
    """A daemon in a namespace; its socket is in the file system, which all share."""

    link: netns.Link

    def command(self, *arguments):
        return self.link.command(super().command(*arguments))


@pytest.fixture
def cloud(azurite):
    with contextlib.ExitStack() as stack:
        link = stack.enter_context(netns.slow("1mbit"))
        listen = (link.address, 0)
        proxy = stack.enter_context(faultproxy.Proxy(("127.0.0.1", azurite.port), listen=listen))
        text = clouds.config(azurite, proxy.address[1]).replace(
            f"127.0.0.1:{proxy.address[1]}", f"{link.address}:{proxy.address[1]}"
        )
        path = stack.enter_context(daemon.directory())
        it = Behind(path, text, ())
        it.link = link
        stack.callback(it.kill)
        it.start()
        streams = stack.enter_context(streaming.streaming(it))
        yield clouds.Cloud(proxy, it, streams, azurite)


def test_it_progresses_and_nothing_is_sent_twice(cloud):
    streams = cloud.streams
    buffer = streams.buffer()
    made = streams.write(buffer, 1, SIZE).finish(400)
    for number in range(BLOCKS):
        (only,) = cloud.proxy.find("PUT", f"00/{number:03X}")
        assert (only.status, only.up) == (201, 4 * MIB)
    assert all(seen.status is not None for seen in cloud.proxy.find("PUT"))
    assert streams.read(buffer, 1).finish(120) == made

"""Parts of a stream, over a network that breaks, and patience that ends."""

import subprocess

import pytest

from tests.support import cloud as clouds
from tests.support import faultproxy_faults as faults
from tests.support import producer

SIZE = 9 * clouds.BLOCK + 1000


@pytest.fixture
def written(site):
    """A whole buffer, and connections that break at every other block of it."""
    buffer = site.streams.buffer()
    site.streams.write(buffer, 1, SIZE).finish()
    for number in range(0, 9, 2):
        site.proxy.fault(faults.cut(down=1000 * number), "GET", f"00/{number:03X}", times=1)
    return buffer


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ([], slice(None)),
        (["--range", "100000-"], slice(100_000, None)),
        (["--no-follow"], slice(None)),
    ],
)
def test_parts(site, written, arguments, part):
    data = producer.content(1, SIZE)
    done = site.streams.run("buffer", "read", written, *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout == data[part]


def test_a_piece_within_blocks(cloud):
    """Only what is wanted is asked for."""
    buffer = cloud.streams.buffer()
    cloud.streams.write(buffer, 1, SIZE).finish()
    first, last = 2 * clouds.BLOCK + 5, 4 * clouds.BLOCK + 7
    cloud.proxy.fault(faults.cut(down=100), "GET", "00/003")
    done = cloud.streams.run("buffer", "read", buffer, "--range", f"{first}-{last}")
    assert done.returncode == 0, done.stderr
    assert done.stdout == producer.content(1, SIZE)[first : last + 1]
    assert cloud.proxy.count("GET", "00/008") == 0
    cloud.proxy.fault(faults.cut(down=100), "GET", "00/000")
    done = cloud.streams.run("buffer", "read", buffer, "--head", "1000")
    assert done.stdout == producer.content(1, 1000)


def test_the_daemon_killed_within_a_part(cloud):
    buffer = cloud.streams.buffer()
    cloud.streams.write(buffer, 1, SIZE).finish()
    reading = cloud.streams.start("buffer", "read", buffer, "--range", "100000-", stdout=subprocess.PIPE)
    cloud.proxy.throttle(down=clouds.BLOCK * 8)
    got = bytearray()
    for _ in range(3):
        wanted = len(got) + 2 * clouds.BLOCK
        while len(got) < wanted:
            piece = reading.process.stdout.read1(wanted - len(got))
            assert piece, reading.said
            got += piece
        cloud.daemon.restart()
    got += reading.process.stdout.read()
    assert reading.wait() == 0, reading.said
    assert bytes(got) == producer.content(1, SIZE)[100_000:]


@pytest.mark.parametrize("verb", ["write", "read"])
def test_patience_with_a_daemon_that_stays_away(cloud, verb):
    """`--retry-for` is how long a command waits for its daemon to come back."""
    buffer = cloud.streams.buffer()
    if verb == "write":
        waiting = cloud.streams.write(buffer, 1, 1 << 40, "--retry-for", "1s", rate=1e6).command
    else:
        waiting = cloud.streams.start("buffer", "read", buffer, "--retry-for", "1s", stdout=subprocess.PIPE)
    cloud.streams.wait_transfer(buffer, lambda _: True, kind=verb)
    cloud.daemon.kill()
    assert waiting.wait() == 69  # without it, it waits for ever
    assert "daemon" in waiting.said

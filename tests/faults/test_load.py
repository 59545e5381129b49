"""Four writers and four readers at once: bounded memory, fair shares, every byte."""

import contextlib

import pytest

from tests.support import azurite as azurites
from tests.support import cloud as clouds
from tests.support import daemon, streaming

MIB = 1 << 20
EACH = 4

DOP = 32
"""Blocks that a reader holds at most; only readers hold any, a writer's are in files."""


def peak(pid):
    """The largest resident size of a process so far, in bytes."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))


class Load:
    """Four writers of `size` bytes each, and four readers of a stream that is there."""

    def __init__(self, streams, size, seconds):
        self.streams, self.size, self.seconds = streams, size, seconds
        self.memory = 150 * MIB + EACH * DOP * (streams.block or 4 * MIB)
        source = streams.buffer()
        self.made = streams.write(source, 0, size).finish(seconds)
        self.buffers = [streams.buffer() for _ in range(EACH)]
        self.start_reading = lambda: [streams.read(source, 0) for _ in range(EACH)]

    def start_writing(self):
        return [self.streams.write(buffer, 1 + seed, self.size) for seed, buffer in enumerate(self.buffers)]

    def shipped(self):
        return [self.streams.transfer(buffer)["shipped"] for buffer in self.buffers]

    def check_shares(self):
        """When the first is three quarters through, none is far behind."""
        enough = self.size * 3 // 4
        self.streams.wait_transfer(
            self.buffers[0], lambda _: max(self.shipped()) >= enough, seconds=self.seconds
        )
        shares = self.shipped()
        # Whoever is starved has next to nothing; a busy machine alone makes some a few seconds late.
        assert min(shares) >= max(shares) // 4, shares

    def check_ends(self, writings, readings):
        """Every byte is there, and the daemon has not grown."""
        assert [reading.finish(self.seconds) for reading in readings] == [self.made] * EACH
        finished = [writing.finish(self.seconds) for writing in writings]
        again = [self.streams.read(buffer, 1 + seed) for seed, buffer in enumerate(self.buffers)]
        assert [reading.finish(self.seconds) for reading in again] == finished
        assert peak(self.streams.daemon.pid) <= self.memory


def test_a_narrow_link(cloud):
    """All begin at the same moment, when the network comes back."""
    load = Load(cloud.streams, 24 * MIB, 300)
    cloud.proxy.blackhole()
    writings, readings = load.start_writing(), load.start_reading()
    for buffer in load.buffers:
        cloud.streams.wait_transfer(buffer, lambda transfer: transfer["bytes"] == load.size)
    cloud.proxy.throttle(up=24 * MIB)
    cloud.proxy.restore()
    load.check_shares()
    cloud.proxy.throttle()
    load.check_ends(writings, readings)


def test_live_goes_before_bulk(cloud):
    """The bulk one is not at zero for ever, and both arrive."""
    streams, size = cloud.streams, 12 * MIB
    bulk, live = streams.buffer(), streams.buffer()
    cloud.proxy.blackhole()
    writings = [
        streams.write(bulk, 1, size, "--priority", "bulk"),
        streams.write(live, 2, size, "--priority", "live"),
    ]
    for buffer in (bulk, live):
        streams.wait_transfer(buffer, lambda transfer: transfer["bytes"] == size)
    cloud.proxy.throttle(up=6 * MIB)
    cloud.proxy.restore()
    made = [writing.finish() for writing in writings]
    cloud.proxy.throttle()
    arrived = sorted(cloud.proxy.find("PUT", "00/*", status=201), key=lambda seen: seen.ended)
    blocks = [seen.container for seen in arrived if seen.up]
    of_live = [at for at, buffer in enumerate(blocks) if buffer == live]
    before = blocks[: of_live[size // clouds.BLOCK * 3 // 4]]
    assert before.count(bulk) < size // clouds.BLOCK // 2
    for seed, buffer in enumerate((bulk, live), 1):
        assert streams.read(buffer, seed).finish() == made[seed - 1]


def test_a_limit_for_all_together(make_cloud):
    """`transfer.bandwidth`, in bytes per second and for each direction."""
    cloud = make_cloud(transfer='bandwidth = "4MiB"\n')
    streams = cloud.streams
    buffers = [streams.buffer(), streams.buffer()]
    writings = [streams.write(buffer, seed, 8 * MIB) for seed, buffer in enumerate(buffers)]
    made = [writing.finish() for writing in writings]
    puts = cloud.proxy.find("PUT", "00/*", status=201)
    took = max(seen.ended for seen in puts) - min(seen.began for seen in puts)
    assert took >= 3  # four seconds' worth, of which a burst may go at once
    readings = [streams.read(buffer, seed) for seed, buffer in enumerate(buffers)]
    assert [reading.finish() for reading in readings] == made


@pytest.mark.long
def test_eight_gibibytes(tmp_path):
    """The account is on a disk, and slower than the pipes: all of them want more than they get.

    What the readers get is many times the memory that the daemon may have.
    """
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(azurites.azurite(str(tmp_path)))
        config = '[transfer]\nproxy = "none"\n' + server.config()
        it = stack.enter_context(daemon.daemon(config=config))
        streams = stack.enter_context(streaming.streaming(it))
        load = Load(streams, 1024 * MIB, 900)
        writings, readings = load.start_writing(), load.start_reading()
        load.check_shares()
        load.check_ends(writings, readings)

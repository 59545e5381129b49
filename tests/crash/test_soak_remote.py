"""Writers and readers at once, and all that a seed makes happen to them on the way to a storage account.

Whatever happens: what a writer was told is complete reads back byte for byte, nothing else passes for whole,
everybody comes to an end, and nothing is left in the spool. The instants are what the seed makes them.
"""

import contextlib
import os
import random
import signal
import time

import pytest

from tests.support import azurite as azurites
from tests.support import cloud as clouds
from tests.support import faultproxy_faults as faults
from tests.support import producer, streaming
from tyger import client, errors

KIB, MIB = 1 << 10, 1 << 20
EVENTS = 8
TRANSFER = 'writer_lease = "15s"\n'
SIZES = [0, 1, 70_000, 3 * MIB, 8 * MIB, 8 * MIB]
BLOCKS = ["64K", "256K", "1M"]


class Stream:
    """A buffer, its writer, and whoever reads it meanwhile."""

    def __init__(self, cloud, chance, seed, size):
        self.streams, self.seed, self.size = cloud.streams, seed, size
        self.buffer = cloud.streams.buffer()
        target = cloud.url(self.buffer, writeable=True) if chance.random() < 0.3 else self.buffer
        options = ["--block-size", chance.choice(BLOCKS), "--flush-interval", chance.choice(["0", "20ms"])]
        if chance.random() < 0.3:
            options += ["--priority", "bulk"]
        rate = min(max(1000, size / 4), 4 * MIB)  # what is still to be shipped at the end is not much
        self.writing = cloud.streams.write(target, seed, size, *options, rate=rate)
        self.readings = [cloud.streams.read(self.buffer, seed) for _ in range(chance.randrange(2))]

    def wait_attached(self):
        """Wait until the daemon knows them all: a command that has not met one does not wait for one."""
        self.streams.wait_transfer(self.buffer, bool)
        for _ in self.readings:
            self.streams.wait_transfer(self.buffer, bool, kind="read")

    def check(self, *, complete):
        """It has ended as it should, for its readers too; a complete one is whole."""
        code = self.writing.command.wait()
        assert (code == 0) is complete, self.writing.command.said
        whole = (self.size, producer.digest(self.seed, self.size), "end") if code == 0 else None
        for reading in [*self.readings, self.streams.read(self.buffer, self.seed)]:
            if reading.command.wait() == 0:
                assert reading.finish() == whole, self.writing.command.said
            else:
                assert code != 0, reading.command.said
                reading.fail()


def happen(cloud, chance):
    """Something."""
    event = chance.choice(["kill", "terminate", "cut", "refuse", "silence", "restart the store", "pause"])
    if event in {"kill", "terminate"}:
        cloud.daemon.restart(signal.SIGKILL if event == "kill" else signal.SIGTERM)
    elif event == "cut":
        cloud.proxy.cut()
    elif event in {"refuse", "silence"}:
        cloud.proxy.refuse() if event == "refuse" else cloud.proxy.blackhole()
        time.sleep(chance.uniform(0, 1))
        cloud.proxy.restore()
    elif event == "restart the store":
        cloud.azurite.stop()
        cloud.azurite.start()
    else:
        hold_back(cloud, chance.uniform(0, 1))


def hold_back(cloud, seconds):
    """Pause every transfer that can be, for a while."""
    asking = client.Client(cloud.daemon.socket)
    for verb in ("pause", "resume"):
        for transfer in cloud.streams.transfers():
            with contextlib.suppress(errors.Problem):  # a read, or over by now
                asking.request("POST", f"/transfers/{transfer['id']}/{verb}")
        time.sleep(seconds)


@pytest.mark.long
@pytest.mark.parametrize("seed", [1])
def test_what_is_complete_is_whole(seed, tmp_path):
    chance = random.Random(seed)
    with (
        azurites.azurite(str(tmp_path)) as server,
        clouds.cloud(server, transfer=TRANSFER) as cloud,
    ):
        cloud.proxy.fault(faults.lose_reply(), "PUT", chance.choice([".bufferstart", "00/000", ".bufferend"]))
        cloud.proxy.fault(faults.answer(503, "ServerBusy"), "PUT", "00/00?", times=chance.randrange(1, 8))
        lost = Stream(cloud, chance, 1000, 1 << 40)
        cloud.proxy.fault(faults.corrupt(up=0), "PUT", "??/*", container=lost.buffer)
        cancelled = Stream(cloud, chance, 1001, 1 << 40)
        others = [Stream(cloud, chance, 2000 + number, size) for number, size in enumerate(SIZES)]
        for stream in (lost, cancelled, *others):
            stream.wait_attached()
        for number in range(EVENTS):
            time.sleep(chance.uniform(0, 0.7))
            happen(cloud, chance)
            if number == EVENTS // 2:
                lost.writing.command.process.kill()
        transfer = cloud.streams.wait_transfer(cancelled.buffer, lambda it: it["bytes"])
        assert cloud.streams.run("transfer", "cancel", transfer["id"]).returncode == 0
        for stream in (*others, lost, cancelled):
            stream.check(complete=stream in others)
        deadline = time.monotonic() + streaming.PATIENCE
        while left := os.listdir(f"{cloud.daemon.state}/spool"):
            assert time.monotonic() < deadline, left
            time.sleep(0.05)

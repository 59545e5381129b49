"""Daemons that are stopped, started and lost, and transfers that people hold and let go."""

import pathlib
import random
import signal
import subprocess

import pytest

from tests.support import producer

MIB = 1 << 20


LEASE = 'writer_lease = "15s"\n'
"""The shortest that Azure has."""


def away(transfer):
    return "its writer is away" in (transfer.get("waiting") or "")


def over(transfer):
    return transfer["state"] in {"complete", "failed"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_started_again_in_the_middle(cloud, number):
    """As for an upgrade; the client comes back with the same pipe, and the reader at its byte."""
    streams = cloud.streams
    buffer = streams.buffer()
    chance = random.Random(number)
    deaths = set(chance.sample(range(120), 4))
    writing = streams.start("buffer", "write", buffer, stdin=subprocess.PIPE)
    reading = streams.read(buffer, 1)
    for kind in ("write", "read"):
        streams.wait_transfer(buffer, lambda _: True, kind=kind)
    for at, piece in enumerate(producer.pieces(1, 120 * producer.PIECE)):
        writing.process.stdin.write(piece)
        if at in deaths:
            cloud.daemon.restart(number)
    writing.process.stdin.close()
    assert writing.wait() == 0, writing.said
    assert reading.finish().sha256 == producer.digest(1, 120 * producer.PIECE)


@pytest.mark.long
def test_a_writer_that_is_lost_for_good(make_cloud):
    """Its daemon dies without a word and stays away: a reader elsewhere learns it by the lease."""
    writer = make_cloud(transfer=LEASE)
    reader = make_cloud(transfer=LEASE + 'lease_grace = "5s"\n')
    buffer = writer.streams.buffer()
    url = writer.url(buffer).replace(f":{writer.proxy.address[1]}/", f":{reader.proxy.address[1]}/")
    writing = writer.streams.write(buffer, 1, 1 << 40, "--flush-interval", "100ms", rate=MIB)
    reading = reader.streams.read(url, 1)
    reader.streams.wait_transfer(buffer, lambda transfer: transfer["bytes"] > MIB, kind="read")
    writer.daemon.kill()
    writing.command.process.kill()
    reading.command.wait_said("its writer is away")
    code, said, made = reading.fail()
    assert code == 74
    assert "writer" in said
    assert made.bytes > MIB


@pytest.mark.long
def test_a_writer_that_comes_back_in_time(make_cloud):
    writer = make_cloud(transfer=LEASE)
    reader = make_cloud(transfer=LEASE)
    buffer = writer.streams.buffer()
    url = writer.url(buffer).replace(f":{writer.proxy.address[1]}/", f":{reader.proxy.address[1]}/")
    writing = writer.streams.write(buffer, 1, 90 * MIB, "--flush-interval", "100ms", rate=3 * MIB)
    reading = reader.streams.read(url, 1)
    reader.streams.wait_transfer(buffer, lambda transfer: transfer["bytes"] > MIB, kind="read")
    writer.daemon.kill()
    reader.streams.wait_transfer(buffer, away, kind="read")
    writer.daemon.start()
    made = writing.finish()
    assert reading.finish() == made


def test_paused_and_resumed(cloud):
    """Capture goes on, shipping does not, also in the next daemon."""
    streams = cloud.streams
    buffer = streams.buffer()
    cloud.proxy.throttle(up=MIB)  # or all of it would be there before it is paused
    writing = streams.write(buffer, 1, 16 * MIB)
    there = streams.wait_transfer(buffer, lambda transfer: transfer["shipped"] > 0)
    assert streams.run("transfer", "pause", there["id"]).returncode == 0
    paused = streams.wait_transfer(buffer, lambda transfer: transfer.get("waiting") == "paused")
    cloud.proxy.throttle()
    assert writing.producer.wait() == 0
    cloud.daemon.restart()
    still = streams.wait_transfer(buffer, lambda transfer: transfer.get("waiting") == "paused")
    assert still["bytes"] == 16 * MIB
    assert still["shipped"] <= paused["shipped"] + 4 * MIB
    assert writing.command.process.poll() is None
    assert "paused" in streams.run("status").stdout.decode()
    assert streams.run("transfer", "resume", there["id"]).returncode == 0
    made = writing.finish()
    assert streams.read(buffer, 1).finish() == made


def test_cancelled(cloud):
    streams = cloud.streams
    buffer = streams.buffer()
    writing = streams.write(buffer, 1, 1 << 40, rate=4 * MIB)
    reading = streams.read(buffer, 1)
    there = streams.wait_transfer(buffer, lambda transfer: transfer["shipped"] > 0)
    assert streams.run("transfer", "cancel", there["id"]).returncode == 0
    code, said = writing.fail()
    assert code == 74
    assert "cancelled" in said
    assert writing.producer.wait() == 1
    code, said, _ = reading.fail()
    assert code == 74
    assert cloud.ending(buffer) == "failed"


@pytest.mark.parametrize("how", ["resume", "restart"])
def test_stalled_after_the_deadline(make_cloud, how):
    """Nothing is given up: the data stay, and it goes on when somebody says so."""
    cloud = make_cloud(transfer='deadline = "3s"\n')
    streams = cloud.streams
    buffer = streams.buffer()
    cloud.proxy.throttle(up=MIB)  # or all of it would be there before the network goes
    writing = streams.write(buffer, 1, 8 * MIB)
    streams.wait_transfer(buffer, lambda transfer: transfer["shipped"] > 0)
    cloud.proxy.refuse()
    stalled = streams.wait_transfer(buffer, lambda transfer: transfer.get("stalled"))
    assert stalled["waiting"].startswith("stalled: ")
    assert writing.producer.wait() == 0
    cloud.proxy.throttle()
    cloud.proxy.restore()
    still = streams.wait_transfer(buffer, lambda transfer: transfer["bytes"] == 8 * MIB)
    assert still["waiting"].startswith("stalled: ")
    if how == "resume":
        assert streams.run("transfer", "resume", stalled["id"]).returncode == 0
    else:
        cloud.daemon.restart()
    made = writing.finish()
    assert streams.read(buffer, 1).finish() == made


def test_a_machine_that_starts_again_with_the_network_away(cloud):
    """Client and daemon are both gone: the buffer is failed, once somebody can be told."""
    streams = cloud.streams
    buffer = streams.buffer()
    writing = streams.write(buffer, 1, 1 << 40, rate=4 * MIB)
    streams.wait_transfer(buffer, lambda transfer: transfer["shipped"] > 0)
    cloud.proxy.refuse()
    cloud.daemon.kill()
    writing.command.process.kill()
    config = pathlib.Path(cloud.daemon.config)
    config.write_text(config.read_text().replace("[transfer]\n", "[transfer]\nreattach_grace = 0\n"))
    cloud.daemon.start()
    cloud.proxy.restore()
    code, said, _ = streams.read(buffer, 1).fail()
    assert code == 74
    assert "permanently failed" in said
    assert cloud.ending(buffer) == "failed"

"""The network goes and comes back while data keep coming: nothing is lost, and all waiting is explained."""

import random

import pytest

from tests.support import azurite as azurites
from tests.support import cloud as clouds
from tests.support import faultproxy_faults as faults
from tests.support import streaming

MIB = 1 << 20


def shipped(transfer):
    return transfer["shipped"]


@pytest.mark.parametrize(
    ("how", "seconds", "rate"),
    [
        ("refuse", 4, 2 * MIB),
        ("blackhole", 4, 2 * MIB),
        pytest.param("refuse", 180, MIB // 2, marks=pytest.mark.long),
        pytest.param("blackhole", 180, MIB // 2, marks=pytest.mark.long),
    ],
)
def test_a_cut_while_data_keep_coming(cloud, how, seconds, rate):
    streams = cloud.streams
    buffer = streams.buffer()
    size = rate * (seconds + 4)
    writing = streams.write(buffer, 1, size, rate=rate)
    reading = streams.read(buffer, 1)
    streams.wait_transfer(buffer, lambda transfer: shipped(transfer) > 0)
    getattr(cloud.proxy, how)()
    before = streams.transfer(buffer)["bytes"]
    # All that a cut of this length brings is taken in while it lasts.
    taken = min(size, before + rate * (seconds - 2))
    words = ("offline since ", cloud.proxy.place) if how == "refuse" else ("",)

    def lasts(transfer):
        waiting = transfer.get("waiting") or ""
        return transfer["bytes"] >= taken and all(word in waiting for word in words)

    there = streams.wait_transfer(buffer, lasts, seconds=seconds + streaming.PATIENCE)
    assert shipped(there) <= before + MIB
    cloud.proxy.restore()
    made = writing.finish(seconds + streaming.PATIENCE)
    assert made.bytes == size
    assert reading.finish(seconds + streaming.PATIENCE) == made


@pytest.mark.long
def test_azurite_stopped_and_started(make_cloud, tmp_path):
    with azurites.azurite(str(tmp_path / "azurite")) as server:
        streams = make_cloud(server).streams
        buffer = streams.buffer()
        writing = streams.write(buffer, 1, 16 * MIB, rate=4 * MIB)
        reading = streams.read(buffer, 1)
        streams.wait_transfer(buffer, lambda transfer: shipped(transfer) > 0)
        server.stop()
        taken = min(16 * MIB, streams.transfer(buffer)["bytes"] + 4 * MIB)  # stopping it may take its time
        streams.wait_transfer(buffer, lambda transfer: transfer["bytes"] >= taken)
        server.start()
        made = writing.finish()
        assert reading.finish() == made


@pytest.mark.parametrize("how", ["refuse", "blackhole"])
def test_the_network_is_away_before_a_read_begins(cloud, how):
    buffer = cloud.streams.buffer()
    made = cloud.streams.write(buffer, 1, 2 * MIB).finish()
    getattr(cloud.proxy, how)()
    reading = cloud.streams.read(buffer, 1)
    if how == "refuse":
        cloud.streams.wait_transfer(
            buffer, lambda transfer: "offline since" in (transfer.get("waiting") or ""), kind="read"
        )
    else:
        cloud.proxy.wait(lambda: cloud.proxy.count("GET"))
    cloud.proxy.restore()
    assert reading.finish() == made


def test_the_network_is_away_before_a_write_begins(cloud):
    """Capture does not wait for the store: the producer gets rid of its data at once."""
    buffer = cloud.streams.buffer()
    cloud.proxy.refuse()
    writing = cloud.streams.write(buffer, 1, 8 * MIB)
    assert writing.producer.wait() == 0
    cloud.streams.wait_transfer(buffer, lambda transfer: "offline since" in (transfer.get("waiting") or ""))
    cloud.proxy.restore()
    made = writing.finish()
    assert cloud.streams.read(buffer, 1).finish() == made


def test_connections_that_break_anywhere(site):
    """Within heads, bodies and between them, in both directions, many times."""
    chance = random.Random(1)
    for number in range(12):
        at = chance.randrange(clouds.BLOCK)
        site.proxy.fault(faults.cut(up=at, gently=number % 2 == 0), "PUT", f"00/{2 * number:03X}")
        site.proxy.fault(faults.cut(down=at, gently=number % 2 == 0), "GET", f"00/{2 * number + 1:03X}")
    site.proxy.fault(faults.half_close(down=1000), "GET", "00/000")
    site.proxy.fault(faults.half_close(up=1000), "PUT", "00/001")
    buffer = site.streams.buffer()
    made = site.streams.write(buffer, 1, 25 * clouds.BLOCK).finish()
    assert site.streams.read(buffer, 1).finish() == made


def test_all_connections_reset_again_and_again(site):
    buffer = site.streams.buffer()
    writing = site.streams.write(buffer, 1, 24 * MIB, rate=6 * MIB)
    reading = site.streams.read(buffer, 1)
    for number in range(1, 11):
        least = number * 2 * MIB
        site.streams.wait_transfer(buffer, lambda transfer, least=least: transfer["bytes"] >= least)
        site.proxy.cut()
    made = writing.finish()
    assert reading.finish() == made


@pytest.mark.parametrize("fault", [faults.shorten(7), faults.delay(1.5), faults.throttle(up=1e6, down=1e6)])
def test_answers_that_are_odd_or_slow(site, fault):
    for method, blob in (("GET", "00/001"), ("GET", ".bufferstart"), ("PUT", "00/002")):
        if "shorten" not in fault.name or (method, blob) == ("GET", "00/001"):
            site.proxy.fault(fault, method, blob)
    buffer = site.streams.buffer()
    made = site.streams.write(buffer, 1, 4 * clouds.BLOCK).finish()
    assert site.streams.read(buffer, 1).finish() == made

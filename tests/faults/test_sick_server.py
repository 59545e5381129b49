"""A server that is overloaded, and bytes that are damaged on their way: mended, or named."""

import pytest

from tests.support import cloud as clouds
from tests.support import faultproxy_faults as faults

SIZE = 40 * clouds.BLOCK

BUSY = faults.answer(503, "ServerBusy", body=b"<Error><Code>ServerBusy</Code></Error>")


@pytest.mark.parametrize(
    "refusal",
    [
        BUSY,
        faults.answer(503, "ServerBusy", retry_after="1"),
        faults.answer(500, "InternalError", early=True),
        faults.answer(429),
    ],
    ids=["503", "503-with-retry-after", "500", "429"],
)
def test_a_storm(cloud, refusal):
    """Every block, in both directions, for a while; then it is over."""
    storm = cloud.proxy.fault(refusal, "PUT", "00/*", times=None)
    buffer = cloud.streams.buffer()
    writing = cloud.streams.write(buffer, 1, SIZE)
    cloud.proxy.wait(lambda: len(storm.met) >= 16)
    cloud.proxy.lift(storm)
    made = writing.finish()
    storm = cloud.proxy.fault(refusal, "GET", "00/*", times=None)
    reading = cloud.streams.read(buffer, 1)
    cloud.proxy.wait(lambda: len(storm.met) >= 4)  # it asks for more once it has had a first block
    cloud.proxy.lift(storm)
    assert reading.finish() == made


def test_retry_after_is_obeyed(cloud):
    """The same blob is not asked for again before the server wants it."""
    cloud.proxy.fault(faults.answer(503, "ServerBusy", retry_after="2"), "PUT", "00/003")
    buffer = cloud.streams.buffer()
    cloud.streams.write(buffer, 1, 5 * clouds.BLOCK).finish()
    first, second = cloud.proxy.find("PUT", "00/003")
    assert second.began - first.began >= 2  # the answer was there before the proxy noted its end


def test_what_it_waits_for_is_said(cloud):
    storm = cloud.proxy.fault(BUSY, "PUT", "00/003", times=None)
    buffer = cloud.streams.buffer()
    writing = cloud.streams.write(buffer, 1, 5 * clouds.BLOCK)
    there = cloud.streams.wait_transfer(
        buffer, lambda transfer: "retrying" in (transfer.get("waiting") or "")
    )
    assert "block 3" in there["waiting"]
    assert "503" in there["waiting"]
    assert "ServerBusy" in there["waiting"]
    status = cloud.streams.run("status").stdout.decode()
    assert "retrying block 3" in status
    cloud.proxy.lift(storm)
    made = writing.finish()
    assert cloud.streams.read(buffer, 1).finish() == made


@pytest.mark.long
def test_one_block_that_fails_twenty_times(cloud):
    """The others go on meanwhile."""
    cloud.proxy.fault(BUSY, "PUT", "00/003", times=20)
    buffer = cloud.streams.buffer()
    writing = cloud.streams.write(buffer, 1, SIZE)
    cloud.proxy.wait(lambda: cloud.proxy.count("PUT", "00/027", status=201))
    made = writing.finish(460)
    assert cloud.streams.read(buffer, 1).finish() == made


def test_an_upload_damaged_on_its_way(site):
    site.proxy.fault(faults.corrupt(up=100_000), "PUT", "00/003", times=2)
    site.proxy.fault(faults.corrupt(up=3), "PUT", ".bufferend")
    buffer = site.streams.buffer()
    made = site.streams.write(buffer, 1, SIZE).finish()
    assert site.proxy.count("PUT", "00/003", status=400) == 2
    assert site.streams.read(buffer, 1).finish() == made


def test_an_upload_damaged_every_time(site):
    """Bad memory, say: the buffer fails, by name, and nobody gets what is wrong."""
    site.proxy.fault(faults.corrupt(up=5), "PUT", "00/003", times=None)
    buffer = site.streams.buffer()
    code, said = site.streams.write(buffer, 1, SIZE).fail()
    assert code == 74
    assert "MD5 mismatch" in said
    code, said, made = site.streams.read(buffer, 1).fail()
    assert code == 74
    assert made.bytes <= 3 * clouds.BLOCK


def test_a_download_damaged_on_its_way(site):
    buffer = site.streams.buffer()
    made = site.streams.write(buffer, 1, SIZE).finish()
    site.proxy.fault(faults.corrupt(down=clouds.BLOCK - 1), "GET", "00/003", times=2)
    site.proxy.fault(faults.corrupt(down=0), "GET", "00/027")
    assert site.streams.read(buffer, 1).finish() == made


def test_a_download_damaged_every_time(site):
    buffer = site.streams.buffer()
    site.streams.write(buffer, 1, SIZE).finish()
    site.proxy.fault(faults.corrupt(down=7), "GET", "00/003", times=None)
    code, said, made = site.streams.read(buffer, 1).fail()
    assert code == 74
    assert "MD5 mismatch" in said
    assert made.bytes == 3 * clouds.BLOCK


def test_a_block_damaged_at_rest(cloud):
    """Stored with a valid MD5 of its own, as a wrong disk would: the chain notices."""
    buffer = cloud.streams.buffer()
    cloud.streams.write(buffer, 1, 4 * clouds.BLOCK).finish()
    clouds.replace(cloud, buffer, "00/002", b"something else")
    code, said, made = cloud.streams.read(buffer, 1).fail()
    assert code == 74
    assert "chain" in said
    assert made.bytes == 2 * clouds.BLOCK

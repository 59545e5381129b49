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
        faults.answer(429, retry_after="1"),
        faults.answer(408),
    ],
    ids=lambda fault: fault.name.replace(" ", "-"),
)
def test_a_storm(cloud, refusal):
    """Every request, of both directions, for a while; then it is over."""
    up = cloud.proxy.fault(refusal, "PUT", times=24)
    buffer = cloud.streams.buffer()
    made = cloud.streams.write(buffer, 1, SIZE).finish(90)
    assert len(up.met) == 24
    cloud.proxy.fault(refusal, "GET", "00/*", times=12)
    assert cloud.streams.read(buffer, 1).finish(90) == made


def test_retry_after_is_obeyed(cloud):
    """The same blob is not asked for again before the server wants it."""
    cloud.proxy.fault(faults.answer(503, "ServerBusy", retry_after="2"), "PUT", "00/003")
    buffer = cloud.streams.buffer()
    cloud.streams.write(buffer, 1, 5 * clouds.BLOCK).finish()
    first, second = cloud.proxy.find("PUT", "00/003")
    assert second.began - first.ended >= 2


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
    made = writing.finish(90)
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


def test_an_upload_damaged_on_its_way(cloud):
    cloud.proxy.fault(faults.corrupt(up=100_000), "PUT", "00/003", times=2)
    cloud.proxy.fault(faults.corrupt(up=3), "PUT", ".bufferend")
    buffer = cloud.streams.buffer()
    made = cloud.streams.write(buffer, 1, SIZE).finish()
    assert cloud.proxy.count("PUT", "00/003", status=400) == 2
    assert cloud.streams.read(buffer, 1).finish() == made


def test_an_upload_damaged_every_time(cloud):
    """Bad memory, say: the buffer fails, by name, and nobody gets what is wrong."""
    cloud.proxy.fault(faults.corrupt(up=5), "PUT", "00/003", times=None)
    buffer = cloud.streams.buffer()
    code, said = cloud.streams.write(buffer, 1, SIZE).fail()
    assert code == 74
    assert "MD5 mismatch" in said
    code, said, made = cloud.streams.read(buffer, 1).fail()
    assert code == 74
    assert made.bytes <= 3 * clouds.BLOCK


def test_a_download_damaged_on_its_way(cloud):
    buffer = cloud.streams.buffer()
    made = cloud.streams.write(buffer, 1, SIZE).finish()
    cloud.proxy.fault(faults.corrupt(down=clouds.BLOCK - 1), "GET", "00/003", times=2)
    cloud.proxy.fault(faults.corrupt(down=0), "GET", "00/027")
    assert cloud.streams.read(buffer, 1).finish() == made


def test_a_download_damaged_every_time(cloud):
    buffer = cloud.streams.buffer()
    cloud.streams.write(buffer, 1, SIZE).finish()
    cloud.proxy.fault(faults.corrupt(down=7), "GET", "00/003", times=None)
    code, said, made = cloud.streams.read(buffer, 1).fail()
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

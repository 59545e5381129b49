"""The server carried it out and nobody heard of it: a repeated PUT neither doubles nor refuses anything."""

import pytest

from tests.support import cloud as clouds
from tests.support import faultproxy_faults as faults

SIZE = 5 * clouds.BLOCK + 1000
LAST = "00/006"
"""The empty block after the last one with data (00/005)."""

EACH = [".bufferstart", "00/000", "00/003", "00/005", LAST, ".bufferend"]


def written_and_read(site, seconds=60):
    buffer = site.streams.buffer()
    made = site.streams.write(buffer, 1, SIZE).finish(seconds)
    assert made.bytes == SIZE
    assert site.streams.read(buffer, 1).finish(seconds) == made
    assert site.ending(buffer) == "complete"


@pytest.mark.parametrize("blob", EACH)
def test_the_connection_breaks(site, blob):
    lost = site.proxy.fault(faults.lose_reply(), "PUT", blob)
    written_and_read(site)
    assert lost.met[0].carried_out == 201


def test_all_of_them_more_than_once(site):
    """The second PUT meets what the first one left, and its answer is lost, too."""
    for blob in EACH:
        site.proxy.fault(faults.lose_reply(gently=True), "PUT", blob, times=2)
    written_and_read(site)


@pytest.mark.long
@pytest.mark.parametrize("blob", [".bufferstart", "00/003", ".bufferend"])
def test_the_connection_stays_and_is_silent(cloud, blob):
    cloud.proxy.fault(faults.mute_reply(), "PUT", blob)
    written_and_read(cloud, seconds=240)


def test_another_writer_is_no_lost_reply(site):
    """What stands there was not put by us: the second write is refused, the first one stays whole."""
    buffer = site.streams.buffer()
    made = site.streams.write(buffer, 1, SIZE).finish()
    code, said = site.streams.write(buffer, 2, SIZE).fail()
    assert code == 73
    assert "buffer cannot be overwritten" in said
    assert site.streams.read(buffer, 1).finish() == made

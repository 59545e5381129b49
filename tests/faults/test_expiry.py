"""Access URLs that end within a transfer: renewed ahead of that, without a gap."""

import email.utils
from datetime import datetime, timedelta

import pytest

from tests.support import streaming

MIB = 1 << 20


def lives(requests):
    """The ends of the access URLs that were used, in order."""
    ends = [seen.query["se"] for seen in requests if "se" in seen.query]
    return [datetime.fromisoformat(end) for end in dict.fromkeys(ends)]


def left(seen):
    """How long its URL was still good when a request was sent."""
    return datetime.fromisoformat(seen.query["se"]) - email.utils.parsedate_to_datetime(seen.headers["date"])


@pytest.mark.long
def test_half_a_minute_in_a_transfer_of_five(make_cloud):
    cloud = make_cloud(access_ttl='"30s"')
    buffer = cloud.streams.buffer()
    writing = cloud.streams.write(buffer, 1, 300 * MIB // 2, rate=MIB / 2)
    reading = cloud.streams.read(buffer, 1)
    made = writing.finish(300 + streaming.PATIENCE)
    assert reading.finish() == made
    for method in ("PUT", "GET"):
        requests = cloud.proxy.find(method)
        used = lives(requests)
        assert len(used) >= 300 / 30, "it was renewed less often than it ended"
        assert used[-1] - used[0] > timedelta(minutes=4)
        # One that had some seconds when it was sent, and was on its way for longer, is the machine's.
        refused = [seen for seen in requests if seen.status == 403 and left(seen) < timedelta(seconds=5)]
        assert not refused, f"renewed only once it was refused: {refused[0]}"

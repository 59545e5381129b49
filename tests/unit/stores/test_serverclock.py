"""The server's time: learned from answers, counted on without this host's wall clock."""

import datetime as dt

import pytest

from tygerd import clock
from tygerd.stores import serverclock

SAID = "Mon, 02 Jan 2006 15:04:05 GMT"
MOMENT = dt.datetime(2006, 1, 2, 15, 4, 5, tzinfo=dt.UTC)


class Clocks:
    """The clock that is never set, and the one that is, in the test's hands."""

    def __init__(self):
        self.boot = 1000.0
        self.wall = MOMENT - dt.timedelta(hours=3)
        self.server = serverclock.ServerClock(boottime=lambda: self.boot, wall=lambda: self.wall)


def test_before_the_first_answer_it_is_this_hosts_time():
    clocks = Clocks()
    assert clocks.server.now() == clocks.wall
    assert not clocks.server.is_known
    assert abs(serverclock.ServerClock().now() - clock.now()) < dt.timedelta(seconds=5)


@pytest.mark.parametrize("said", [SAID, "Mon, 02 Jan 2006 16:04:05 +0100", "Mon, 02 Jan 2006 15:04:05 -0000"])
def test_it_is_what_the_server_said_and_goes_on_from_there(said):
    clocks = Clocks()
    clocks.server.learn(said)
    assert clocks.server.is_known
    assert clocks.server.now() == MOMENT
    clocks.boot += 90
    assert clocks.server.now() == MOMENT + dt.timedelta(seconds=90)


def test_a_jump_of_this_hosts_clock_changes_nothing():
    clocks = Clocks()
    clocks.server.learn(SAID)
    clocks.wall += dt.timedelta(hours=1)
    assert clocks.server.now() == MOMENT


@pytest.mark.parametrize(
    "said",
    [
        "",
        "yesterday",
        "Mon, 99 Jan 2006 15:04:05 GMT",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Fri, 31 Dec 9999 23:59:59 -2300",
        "Thu, 01 Jan 1970 00:00:00 GMT",
    ],
)
def test_what_is_no_date_is_ignored(said):
    clocks = Clocks()
    clocks.server.learn(SAID)
    clocks.server.learn(said)
    assert clocks.server.now() == MOMENT

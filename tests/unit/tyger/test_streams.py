"""How a transfer is stopped, and how long a daemon that is away is waited for."""

import pytest

from tyger import client, errors, sockets, streams


def test_the_first_reason_stays(stop):
    assert not stop.wait(0)
    stop.request("one", leaves=True)
    stop.request("two")
    assert stop.wait(0)
    assert (stop.reason, stop.leaves) == ("one", True)


def lost():
    return sockets.Disconnected("no daemon answers")


def test_a_daemon_that_is_away_is_waited_for_within_the_limit(stop):
    away = []
    retries = streams.Retries(client.Client("/x"), stop, streams.Patience(0.001))
    assert retries.pause(lost(), lambda: away.append(1))
    with pytest.raises(
        streams.GaveUpError, match=r"^no daemon answers; it was waited for 0\.001 s$"
    ) as caught:
        while True:
            retries.pause(lost(), lambda: away.append(1))
    assert caught.value.exit_code == 69
    retries.success()
    assert retries.pause(lost(), lambda: away.append(1))


def test_a_limit_of_zero_is_no_waiting(stop):
    retries = streams.Retries(client.Client("/x"), stop, streams.Patience(0))
    with pytest.raises(streams.GaveUpError, match=r"^no daemon answers$"):
        retries.pause(lost(), lambda: None)


def test_what_is_no_absence_is_raised(stop):
    retries = streams.Retries(client.Client("/x"), stop, streams.Patience())
    with pytest.raises(errors.Problem, match="mine"):
        retries.pause(errors.Problem(errors.CORRUPT, "mine"), lambda: None)


def test_stopping_ends_the_pause(stop):
    stop.request("enough")
    retries = streams.Retries(client.Client("/x"), stop, streams.Patience())
    assert not retries.pause(lost(), lambda: None)


def test_one_that_was_never_met_is_waited_for_only_when_that_was_asked(stop):
    def startable():
        return client.Client("/x", ensure=lambda: None)

    with pytest.raises(sockets.Disconnected):
        streams.Retries(startable(), stop, streams.Patience()).pause(lost(), lambda: None)
    assert streams.Retries(startable(), stop, streams.Patience(60, first=True)).pause(lost(), lambda: None)

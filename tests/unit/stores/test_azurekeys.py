"""When a user delegation key is replaced, and what happens when that fails."""

import datetime as dt
import threading

import pytest

from tyger import errors
from tygerd.stores import azurekeys, serverclock

HOUR = dt.timedelta(hours=1)
NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)


class Service:
    """Gives numbered keys; raises while `away`. Time passes by `wait`, the host's wall clock has no part."""

    def __init__(self):
        self.elapsed = 0.0
        self.asked = []
        self.away = False
        server = serverclock.ServerClock(boottime=self.boottime, wall=lambda: NOON + dt.timedelta(days=99))
        server.learn("Thu, 01 Jan 2026 12:00:00 GMT")
        self.keys = azurekeys.DelegationKeys(self.fetch, server, self.boottime)

    def boottime(self):
        return self.elapsed

    def wait(self, **duration):
        self.elapsed += dt.timedelta(**duration).total_seconds()

    def fetch(self, start, end):
        self.asked.append((start, end))
        if self.away:
            raise errors.Problem(errors.TRY_AGAIN, "away")
        return f"key{len(self.asked)}"

    def get(self, ttl=HOUR):
        return self.keys.get(ttl).key


@pytest.fixture
def service():
    return Service()


def test_a_key_is_kept_for_three_quarters_of_its_life(service):
    assert service.get() == "key1"
    assert service.asked == [(NOON - dt.timedelta(minutes=5), NOON + dt.timedelta(days=1))]
    service.wait(hours=17, minutes=59)
    assert service.get() == "key1"
    service.wait(minutes=2)
    assert service.get() == "key2"
    assert service.keys.get(HOUR).end == NOON + dt.timedelta(days=1, hours=18, minutes=1)


def test_an_old_key_is_used_while_no_newer_one_can_be_had(service):
    service.get()
    service.away = True
    service.wait(hours=20)
    assert service.get() == "key1"
    assert len(service.asked) == 2
    service.wait(seconds=29)
    assert service.get() == "key1"
    assert len(service.asked) == 2
    service.wait(seconds=2)
    assert service.get() == "key1"
    assert len(service.asked) == 3
    service.away = False
    service.wait(seconds=31)
    assert service.get() == "key4"


def test_a_key_that_ends_is_not_used(service):
    service.get()
    service.away = True
    service.wait(hours=23, minutes=56)
    assert service.get(dt.timedelta(seconds=30)) == "key1"
    service.wait(minutes=2)
    with pytest.raises(errors.Problem, match="away"):
        service.get()


def test_without_a_key_each_caller_is_told(service):
    service.away = True
    for _ in range(2):
        with pytest.raises(errors.Problem, match="away"):
            service.get()
    assert len(service.asked) == 2


def test_many_callers_are_one_request(service):
    found = []
    barrier = threading.Barrier(8)

    def ask():
        barrier.wait()
        found.append(service.get())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["key1"] * 8
    assert len(service.asked) == 1

"""The fault proxy's link: slow, refused, silent or cut for everybody."""

import threading
import time

import pytest

from tests.support import faultproxy, plainclient
from tests.support import faultproxy_faults as faults

DATA = plainclient.DATA
PATIENCE = plainclient.PATIENCE
BROKEN = plainclient.BROKEN


def test_a_link_that_is_slow_for_all(proxy):
    proxy.throttle(down=1_000_000)
    clients = [plainclient.Client(proxy) for _ in range(3)]
    began = time.monotonic()
    threads = [threading.Thread(target=each.ask, args=("GET", "00/000")) for each in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert time.monotonic() - began >= 3 * len(DATA) / 1_000_000 * 0.9
    proxy.throttle()
    for each in clients:
        assert each.ask("GET", "00/000") == (200, DATA)
        each.close()


def test_refused_and_back_at_the_same_address(proxy, client):
    client.ask("HEAD", "00/000")
    proxy.refuse()
    with pytest.raises(BROKEN):
        client.ask("HEAD", "00/000")
    with pytest.raises(ConnectionRefusedError):
        client.ask("HEAD", "00/000")
    proxy.restore()
    assert client.ask("HEAD", "00/000")[0] == 200


def test_a_black_hole_that_ends(proxy, client):
    """What was under way goes on, as over a network that was away for a while."""
    client.ask("HEAD", "00/000")
    proxy.blackhole()
    answers = []
    asking = threading.Thread(target=lambda: answers.append(client.ask("GET", "00/000")))
    other = plainclient.Client(proxy)
    other.connect()
    other.sock.settimeout(0.1)
    asking.start()
    with pytest.raises(TimeoutError):
        other.ask("HEAD", "00/000")
    assert answers == []
    proxy.restore()
    asking.join(PATIENCE)
    assert answers == [(200, DATA)]
    other.close()


def test_connections_cut_from_outside(proxy, client):
    proxy.fault(faults.silence(), "GET")
    broken = []

    def ask():
        try:
            client.ask("GET", "00/000")
        except BROKEN as error:
            broken.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    proxy.wait(lambda: proxy.count("GET"))
    proxy.cut()
    asking.join(PATIENCE)
    assert len(broken) == 1


def test_a_server_that_is_away():
    with faultproxy.Proxy("/nonexistent/socket") as proxy:
        client = plainclient.Client(proxy)
        with pytest.raises(BROKEN):
            client.ask("HEAD", "00/000")
        client.close()

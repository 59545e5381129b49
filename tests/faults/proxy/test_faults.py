"""Each fault of the fault proxy as a plain client meets it."""

import http.client
import time

import pytest

from tests.support import faultproxy_faults as faults
from tests.support import plainclient

DATA = plainclient.DATA
BROKEN = plainclient.BROKEN


def test_answers_in_the_servers_name(server, proxy, client):
    proxy.fault(faults.answer(503, "ServerBusy", retry_after="7", body=b"busy"), "PUT", "00/*", times=2)
    for _ in range(2):
        client.request("PUT", "/containers/buffer1/00/001?sig=good", DATA)
        answer = client.getresponse()
        assert (answer.status, answer.read()) == (503, b"busy")
        assert (answer.headers["x-ms-error-code"], answer.headers["Retry-After"]) == ("ServerBusy", "7")
    assert client.ask("PUT", "00/001", DATA) == (201, b"")
    assert proxy.connections == 1
    assert server.count("PUT", "00/001") == 1


def test_an_early_answer_is_heard_and_closes(server, proxy, client):
    proxy.fault(faults.answer(429, early=True), "PUT")
    client.putrequest("PUT", "/containers/buffer1/00/001?sig=good")
    client.putheader("Content-Length", "1000000000")
    client.endheaders()
    answer = client.getresponse()
    assert (answer.status, answer.read(), answer.will_close) == (429, b"", True)
    assert server.count("PUT", "00/001") == 0


def test_the_nth_request_that_matches(proxy, client):
    proxy.fault(faults.answer(500), "GET", "00/000", nth=3, times=2)
    proxy.fault(faults.answer(503), "GET", "00/000", nth=4)
    assert [client.ask("GET", "00/000")[0] for _ in range(7)] == [200, 200, 500, 500, 200, 503, 200]


@pytest.mark.parametrize("gently", [True, False])
def test_a_lost_reply(server, proxy, client, gently):
    lost = proxy.fault(faults.lose_reply(gently=gently), "PUT", "00/001")
    with pytest.raises(BROKEN):
        client.ask("PUT", "00/001", DATA)
    assert server.stored("00/001") == DATA
    assert (lost.met[0].status, lost.met[0].carried_out) == (None, 201)


@pytest.mark.parametrize(("fault", "carried_out"), [(faults.mute_reply(), 1), (faults.silence(), 0)])
def test_no_reply_on_a_connection_that_stays(server, proxy, client, fault, carried_out):
    planned = proxy.fault(fault, "PUT", "00/001")
    client.request("PUT", "/containers/buffer1/00/001?sig=good", DATA)
    proxy.wait(lambda: planned.met and (planned.met[0].carried_out == 201 or not carried_out))
    client.sock.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.getresponse()
    assert server.count("PUT", "00/001") == carried_out


@pytest.mark.parametrize("gently", [True, False])
@pytest.mark.parametrize("at", [0, 1, 100_000])
def test_a_cut_request(server, proxy, client, at, gently):
    proxy.fault(faults.cut(up=at, gently=gently), "PUT")
    with pytest.raises(BROKEN):
        client.ask("PUT", "00/001", DATA)
    assert proxy.seen[0].up == at
    assert server.stored("00/001") is None


@pytest.mark.parametrize("at", [0, 1, 100_000])
def test_a_cut_answer(proxy, client, at):
    proxy.fault(faults.cut(down=at, gently=True), "GET")
    with pytest.raises(http.client.IncompleteRead) as caught:
        client.ask("GET", "00/000")
    assert caught.value.partial == DATA[:at]


def test_a_half_closed_answer(proxy, client):
    proxy.fault(faults.half_close(down=10), "GET")
    with pytest.raises(http.client.IncompleteRead) as caught:
        client.ask("GET", "00/000")
    assert caught.value.partial == DATA[:10]


def test_a_half_closed_request(server, proxy, client):
    proxy.fault(faults.half_close(up=10), "PUT")
    with pytest.raises(BROKEN):
        client.ask("PUT", "00/001", DATA)
    assert server.stored("00/001") is None


def test_corruption(server, proxy, client):
    proxy.fault(faults.corrupt(up=200_000), "PUT")
    proxy.fault(faults.corrupt(down=0), "GET")
    client.ask("PUT", "00/001", DATA)
    stored = server.stored("00/001")
    assert [at for at in range(len(DATA)) if stored[at] != DATA[at]] == [200_000]
    _, got = client.ask("GET", "00/000")
    assert (got[0] ^ DATA[0], got[1:] == DATA[1:]) == (1, True)


def test_a_shortened_answer_is_well_formed(proxy, client):
    proxy.fault(faults.shorten(5), "GET")
    assert client.ask("GET", "00/000") == (200, DATA[:-5])
    assert client.ask("GET", "00/000") == (200, DATA)
    assert proxy.connections == 1


def test_delay_and_throttling(proxy, client):
    """Only that it takes at least so long can be relied on."""
    proxy.fault(faults.delay(0.2), "HEAD")
    began = time.monotonic()
    client.ask("HEAD", "00/000")
    assert time.monotonic() - began >= 0.2
    for fault, method, body in (
        (faults.throttle(down=1_000_000), "GET", None),
        (faults.throttle(up=1_000_000), "PUT", DATA),
    ):
        proxy.fault(fault, method)
        began = time.monotonic()
        client.ask(method, "00/000", body)
        assert time.monotonic() - began >= len(DATA) / 1_000_000 * 0.9

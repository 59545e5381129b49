"""The fault proxy itself: what it passes on unchanged, and each fault as a plain client meets it."""

import base64
import hashlib
import http.client
import os
import socket
import threading
import time

import pytest

from tests.support import blobserver, faultproxy
from tests.support import faultproxy_faults as faults

DATA = os.urandom(300_000)
PATIENCE = 10


@pytest.fixture(params=["tcp", "unix"])
def server(request):
    with blobserver.BlobServer(tcp=request.param == "tcp") as it:
        it.put("00/000", DATA)
        yield it


def target(server):
    if isinstance(server._server, blobserver._TcpServer):
        return ("127.0.0.1", server._server.server_address[1])
    return server._socket


@pytest.fixture
def proxy(server):
    listen = "" if isinstance(target(server), str) else ("127.0.0.1", 0)
    with faultproxy.Proxy(target(server), listen=listen) as it:
        yield it


class Client(http.client.HTTPConnection):
    """Not ours, so that the proxy is not tested with what it shall test."""

    def __init__(self, proxy):
        super().__init__("localhost", timeout=PATIENCE)
        self._address = proxy.address

    def connect(self):
        self.sock = connect(self._address)

    def ask(self, method, blob, body=None, **headers):
        try:
            self.request(method, f"/containers/buffer1/{blob}?sig=good&x=%2F", body, headers)
            answer = self.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            self.close()
            raise


def connect(address):
    sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    sock.settimeout(PATIENCE)
    try:
        sock.connect(address)
    except OSError:
        sock.close()
        raise
    return sock


@pytest.fixture
def client(proxy):
    it = Client(proxy)
    yield it
    it.close()


BROKEN = (ConnectionError, http.client.BadStatusLine, http.client.IncompleteRead)


# --- nothing is wrong ------------------------------------------------------------------------------------


def test_all_is_passed_on_over_one_connection(server, proxy, client):
    digest = base64.b64encode(hashlib.md5(DATA).digest()).decode()
    assert client.ask("PUT", "00/001", DATA, **{"Content-MD5": digest, "x-ms-meta-a_b": "c"}) == (201, b"")
    assert client.ask("HEAD", "00/001") == (200, b"")
    assert client.ask("GET", "00/001") == (200, DATA)
    assert client.ask("GET", "00/002") == (404, b"")
    assert client.ask("PUT", "00/002", b"") == (201, b"")
    assert proxy.connections == 1
    assert [(seen.method, seen.blob, seen.status, seen.up, seen.down) for seen in proxy.seen] == [
        ("PUT", "00/001", 201, len(DATA), 0),
        ("HEAD", "00/001", 200, 0, 0),
        ("GET", "00/001", 200, 0, len(DATA)),
        ("GET", "00/002", 404, 0, 0),
        ("PUT", "00/002", 201, 0, 0),
    ]
    assert proxy.seen[0].query == {"sig": "good", "x": "/"}
    assert proxy.seen[0].container == "buffer1"
    assert server.stored("00/001") == DATA
    assert proxy.count("GET") == 2
    assert proxy.count("*", "00/00?", status=404) == 1


def test_chunked_answers(server, proxy, client):
    server.fault("GET", "00/000", blobserver.CHUNKED)
    assert client.ask("GET", "00/000") == (200, DATA)
    assert client.ask("HEAD", "00/000") == (200, b"")


@pytest.mark.parametrize("listen", ["", ("127.0.0.1", 0)])
def test_a_chunked_request(listen):
    """It comes whole, framing and all: to a server that only listens, as ours knows no chunks."""
    head = b"PUT /containers/buffer1/00/001?sig=good HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"5;x=y\r\nhello\r\n0\r\nT: v\r\n\r\n"
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        faultproxy.Proxy(listening.getsockname(), listen=listen) as it,
        connect(it.address) as sock,
    ):
        sock.sendall(head + body)
        listening.settimeout(PATIENCE)
        server, _ = listening.accept()
        with server:
            server.settimeout(PATIENCE)
            came = b""
            while not came.endswith(b"T: v\r\n\r\n"):
                came += server.recv(65536)
            server.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
            assert sock.recv(4096).startswith(b"HTTP/1.1 201 ")
        assert came.startswith(b"PUT /containers/buffer1/00/001?sig=good HTTP/1.1\r\n")
        assert came.endswith(body)
        assert it.seen[0].up == 5


def test_the_servers_end_is_the_clients(server, proxy):
    with connect(proxy.address) as sock:
        sock.sendall(b"HEAD /containers/buffer1/x?sig=good HTTP/1.0\r\n\r\n")
        answer = b""
        while piece := sock.recv(4096):
            answer += piece
        assert answer.startswith(b"HTTP/1.1 404")


def test_azurites_paths_and_operations(proxy, client):
    """Requests for leases are told from those for the blob."""
    proxy.fault(faults.answer(409, "LeaseAlreadyPresent"), "PUT", ".bufferstart", comp="lease")
    proxy.fault(faults.answer(201), "PUT", ".bufferstart")
    for comp, status in (("", 201), ("&comp=lease", 409)):
        client.request("PUT", f"/devstoreaccount1/abc/.bufferstart?sig=good{comp}", b"x")
        answer = client.getresponse()
        answer.read()
        assert answer.status == status
    assert [(seen.container, seen.blob, seen.comp) for seen in proxy.seen] == [
        ("abc", ".bufferstart", ""),
        ("abc", ".bufferstart", "lease"),
    ]


# --- faults ----------------------------------------------------------------------------------------------


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
    proxy.fault(fault, "PUT", "00/001")
    client.connect()
    client.sock.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.ask("PUT", "00/001", DATA)
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


# --- the link --------------------------------------------------------------------------------------------


def test_a_link_that_is_slow_for_all(proxy):
    proxy.throttle(down=1_000_000)
    clients = [Client(proxy) for _ in range(3)]
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
    other = Client(proxy)
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
        client = Client(proxy)
        with pytest.raises(BROKEN):
            client.ask("HEAD", "00/000")
        client.close()


# --- rules -----------------------------------------------------------------------------------------------


def test_an_unused_fault_fails_the_test():
    expected = pytest.raises(AssertionError, match=r"met these faults: .*the reply for PUT x: 0 of 1")
    with expected, faultproxy.Proxy("/nonexistent/socket") as proxy:
        proxy.fault(faults.lose_reply(), "PUT", "x")


def test_a_fault_that_did_nothing_fails_the_test(server):
    with (
        pytest.raises(AssertionError, match="the fault did nothing"),
        faultproxy.Proxy(target(server)) as proxy,
    ):
        proxy.fault(faults.corrupt(down=len(DATA)), "GET")
        client = Client(proxy)
        with pytest.raises(BROKEN):
            for _ in range(2):  # the first answer has arrived when the proxy notices
                client.ask("GET", "00/000")
        client.close()


def test_a_fault_for_all_until_it_is_lifted(proxy, client):
    storm = proxy.fault(faults.answer(503), "GET", times=None)
    assert {client.ask("GET", "00/000")[0] for _ in range(5)} == {503}
    proxy.lift(storm)
    assert client.ask("GET", "00/000")[0] == 200
    assert len(storm.met) == 5


# --- raw -------------------------------------------------------------------------------------------------


@pytest.fixture
def raw():
    """An echo server behind a proxy that knows bytes only."""
    listening = socket.create_server(("127.0.0.1", 0))
    listening.settimeout(PATIENCE)

    def echo():
        while True:
            try:
                sock, _ = listening.accept()
            except OSError:
                return
            with sock:
                try:
                    while data := sock.recv(65536):
                        sock.sendall(data)
                except ConnectionError:
                    pass

    thread = threading.Thread(target=echo)
    thread.start()
    with faultproxy.Proxy(listening.getsockname(), http=False) as it:
        yield it
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join(PATIENCE)


def echoed(proxy, data):
    """All that comes back; what a reset cut off is not asked for."""
    with connect(proxy.address) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        got = b""
        try:
            while piece := sock.recv(65536):
                got += piece
        except ConnectionError:
            got += b"RESET"
        return got


def test_raw_bytes(raw):
    raw.fault(faults.corrupt(up=3))
    raw.fault(faults.cut(down=4))
    raw.fault(faults.cut(up=0))
    raw.fault(faults.half_close(down=2))
    assert echoed(raw, b"hello") == b"helmo"
    assert echoed(raw, b"hello").startswith((b"hell", b"RESET"))
    assert echoed(raw, b"hello") == b"RESET"
    assert echoed(raw, b"hello") == b"he"
    assert echoed(raw, DATA[:50_000]) == DATA[:50_000]
    assert raw.connections == 5
    raw.refuse()
    with pytest.raises(ConnectionRefusedError):
        connect(raw.address)
    raw.restore()
    assert echoed(raw, b"again") == b"again"

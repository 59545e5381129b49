"""The fault proxy: what it passes on unchanged, and what it says to the test."""

import base64
import hashlib
import socket
import threading

import pytest

from tests.support import blobserver, faultproxy, plainclient
from tests.support import faultproxy_faults as faults

DATA = plainclient.DATA
PATIENCE = plainclient.PATIENCE
BROKEN = plainclient.BROKEN


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
        plainclient.connect(it.address) as sock,
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
    with plainclient.connect(proxy.address) as sock:
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


# --- rules -----------------------------------------------------------------------------------------------


def test_an_unused_fault_fails_the_test():
    expected = pytest.raises(AssertionError, match=r"met these faults: .*the reply for PUT x: 0 of 1")
    with expected, faultproxy.Proxy("/nonexistent/socket") as proxy:
        proxy.fault(faults.lose_reply(), "PUT", "x")


def test_a_fault_that_did_nothing_fails_the_test(server):
    with (
        pytest.raises(AssertionError, match="the fault did nothing"),
        faultproxy.Proxy(plainclient.target(server)) as proxy,
    ):
        proxy.fault(faults.corrupt(down=len(DATA)), "GET")
        client = plainclient.Client(proxy)
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
    with plainclient.connect(proxy.address) as sock:
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
        plainclient.connect(raw.address)
    raw.restore()
    assert echoed(raw, b"again") == b"again"

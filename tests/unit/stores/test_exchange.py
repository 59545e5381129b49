"""Connections: kept alive, dropped when stale, sending files, broken off."""

import contextlib
import os
import select
import socket
import threading

import pytest

from tests.support import blobserver, scripted, silences, webproxy
from tygerd.stores import access, bandwidth, connection, exchange, network

OK = scripted.answer(200, b"hello")


def to(path):
    return exchange.Connections(access.parse(f"http+unix://{path}:/c"))


def ask(connections, method="GET", target="/c/b", headers=None, body=None):
    with connections.request(method, target, headers or {}, body) as response:
        return response.status, response.read(1000)


@pytest.fixture
def file(tmp_path):
    data = os.urandom(3_000_000)
    path = tmp_path / "file"
    path.write_bytes(data)
    fd = os.open(path, os.O_RDONLY)
    yield fd, data
    os.close(fd)


def test_a_connection_is_used_again():
    def twice(connection):
        connection.read_request().say(OK)
        connection.read_request().say(OK)
        connection.wait_closed()

    with scripted.Peer(twice) as peer:
        connections = to(peer.path)
        assert ask(connections) == (200, b"hello")
        assert ask(connections) == (200, b"hello")
        connections.abort()


def test_one_that_the_server_has_closed_is_not():
    with scripted.Peer(scripted.replying(OK), scripted.replying(OK)) as peer:
        connections = to(peer.path)
        ask(connections)
        idle = connections._idle[0]
        assert select.select([idle.sock], [], [], 60)[0]  # the server's end has arrived
        assert not idle.is_usable()
        assert ask(connections) == (200, b"hello")
        connections.abort()


def answering_once_more(connection):
    """A script: answers one request, and closes when the next one has come."""
    connection.read_request().say(OK)
    connection.read_request()


def test_one_that_is_closed_at_the_next_request_is_replaced(file):
    """Its server ended in the moment in which we asked; nobody is told, and all of the body is sent again."""
    fd, data = file
    with scripted.Peer(answering_once_more, scripted.replying(OK)) as peer:
        connections = to(peer.path)
        ask(connections)
        headers = {"Content-Length": str(len(data))}
        assert ask(connections, "PUT", headers=headers, body=exchange.File(fd, len(data))) == (200, b"hello")
        assert peer.requests[1].body == data
        connections.abort()


def test_one_that_is_closed_at_its_first_request_is_an_error():
    cut = pytest.raises(connection.CutError, match="closed before an answer came")
    with scripted.Peer(scripted.hanging_up) as peer, cut:
        ask(to(peer.path))


def test_one_that_is_closed_in_the_middle_of_an_answer_is_an_error():
    def half(connection):
        connection.read_request().say(OK)
        connection.read_request().say(OK[:-2])

    with scripted.Peer(half) as peer:
        connections = to(peer.path)
        ask(connections)
        assert ask(connections) == (200, b"hel")
        connections.abort()


def test_few_are_kept_and_not_for_long():
    with blobserver.BlobServer() as server:
        connections = exchange.Connections(access.parse(server.url()))
        with contextlib.ExitStack() as stack:
            for _ in range(exchange.IDLE_LIMIT + 2):
                stack.enter_context(connections.request("GET", "/containers/buffer1/x?sig=good", {})).finish()
        assert len(connections._idle) == exchange.IDLE_LIMIT
        for idle in connections._idle:
            idle.idle_since -= exchange.IDLE_AGE
        oldest = connections._idle[0]
        assert ask(connections, target="/containers/buffer1/x?sig=good")[0] == 404
        assert len(connections._idle) == 1
        assert oldest.sock.fileno() == -1
        connections.abort()


def test_one_whose_answer_was_not_read_is_closed():
    with scripted.Peer(scripted.replying(OK), scripted.replying(OK)) as peer:
        connections = to(peer.path)
        with connections.request("GET", "/c/b", {}) as response:
            assert response.status == 200
        assert ask(connections)[0] == 200
        connections.abort()


def test_nothing_is_added_to_the_request():
    with scripted.Peer(scripted.replying(OK)) as peer:
        connections = to(peer.path)
        ask(connections, "PUT", "/c/b?q=%2B&q", {"Content-Length": "0", "X": "y"}, b"")
        connections.abort()
        assert peer.requests[0].head.split(b"\r\n") == [
            b"PUT /c/b?q=%2B&q HTTP/1.1",
            b"Host: localhost",
            b"Content-Length: 0",
            b"X: y",
        ]


def test_a_file_is_sent(file):
    fd, data = file
    with scripted.Peer(scripted.replying(OK)) as peer:
        connections = to(peer.path)
        ask(connections, "PUT", headers={"Content-Length": "2999999"}, body=exchange.File(fd, 2_999_999))
        connections.abort()
        assert peer.requests[0].body == data[:-1]


def test_a_file_that_is_too_short_is_not_sent_as_if_it_were_whole(file):
    fd, _ = file
    with scripted.Peer(scripted.Connection.wait_closed) as peer:
        connections = to(peer.path)
        with pytest.raises(connection.ShortFileError, match="ends after 3000000 of 3000001"):
            ask(connections, "PUT", headers={"Content-Length": "3000001"}, body=exchange.File(fd, 3_000_001))


def test_a_refusal_before_the_body_was_read_is_heard(file):
    fd, data = file

    def refuse(connection):
        connection.sock.recv(100)
        connection.say(scripted.answer(403, b"", b"Connection: close"))

    with scripted.Peer(refuse) as peer:
        body = exchange.File(fd, len(data))
        assert ask(to(peer.path), "PUT", headers={"Content-Length": str(len(data))}, body=body)[0] == 403


def test_nobody_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        ask(to("/nowhere/s"))


def test_tcp_takes_the_first_address_that_accepts():
    with blobserver.BlobServer(tcp=True) as server:
        connections = exchange.Connections(access.parse(server.url()))
        assert ask(connections, "GET", "/containers/buffer1/x?sig=good")[0] == 404
        connections.abort()


def test_a_refused_tcp_connection():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        connections = exchange.Connections(access.parse(f"http://127.0.0.1:{bound.getsockname()[1]}/c"))
        with pytest.raises(ConnectionRefusedError):
            ask(connections)


def test_a_header_cannot_hold_another():
    with pytest.raises(ValueError, match="a header holds a character"):
        ask(to("/nowhere/s"), headers={"X": "y\r\nZ: z"})


def test_a_body_at_a_limited_rate(file):
    fd, data = file
    share = bandwidth.Gate(1 << 30).share()
    with scripted.Peer(scripted.replying(OK), scripted.replying(OK)) as peer:
        connections = to(peer.path)
        for body in (exchange.File(fd, len(data)), data):
            headers = {"Content-Length": str(len(data))}
            with connections.request("PUT", "/c/b", headers, body, share=share) as said:
                assert said.read(10) == b"hello"
        connections.abort()
        assert [request.body == data for request in peer.requests] == [True, True]


def test_whole_requests_go_to_a_proxy():
    with blobserver.BlobServer(tcp=True) as server, webproxy.WebProxy(server.port, password="a:b") as proxy:
        server.put("x", b"data")
        settings = network.settings({"http_proxy": f"a:b@127.0.0.1:{proxy.port}"})
        connections = exchange.Connections(access.parse("http://store.example:81/containers"), settings)
        assert ask(connections, "GET", "/containers/buffer1/x?sig=good") == (200, b"data")
        connections.abort()
        assert proxy.asked == ["GET http://store.example:81/containers/buffer1/x?sig=good HTTP/1.1"]


def test_silence_ends_a_request_and_the_next_one_is_given_longer(monkeypatch):
    clock = silences.clock(monkeypatch)
    clock.step = 10.0

    def silent(connection):
        connection.read_request()
        connection.wait_closed()

    with scripted.Peer(silent, scripted.replying(OK)) as peer:
        settings = network.Network(silence=30.0)
        connections = exchange.Connections(access.parse(f"http+unix://{peer.path}:/c"), settings)
        with pytest.raises(connection.SilentError):
            ask(connections)
        clock.step = 0.0
        assert connections._silence.limit(0) >= 45
        assert connections.again()._silence is connections._silence
        assert ask(connections)[0] == 200
        connections.abort()


# --- abort -----------------------------------------------------------------------------------------------


def test_abort_ends_a_request_that_waits_for_its_answer():
    asked = threading.Event()

    def silent(connection):
        connection.read_request()
        asked.set()
        connection.wait_closed()

    with scripted.Peer(silent) as peer:
        connections = to(peer.path)
        raised = []

        def work():
            with pytest.raises(exchange.AbortedError) as caught:
                ask(connections)
            raised.append(caught.value)

        thread = threading.Thread(target=work)
        thread.start()
        assert asked.wait(60)
        connections.abort()
        thread.join(60)
        assert raised


def test_after_abort_nothing_is_asked():
    with scripted.Peer(scripted.replying(OK)) as peer:
        connections = to(peer.path)
        ask(connections)
        connections.abort()
        connections.abort()
        with pytest.raises(exchange.AbortedError):
            ask(connections)

"""Connections: kept alive, dropped when stale, sending files, broken off."""

import os
import socket
import threading

import pytest

from tests.support import blobserver, scripted
from tygerd.stores import access, exchange

OK = scripted.answer(200, b"hello")


def to(path):
    return exchange.Connections(access.parse(f"http+unix://{path}:/c"))


def ask(connections, method="GET", target="/c/b", headers=None, body=None):
    with connections.request(method, target, headers or {}, body) as response:
        return response.status, response.read()


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
        while idle.is_usable():  # until the server's end has arrived
            pass
        assert ask(connections) == (200, b"hello")
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


@pytest.fixture
def file(tmp_path):
    data = os.urandom(3_000_000)
    path = tmp_path / "file"
    path.write_bytes(data)
    fd = os.open(path, os.O_RDONLY)
    yield fd, data
    os.close(fd)


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
        with pytest.raises(exchange.ShortFileError, match="ends after 3000000 of 3000001"):
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
        assert asked.wait(5)
        connections.abort()
        thread.join(5)
        assert raised


def test_after_abort_nothing_is_asked():
    with scripted.Peer(scripted.replying(OK)) as peer:
        connections = to(peer.path)
        ask(connections)
        connections.abort()
        connections.abort()
        with pytest.raises(exchange.AbortedError):
            ask(connections)

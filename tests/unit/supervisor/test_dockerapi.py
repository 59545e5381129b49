"""Answers of an engine as they may come: whole, a byte at a time, cut, and not at all."""

from __future__ import annotations

import contextlib
import os
import socket
import threading

import pytest

from tests.support import fakedocker
from tygerd.supervisor import dockerapi

FRAMES = b"\1\0\0\0\0\0\0\3one\1\0\0\0\0\0\0\2\n2\2\0\0\0\0\0\0\3err\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\4last"
PRINTED = {1: b"one\n2last", 2: b"err"}


@pytest.fixture
def server(tmp_path):
    """`server(the pieces of an answer)`: an API at whose socket each connection gets them; what it asked."""
    listener = socket.socket(socket.AF_UNIX)
    path = str(tmp_path / "s")
    listener.bind(path)
    listener.listen()
    asked: list[bytes] = []
    threads: list[threading.Thread] = []

    def serve(*pieces: bytes, hang: bool = False):
        def answer() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                data = b""
                while b"\r\n\r\n" not in data and (piece := connection.recv(65536)):
                    data += piece
                asked.append(data)
                for piece in pieces:
                    connection.sendall(piece)
                if hang:
                    connection.recv(1)

        threads.append(threading.Thread(target=answer))
        threads[-1].start()
        return dockerapi.Api(path), asked

    yield serve
    for thread in threads:
        thread.join()
    listener.close()


def chunked(data: bytes, size: int) -> bytes:
    parts = [data[at : at + size] for at in range(0, len(data), size)]
    return b"".join(b"%x;x=y\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def collected(answer: dockerapi.Answer) -> dict[int, bytes]:
    found = {1: b"", 2: b""}
    for stream, data in answer.frames():
        found[stream] += data
    answer.close()
    return found


def bodies() -> list[bytes]:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: x\r\n"
    raw = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n" + FRAMES
    whole = head + b"content-length: %d\r\n\r\n" % len(FRAMES) + FRAMES
    chunks = [head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(FRAMES, size) for size in (1, 7, 1000)]
    return [raw, head + b"\r\n" + FRAMES, whole, *chunks]


@pytest.mark.parametrize("answer", bodies())
def test_output_comes_whole_however_it_is_cut(server, answer):
    for size in (1, 5, 1000):
        api, _ = server(*[answer[at : at + size] for at in range(0, len(answer), size)])
        assert collected(api.stream("GET", "/containers/x/logs")) == PRINTED


def test_pieces_of_one_stream_that_come_together_are_one(server):
    frames = b"".join(b"\1\0\0\0\0\0\0\2%d\n" % (i % 10) for i in range(1000))
    api, _ = server(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(frames, 10))
    answer = api.stream("GET", "/containers/x/logs")
    pieces = list(answer.frames())
    answer.close()
    assert sum(len(data) for _, data in pieces) == 2000
    assert len(pieces) < 100


def test_a_request_is_what_engines_expect(server):
    api, asked = server(b"HTTP/1.1 201 Created\r\nContent-Length: 10\r\n\r\n" + b'{"Id":"x"}')
    query = {"name": "a b&c"}
    assert api.call("POST", "/containers/create", query=query, body={"Image": "x"}) == {"Id": "x"}
    head, _, body = asked[0].partition(b"\r\n\r\n")
    assert head.split(b"\r\n")[0] == b"POST /v1.41/containers/create?name=a+b%26c HTTP/1.1"
    assert b"Content-Length: 13" in head
    assert b"Content-Type: application/json" in head
    assert body == b'{"Image":"x"}'


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_an_answer_without_a_body_is_not_waited_for(server, status):
    api, _ = server(b"HTTP/1.1 %s\r\n\r\n" % status, hang=True)
    assert api.call("POST", "/containers/x/start") is None


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"message":"no room"}', "no room"),
        (b"no room\n", "no room"),
        (b"", "HTTP status 500"),
        (b"[]", "HTTP status 500"),
    ],
)
def test_an_error_is_in_the_engines_words(server, body, message):
    api, _ = server(b"HTTP/1.1 500 Oh\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    with pytest.raises(dockerapi.Refused) as refused:
        api.call("GET", "/containers/x/json")
    assert (refused.value.status, refused.value.message) == (500, message)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nabc",
        b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n",
        b"x" * 2_000_000,
        b"a\n" * 2_000,
    ],
)
def test_what_is_cut_or_no_answer_at_all_is_no_answer(server, answer):
    api, _ = server(answer)
    with pytest.raises(dockerapi.Unreachable):
        api.call("GET", "/containers/x/json")


def test_nobody_is_there(tmp_path):
    path = str(tmp_path / "s")
    with pytest.raises(
        dockerapi.Unreachable, match=f"no engine answers on {path}: No such file or directory"
    ):
        dockerapi.Api(path).call("GET", "/containers/x/json")
    with pytest.raises(dockerapi.Unreachable, match="path too long"):
        dockerapi.Api("/" + "x" * 200).call("GET", "/containers/x/json")


def test_an_engine_that_hangs_is_not_waited_for_for_ever(server):
    api, _ = server(hang=True)
    with pytest.raises(dockerapi.Unreachable, match="the engine does not answer in time"):
        api.call("GET", "/containers/x/json", patience=0.05)


def test_waiting_can_be_ended(server):
    wake = os.eventfd(1)
    try:
        api, _ = server(hang=True)
        with pytest.raises(dockerapi.Interrupted):
            api.call("GET", "/containers/x/json", wake=wake)
    finally:
        os.close(wake)


def test_an_engine_that_has_given_up_our_version_is_asked_in_its_own():
    with fakedocker.docker() as engine:
        api = dockerapi.Api(engine.socket)
        for _ in range(2):
            with pytest.raises(dockerapi.Refused, match="No such container: x"):
                api.call("GET", "/containers/x/json")
        assert engine.requests == ["GET /json"] * 2

"""Answers: plain and odd ones, whole or in pieces, and what can't be one."""

import http.client
import itertools
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import scripted
from tygerd.stores import answer, connection

PLAIN = scripted.answer(200, b"hello", b"X-One: 1", b"x-two:\t2 ")
CHUNKED = (
    b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n"
    b"3\r\nhel\r\n2;e=x\r\nlo\r\n0\r\nT: t\r\n\r\n"
)


def heard(data, method="GET", cuts=(), more=False):
    """The answer in `data`, sent in pieces that end at `cuts`; its body, and whether it is whole."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        link = connection.Connection(ours, lambda: False)
        link.watch(5.0)
        ends = [0, *sorted(cuts), len(data)]
        pieces = [data[start:end] for start, end in itertools.pairwise(ends)]
        link.receive = _one_by_one(link.receive, theirs, pieces, more)
        said = answer.Answer(link, method)
        body = said.read(1 << 20)
        said.finish()
        return said, body, said.is_whole


def _one_by_one(receive, sender, pieces, more):
    """Each receive meets one piece: no thread, and the same splits every time."""
    waiting = [piece for piece in pieces if piece]

    def hooked(view, share=None, *, whole=False):
        if waiting and _empty(sender):
            sender.sendall(waiting.pop(0))
            if not waiting and not more:
                sender.shutdown(socket.SHUT_WR)
        elif not waiting and not more:
            sender.shutdown(socket.SHUT_WR)
        return receive(view, share)

    return hooked


def _empty(sock):
    return connection.Connection(sock, lambda: False)._unacknowledged() == 0


def test_a_plain_answer():
    said, body, whole = heard(PLAIN, more=True)
    assert (said.status, body, whole) == (200, b"hello", True)
    assert said.headers == {"content-length": "5", "x-one": "1", "x-two": "2"}
    assert (said.header("x-one"), said.header("none"), said.header("none", "-")) == ("1", "", "-")
    assert said._odd is None


@pytest.mark.parametrize(
    ("data", "method", "status", "body", "whole"),
    [
        (CHUNKED, "PUT", 201, b"hello", True),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN, "PUT", 200, b"hello", True),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 2 + PLAIN, "GET", 200, b"hello", True),
        (b"HTTP/1.1 200\r\nContent-Length: 1\r\n\r\n!", "GET", 200, b"!", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "HEAD", 200, b"", True),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", "GET", 304, b"", True),
        (b"HTTP/1.1 200 Connection established\r\n\r\n", "CONNECT", 200, b"", True),
        (b"HTTP/1.1 200 OK\r\nA: b\r\n  c\r\nContent-Length: 2\r\n\r\nhi", "GET", 200, b"hi", True),
        (scripted.answer(200, b"hello", b"Connection: close"), "GET", 200, b"hello", False),
        (scripted.answer(200, b"hello") + b"more", "GET", 200, b"hello", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", "GET", 200, b"hi", False),
        (b"HTTP/1.1 200 OK\r\n\r\nto the end", "GET", 200, b"to the end", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nto the end", "GET", 200, b"to the end", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\ncut", "GET", 200, b"cut", False),
    ],
)
def test_answers_of_all_kinds(data, method, status, body, whole):
    said, got, kept = heard(data, method)
    assert (said.status, got, kept) == (status, body, whole)


@pytest.mark.parametrize(
    "data", [b"what?\r\n\r\n", b"HTTP/1.1 abc OK\r\n\r\n", b"HTTP/1.1 2000 OK\r\n\r\n", b"HT", b"\r\n\r\n"]
)
def test_what_is_not_http(data):
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        heard(data)


def test_an_end_before_an_answer():
    with pytest.raises(connection.CutError):
        heard(b"")


def test_a_head_without_end_is_not_received_for_ever():
    with pytest.raises(http.client.HTTPException):
        heard(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000, cuts=range(50_000, 600_000, 50_000))


def test_a_long_head():
    said, body, whole = heard(
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 50_000 + b"\r\nContent-Length: 2\r\n\r\nhi", more=True
    )
    assert (len(said.header("x")), body, whole) == (50_000, b"hi", True)


def test_a_body_is_received_into_the_callers_memory():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        link = connection.Connection(ours, lambda: False)
        link.watch(5.0)
        theirs.sendall(scripted.answer(200, bytes(range(200))))
        said = answer.Answer(link, "GET")
        view = memoryview(bytearray(300))
        received = 0
        while count := said.readinto(view[received:]):
            received += count
        assert bytes(view[:received]) == bytes(range(200))
        assert said.is_whole


@settings(max_examples=60)
@given(st.sampled_from([PLAIN, CHUNKED, b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN]), st.data())
def test_it_does_not_matter_how_it_is_cut(data, draw):
    cuts = draw.draw(st.sets(st.integers(1, len(data) - 1), max_size=8))
    said, body, whole = heard(data, cuts=cuts, more=True)
    assert (said.status in {200, 201}, body, whole) == (True, b"hello", True)

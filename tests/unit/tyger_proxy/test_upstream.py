"""One exchange with a server that does what it likes."""

import threading

import pytest
import trio

from tests.support import scripted
from tyger import errors
from tyger_proxy import upstream


async def pieces(*items, then=None):
    for item in items:
        yield item
    if then is not None:
        raise then


async def begin(peer, method="GET", headers=(), body=None):
    with trio.fail_after(60):
        sock = await upstream.connect(peer.path)
        return await upstream.Exchange.begin(sock, method, "/x", headers, body)


async def test_there_and_back():
    with scripted.Peer(
        scripted.replying(scripted.answer(200, b"body", b"X-Name: v\r\nConnection: close"))
    ) as peer:
        exchange = await begin(peer, "PUT", [("Content-Length", "4"), ("X-A", "b")], pieces(b"ab", b"cd"))
        assert (exchange.status, dict(exchange.headers)) == (200, {"X-Name": "v", "Content-Length": "4"})
        assert await exchange.whole(4) == b"body"
    assert peer.requests[0].head.split(b"\r\n") == [
        b"PUT /x HTTP/1.1",
        b"Host: tyger",
        b"Connection: close",
        b"Content-Length: 4",
        b"X-A: b",
    ]
    assert peer.requests[0].body == b"abcd"


async def test_the_answer_is_read_as_it_comes():
    go = threading.Event()

    def script(connection):
        connection.read_request()
        connection.say(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        connection.chunk(b"one")
        assert go.wait(60)
        connection.chunk(b"two")
        connection.say(b"0\r\n\r\n")

    with scripted.Peer(script) as peer:
        exchange = await begin(peer)
        assert (exchange.status, exchange.headers) == (200, [])
        assert await exchange.next_piece() == b"one"
        go.set()
        assert await exchange.next_piece() == b"two"
        assert await exchange.next_piece() is None
        exchange.close()


async def test_a_server_that_answers_early_is_not_sent_the_rest():
    def script(connection):
        connection.sock.recv(100)
        connection.say(scripted.answer(413, b""))
        connection.wait_closed()

    class Endless:
        def __aiter__(self):
            return self

        async def __anext__(self):
            return bytes(65536)

    with scripted.Peer(script) as peer:
        exchange = await begin(peer, "PUT", [("Transfer-Encoding", "chunked")], Endless())
        assert exchange.status == 413
        exchange.close()


async def test_a_body_that_fails():
    problem = errors.Problem(errors.BAD_REQUEST, "cut short")
    with (
        scripted.Peer(lambda connection: connection.wait_closed()) as peer,
        pytest.raises(errors.Problem, match="cut short"),
    ):
        await begin(peer, "PUT", [("Content-Length", "4")], pieces(b"ab", then=problem))


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "no HTTP|without an answer|broke"),
        (b"SSH-2.0\r\n\r\n", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 20_000, "no HTTP"),
    ],
)
async def test_what_is_no_answer(raw, why):
    with scripted.Peer(scripted.replying(raw)) as peer, pytest.raises(upstream.BrokenOff, match=why):
        await begin(peer)


async def test_an_answer_that_is_cut():
    with scripted.Peer(scripted.replying(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")) as peer:
        exchange = await begin(peer)
        with pytest.raises(upstream.BrokenOff, match="cut short"):
            await exchange.whole(100)


async def test_an_answer_that_is_too_long():
    with scripted.Peer(scripted.replying(scripted.answer(200, b"12345"))) as peer:
        exchange = await begin(peer)
        with pytest.raises(upstream.BrokenOff, match="longer than 4 bytes"):
            await exchange.whole(4)


async def test_a_server_that_says_nothing(autojump_clock):

    ours, theirs = trio.socket.socketpair()
    with theirs, pytest.raises(upstream.BrokenOff, match="has not answered within 60 seconds"):
        await upstream.Exchange.begin(ours, "GET", "/x", [], None)


async def test_nobody_listens():
    with pytest.raises(FileNotFoundError):
        await upstream.connect("/nowhere/s")


@pytest.mark.parametrize(
    ("name", "passes"),
    [
        ("Content-Length", True),
        ("X-Ms-Meta-A", True),
        ("If-Match", True),
        ("Connection", False),
        ("X-Odd", False),
        ("Host", False),
        ("Expect", False),
        ("TE", False),
        ("Transfer-Encoding", False),
        ("Proxy-Authorization", False),
        ("Upgrade", False),
    ],
)
def test_headers_that_pass(name, passes):
    kept = upstream.passed_on([("Connection", "close, x-odd"), (name, "v")])
    assert ((name, "v") in kept) == passes

"""TLS on a served connection: whatever travels arrives, and a peer that misbehaves is cut."""

import contextlib
import errno
import os
import random
import socket
import ssl

import pytest
import trio

from tests.support import tlspeer, wire
from tygerd.http import connection, messages, tls
from tygerd.http.router import Route
from tygerd.osutil import fds

DATA = random.Random(7).randbytes(3_000_001)


class Ended:
    """How a stream ended, and that it did."""

    def __init__(self):
        self.by = None
        self.event = trio.Event()


async def echo(app: object, request: messages.Request) -> messages.Response:
    return messages.Response(200, b"".join([piece async for piece in request.data]))


async def file(app: object, request: messages.Request) -> messages.FileResponse:
    return messages.FileResponse(
        fds.OwnedFd(os.open(request.query.get("path"), os.O_RDONLY)), len(DATA) - 5, 5
    )


async def short_file(app: object, request: messages.Request) -> messages.FileResponse:
    return messages.FileResponse(fds.OwnedFd(os.open(request.query.get("path"), os.O_RDONLY)), 2 * len(DATA))


async def memory(app: object, request: messages.Request) -> messages.StreamResponse:
    async def run(sink: messages.Sink) -> None:
        await sink.send(b"first")
        await sink.send_memory(memoryview(DATA))
        await sink.send(b"last")

    return messages.StreamResponse(run)


async def endless(app: object, request: messages.Request) -> messages.StreamResponse:
    async def run(sink: messages.Sink) -> None:
        try:
            while True:
                await sink.send(DATA)
        finally:
            app.by = sink.ended_by
            app.event.set()

    return messages.StreamResponse(run)


ROUTES = [
    Route("PUT", "/echo", echo, "", versioned=False, streams_body=True),
    Route("GET", "/file", file, "", versioned=False),
    Route("GET", "/short", short_file, "", versioned=False),
    Route("GET", "/memory", memory, "", versioned=False),
    Route("GET", "/endless", endless, "", versioned=False),
]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return tlspeer.certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    made = tmp_path_factory.mktemp("tls") / "data"
    made.write_bytes(DATA)
    return made


@contextlib.asynccontextmanager
async def accepted(certificate, app=None, patience=wire.PATIENCE, **options):
    """The client's plain end of a connection that is being served; `failed` is why there was no handshake."""
    ours, theirs = socket.socketpair()
    ours = trio.socket.from_stdlib_socket(ours)
    failed = []

    async def serve():
        secured = tls.Secured(trio.socket.from_stdlib_socket(theirs), certificate.context, **options)
        try:
            await secured.handshake(patience)
            await connection.Connection(secured, messages.NOBODY, wire.site(ROUTES, app=app)).serve()
        except tls.HandshakeError as error:
            failed.append(str(error))
        finally:
            secured.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        yield ours, failed
        ours.close()
        nursery.cancel_scope.deadline = trio.current_time() + wire.PATIENCE
    assert not nursery.cancel_scope.cancelled_caught


@contextlib.asynccontextmanager
async def serving(certificate, app=None, **options):
    async with accepted(certificate, app, **options) as (ours, _):
        yield await tlspeer.over(ours, certificate.trusted)


async def test_requests_and_answers_of_all_kinds_on_one_connection(certificate, path):
    async with serving(certificate) as peer:
        for _ in range(2):
            assert (await peer.ask("PUT", "/echo", b"hello")).body == b"hello"
            assert (await peer.ask("GET", f"/file?path={path}")).body == DATA[5:]
            answer = await peer.ask("GET", "/memory")
            assert (answer.body, answer.complete) == (b"first" + DATA + b"last", True)


@pytest.mark.parametrize(
    "said", [b"PUT /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx", b"?\r\n\r\n"]
)
async def test_a_peer_that_has_vanished_is_no_incident(certificate, monkeypatch, caplog, said):
    """Behind a network that is gone sending ends by a timeout, or because there is no route."""
    async with serving(certificate) as peer:
        assert (await peer.ask("PUT", "/echo", b"hello")).body == b"hello"

        def gone(*_):
            raise TimeoutError(errno.ETIMEDOUT, "Connection timed out")

        with monkeypatch.context() as patched:
            patched.setattr(ssl.SSLSocket, "send", gone)
            await peer.say(said)
            assert await peer.receive() == b""
    assert "incident" not in caplog.text


async def test_a_large_body_comes_in_whole(certificate):
    async with serving(certificate) as peer:
        async with trio.open_nursery() as nursery:  # the answer is as long: both ways at once
            nursery.start_soon(
                peer.say, b"PUT /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3000001\r\n\r\n" + DATA
            )
            answer = await peer.answer()
        assert answer.body == DATA


async def test_a_request_in_records_of_one_byte(certificate):
    async with serving(certificate) as peer:
        text = b"PUT /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 200\r\n\r\n" + bytes(200)
        for byte in text:
            await peer.say(bytes([byte]))
        assert (await peer.answer()).body == bytes(200)


async def test_more_than_a_socket_holds_to_a_peer_that_begins_late(certificate, path):
    async with serving(certificate) as peer:
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await peer.say(f"GET /file?path={path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert (await peer.answer()).body == DATA[5:]


async def test_a_peer_that_takes_nothing_is_cut(certificate):
    end = Ended()
    async with serving(certificate, end, stall=0.05) as peer:
        await peer.say(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        await end.event.wait()
        assert end.by is messages.EndedBy.PEER_GONE


async def test_a_peer_that_goes_ends_a_stream(certificate):
    end = Ended()
    async with serving(certificate, end) as peer:
        await peer.say(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await peer.receive()
        peer.sock.close()
    assert end.by is messages.EndedBy.PEER_GONE


async def test_a_file_that_is_too_short_cuts_the_answer(certificate, path):
    async with serving(certificate) as peer:
        answer = await peer.ask("GET", f"/short?path={path}")
        assert not answer.complete
        assert answer.body == DATA


async def test_an_end_that_was_said(certificate):
    """A client can tell an answer's end from a connection that was cut."""
    async with serving(certificate) as peer:
        assert (await peer.ask("PUT", "/echo", b"x", headers="Connection: close\r\n")).body == b"x"
        assert await peer.stream.receive_some() == b""  # without a word it would raise


async def test_a_client_that_closes_properly(certificate):
    async with serving(certificate) as peer:
        assert (await peer.ask("PUT", "/echo", b"x")).body == b"x"
        await peer.stream.aclose()


async def test_nobody_waits_for_a_handshake(certificate):
    async with accepted(certificate, patience=0.05) as (ours, failed):
        assert await ours.recv(1) == b""
        assert failed == ["no handshake within 0.05 s"]


async def test_plain_http_is_told_what_is_spoken_here(certificate):
    async with accepted(certificate) as (ours, failed):
        await ours.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await ours.recv(10_000) == tls.PLAIN
        assert failed == ["HTTP_REQUEST"]
    assert int(tls.PLAIN.partition(b"Content-Length: ")[2].split()[0]) == len(
        tls.PLAIN.partition(b"\r\n\r\n")[2]
    )


@pytest.mark.parametrize(
    "words", [b"", b"\x16\x03\x01\xff\xff", b"SSH-2.0-OpenSSH\r\n", bytes(1000), b"\x80\x80\x01"]
)
async def test_what_is_no_handshake(certificate, words):
    async with accepted(certificate) as (ours, failed):
        if words:
            await ours.send(words)
        ours.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError), trio.fail_after(wire.PATIENCE):
            while await ours.recv(100):
                pass
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert failed


async def test_a_client_that_trusts_nobody(certificate):
    async with accepted(certificate) as (ours, _):
        stream = trio.SSLStream(
            trio.SocketStream(ours), ssl.create_default_context(), server_hostname=tlspeer.HOST
        )
        with pytest.raises(trio.BrokenResourceError):
            await stream.do_handshake()


async def test_garbage_after_the_handshake(certificate):
    async with serving(certificate) as peer:
        assert (await peer.ask("PUT", "/echo", b"x")).body == b"x"
        await peer.sock.send(bytes(100))
        assert await peer.closed()

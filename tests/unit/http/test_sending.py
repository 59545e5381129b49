"""Answers as bytes, where a whole connection would hide them (the rest is in test_connection.py)."""

import socket
import tempfile

import h11
import pytest
import trio

from tygerd.http import messages, sending


async def nothing(sink: messages.Sink) -> None:
    """A stream without a body."""


STREAM = messages.StreamResponse(nothing)


@pytest.fixture
async def pair():
    """A sender that owes an answer to a GET, and the client's end."""
    ours, theirs = socket.socketpair()
    framing = h11.Connection(h11.SERVER)
    framing.receive_data(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    framing.next_event()
    framing.next_event()
    with trio.socket.from_stdlib_socket(theirs) as sock, ours:
        ours.settimeout(5)
        yield ours, sending.Sender(sock, framing, trio.CapacityLimiter(1), "1.2")


async def test_a_status_line_has_its_phrase(pair):
    client, sender = pair
    await sender.whole(messages.Response(412), "id")
    assert client.recv(4096).startswith(b"HTTP/1.1 412 Precondition Failed\r\n")


@pytest.mark.parametrize(
    ("body", "sent", "kind"),
    [
        (None, b"", None),
        (b"raw", b"raw", None),
        (0, b"0", b"application/json; charset=utf-8"),
        ({"a": None}, b'{"a":null}', b"application/json; charset=utf-8"),
        ("text", b'"text"', b"application/json; charset=utf-8"),
    ],
)
async def test_bodies(pair, body, sent, kind):
    client, sender = pair
    await sender.whole(messages.Response(200, body), "id")
    head, _, rest = client.recv(4096).partition(b"\r\n\r\n")
    assert rest == sent
    assert (b"Content-Length: %d" % len(sent)) in head
    assert (kind is None) == (b"Content-Type" not in head)


async def test_the_handlers_content_type_wins(pair):
    client, sender = pair
    await sender.whole(messages.Response(200, {}, [("content-type", "application/x")]), "id")
    head = client.recv(4096).lower()
    assert head.count(b"content-type") == 1
    assert b"content-type: application/x" in head


async def test_a_204_has_no_length(pair):
    client, sender = pair
    await sender.whole(messages.Response(204), "id")
    assert b"Content-Length" not in client.recv(4096)


async def test_a_client_that_is_gone(pair):
    client, sender = pair
    client.close()
    with pytest.raises(sending.PeerGone):
        await sender.whole(messages.Response(200, b"x"), "id")


async def test_a_client_that_is_gone_while_a_file_is_sent(pair):
    client, sender = pair
    await sender.head(200, [("Content-Length", "1000")], "id")
    client.close()
    with tempfile.TemporaryFile() as file, pytest.raises(sending.PeerGone):
        file.truncate(1000)
        await sender.file_part(file.fileno(), 0, 1000)


async def test_a_shielded_handler_learns_that_its_client_is_gone(pair):
    client, sender = pair
    gone = trio.Event()
    sink = sending.ChunkSink(sender, gone.set)
    await sink.head(STREAM, "id", [])
    client.close()
    with pytest.raises(sending.PeerGone):
        await sink.send(b"x")
    assert gone.is_set()
    assert sink.broken


async def test_nothing_is_not_a_chunk(pair):
    client, sender = pair
    sink = sending.ChunkSink(sender, lambda: None)
    await sink.head(STREAM, "id", [])
    client.recv(4096)
    await sink.send(b"")
    await sink.send_file(-1, 0, 0)
    await sink.finish()
    assert client.recv(4096) == b"0\r\n\r\n"


def test_trailers_are_announced_in_any_case():
    assert sending.announces([("trailer", "Tyger-Error")], "tyger-error")
    assert not sending.announces([("Trailer", "Other")], "tyger-error")

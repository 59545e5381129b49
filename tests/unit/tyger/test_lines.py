"""Lines of a chunked answer, in whatever pieces it comes, without ever waiting in `take`."""

import json
import socket

import pytest

from tyger import client, errors, lines, sockets


@pytest.fixture
def answer():
    """The far end of a socket, and the lines that come from it."""
    ours, theirs = socket.socketpair()
    stream = client.Stream(sockets.Channel(ours), 200, {"transfer-encoding": "chunked"})
    with ours, theirs:
        yield theirs, lines.Lines(stream)


def chunks(*pieces):
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10**6])
def test_lines_in_pieces(answer, size):
    far, it = answer
    raw = chunks(b"one\n", b"tw", b"o\nthree\n\nfo", b"ur\n") + b"0\r\nTrailer: x\r\n\r\n"
    got = []
    for start in range(0, len(raw), size):
        assert it.take() is None
        far.sendall(raw[start : start + size])
        it.receive()
        while (line := it.take()) is not None:
            got.append(line)
    assert got == [b"one", b"two", b"three", b"", b"four"]
    assert it.ended


def test_objects(answer):
    far, it = answer
    far.sendall(chunks(b'\n{"a": 1}\n', b"{"))
    it.receive()
    assert it.object() == {"a": 1}
    assert it.object() is None
    assert not it.ended


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"zz\r\n", "not a chunk length"),
        (b"x" * 70_000, "not a chunk length"),
        (chunks(b"<html>\n"), "unable to understand"),
        (chunks(b"[1]\n"), "not a JSON object"),
    ],
)
def test_what_is_something_else(answer, raw, words):
    far, it = answer
    far.sendall(raw)
    with pytest.raises(errors.Problem, match=words) as caught:
        while it.object() is None:
            it.receive()
    assert caught.value.kind is errors.PROTOCOL


def test_a_line_without_end_is_not_taken_for_ever(answer):
    far, it = answer
    piece = 64 * 1024
    for _ in range(lines.LONGEST // piece):
        far.sendall(chunks(b"x" * piece))
        it.receive()
        assert it.take() is None
    far.sendall(chunks(b"x"))
    it.receive()
    with pytest.raises(errors.Problem, match="too long"):
        it.take()


def test_the_end_of_the_connection_is_told(answer):
    far, it = answer
    far.close()
    with pytest.raises(sockets.Disconnected):
        it.receive()


def test_an_answer_of_known_length_is_refused():
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(errors.Problem, match="not a stream of lines"):
        lines.Lines(client.Stream(sockets.Channel(ours), 200, {"content-length": "3"}))


def test_decoding_one():
    assert lines.decoded(json.dumps({"a": "ü"}).encode()) == {"a": "ü"}


def test_until_an_object_is_the_one(answer):
    """What has come is taken before anything is waited for, and a proper end is not the result either."""
    far, it = answer
    pieces = [chunks(b'{"n": 1}\n{"n": 2}\n{"n"', b": 3}\n"), chunks(b'{"n": 4}\n') + b"0\r\n\r\n"]
    seen = []

    def take(value):
        seen.append(value["n"])
        return "three" if value["n"] == 3 else None

    def wait(events):
        seen.append("wait")
        far.sendall(pieces.pop(0))
        events.receive()

    assert it.until(take, wait) == "three"
    assert seen == ["wait", 1, 2, 3]
    with pytest.raises(sockets.Disconnected, match="the daemon closed the connection"):
        it.until(take, wait)
    assert seen[4:] == ["wait", 4]

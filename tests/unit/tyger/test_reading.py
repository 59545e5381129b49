"""The client's half of a read against a scripted daemon: every destination, cuts, quiet, failures."""

import os
import threading

import pytest

from tests.support import scripted
from tyger import access, client, errors, reading, streams


@pytest.fixture
def stop():
    made = streams.Stop()
    yield made
    made.close()


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for fd in ends:
        os.close(fd)


BUF = access.Access(buffer="buf")


def chunks(connection, *pieces, end=b"0\r\n\r\n"):
    connection.read_request().say(scripted.CHUNKED)
    for piece in pieces:
        connection.chunk(piece)
    connection.say(end)


def read(peer, fd, stop, **options):
    return reading.read(client.Client(peer.path), BUF, fd, stop=stop, **options)


@pytest.fixture(params=["pipe", "file", "append"])
def destination(request, tmp_path, pipe):
    if request.param == "pipe":
        yield pipe[1], lambda: os.read(pipe[0], 1 << 20)
        return
    path = tmp_path / "out"
    flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if request.param == "append" else 0)
    fd = os.open(path, flags)
    yield fd, path.read_bytes
    os.close(fd)


def test_bytes_arrive_whatever_the_destination(destination, stop):
    fd, content = destination
    pieces = [b"one", os.urandom(40_000), b"x"]
    with scripted.Peer(lambda connection: chunks(connection, *pieces)) as peer:
        assert read(peer, fd, stop, offset=3, length=99_999)[:2] == ("complete", 40_004)
    assert content() == b"".join(pieces)
    assert b"&offset=3&length=99999 " in peer.requests[0].head


def test_after_a_cut_it_asks_for_the_rest(destination, stop):
    fd, content = destination

    def cut_inside(connection):
        chunks(connection, b"one", end=b"5\r\ntw")

    def nothing(connection):
        chunks(connection, end=b"")

    with scripted.Peer(cut_inside, nothing, lambda connection: chunks(connection, b"o three")) as peer:
        assert read(peer, fd, stop, offset=100)[:2] == ("complete", 12)
    assert content() == b"onetwo three"
    offsets = [request.head.split(b"offset=")[1].split(b" ")[0] for request in peer.requests]
    assert offsets == [b"100", b"105", b"105"]


def test_a_failure_stands_in_the_trailer(destination, stop):
    fd, content = destination
    end = b"0\r\nTyger-Error: BufferFailed: the buffer is in a permanently failed state\r\n\r\n"
    with (
        scripted.Peer(lambda connection: chunks(connection, b"one", end=end)) as peer,
        pytest.raises(errors.Problem, match=r"^the buffer is in a permanently failed state$") as caught,
    ):
        read(peer, fd, stop)
    assert caught.value.kind is errors.BUFFER_FAILED
    assert content() == b"one"


def test_a_destination_that_went_away_ends_a_quiet_stream(stop):
    reader, writer = os.pipe()

    def quiet(connection):
        connection.read_request().say(scripted.CHUNKED)
        os.close(reader)
        connection.wait_closed()

    with scripted.Peer(quiet) as peer, pytest.raises(BrokenPipeError):
        read(peer, writer, stop)
    os.close(writer)


def test_stopping_a_read(pipe, stop):
    def quiet(connection):
        connection.read_request().say(scripted.CHUNKED)
        stop.request("interrupted")
        connection.wait_closed()

    with scripted.Peer(quiet) as peer:
        assert read(peer, pipe[1], stop)[:3] == ("stopped", 0, "interrupted")


def test_a_full_nonblocking_destination_is_waited_for(stop):
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    data = os.urandom(3 << 20)
    got = []

    def drain():
        with os.fdopen(reader, "rb") as file:
            got.append(file.read())

    draining = threading.Thread(target=drain)
    with scripted.Peer(lambda connection: chunks(connection, data)) as peer:
        draining.start()
        assert read(peer, writer, stop).bytes == len(data)
    os.close(writer)
    draining.join()
    assert got == [data]

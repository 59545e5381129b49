"""The relay protocol's client against scripted servers, on Unix sockets and TCP."""

import os

import pytest

from tests.support import scripted
from tyger import errors, relayhttp, streams

GET = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-ms-error-code\r\n\r\n"
QUERY = "sp=r&sig=a%2Bb%3D&relay=true"


def url_of(peer, *, path=""):
    if peer.port is not None:
        return f"http://127.0.0.1:{peer.port}?{QUERY}"
    return f"http+unix://{peer.path}:{path}?{QUERY}"


def listening(connection):
    connection.read_request().say(scripted.answer(200))


def sending(*pieces, end=b"0\r\n\r\n"):
    def script(connection):
        connection.read_request().say(GET)
        for piece in pieces:
            connection.chunk(piece)
        connection.say(end)

    return script


def taking(taken, answer=None):
    """A script: take a chunked body to its end."""
    answer = answer or scripted.answer(202)

    def script(connection):
        connection.read_request()
        data = connection.body
        while not data.endswith(b"0\r\n\r\n"):
            piece = connection.sock.recv(65536)
            assert piece, "the body has no end"
            data += piece
        taken.append(data)
        connection.say(answer)

    return script


@pytest.fixture(params=[False, True], ids=["unix", "tcp"])
def tcp(request):
    return request.param


def test_reading(pipe, stop, tcp):
    progress = []
    with scripted.Peer(listening, sending(b"one ", b"two"), tcp=tcp) as peer:
        result = relayhttp.read(url_of(peer), pipe[1], stop=stop, on_progress=progress.append)
    assert result[:2] == ("complete", 7)
    assert progress[-1].bytes == 7
    assert os.read(pipe[0], 100) == b"one two"
    heads = [request.head.split(b" HTTP/1.1")[0].decode() for request in peer.requests]
    assert heads == [f"HEAD /?{QUERY}", f"GET /?{QUERY}"]


def test_a_path_behind_the_socket(pipe, stop):
    with scripted.Peer(listening, sending()) as peer:
        assert relayhttp.read(url_of(peer, path="/relays/x"), pipe[1], stop=stop).bytes == 0
    assert peer.requests[1].head.startswith(f"GET /relays/x?{QUERY} ".encode())


def test_writing(pipe, stop, tcp):
    taken = []
    reader, writer = os.pipe()
    with open(writer, "wb") as file:
        file.write(b"some bytes")
    with scripted.Peer(listening, taking(taken), tcp=tcp) as peer, open(reader, "rb") as source:
        result = relayhttp.write(url_of(peer), source.fileno(), verdict=lambda: ("complete", None), stop=stop)
    assert result[:2] == ("complete", 10)
    assert taken == [b"a\r\nsome bytes\r\n0\r\n\r\n"]
    assert b"PUT /?" in peer.requests[1].head


def test_a_relay_that_is_not_there_yet_is_waited_for(pipe, stop):
    refusing = scripted.replying(scripted.answer(502, b"", b"x-ms-error: ECONNREFUSED"))
    with scripted.Peer(refusing, scripted.hanging_up, listening, sending(b"x")) as peer:
        assert relayhttp.read(url_of(peer), pipe[1], stop=stop).state == "complete"


@pytest.mark.parametrize(
    ("script", "kind", "said"),
    [
        (scripted.answer(502, b"", b"x-ms-error: ENOENT"), errors.NOT_FOUND, relayhttp.NOBODY),
        (scripted.answer(502, b"", b"x-ms-error: no ssh"), errors.UNAVAILABLE, "no ssh"),
    ],
)
def test_a_relay_that_will_never_be_there(pipe, stop, script, kind, said):
    with (
        scripted.Peer(scripted.replying(script)) as peer,
        pytest.raises(errors.Problem, match=f"^error reading from relay: {said}$") as caught,
    ):
        relayhttp.read(url_of(peer), pipe[1], stop=stop)
    assert caught.value.kind is kind


def test_no_socket(pipe, stop):
    with pytest.raises(errors.Problem, match=relayhttp.NOBODY):
        relayhttp.read(f"http+unix:///nonexistent/s:?{QUERY}", pipe[1], stop=stop)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (scripted.answer(405), "the buffer is an input buffer and cannot be read from"),
        (scripted.answer(400, b"", b"x-ms-error-code: AlreadyCalled"), "can only be called once"),
        (scripted.answer(403, b"", b"x-ms-error-code: AuthenticationFailed"), "AuthenticationFailed"),
        (scripted.answer(500), "unexpected status code 500 Internal Server Error"),
        (GET + b"0\r\nx-ms-error-code: FailedToOpenReader\r\n\r\n", "failed to open reader"),
        (GET + b"0\r\nx-ms-error-code: ContextCancelled\r\n\r\n", "context cancelled"),
        (GET + b"0\r\nx-ms-error-code: TransferFailed\r\n\r\n", "TransferFailed"),
        (GET + b"5\r\nab", "the daemon closed the connection"),
    ],
)
def test_what_a_reader_is_told(pipe, stop, answer, said):
    with (
        scripted.Peer(listening, scripted.replying(answer)) as peer,
        pytest.raises(errors.Problem, match=f"^error reading from relay: .*{said}$"),
    ):
        relayhttp.read(url_of(peer), pipe[1], stop=stop)


def test_a_writer_that_is_refused_while_it_has_nothing_to_send(pipe, stop):
    """`pipe` stays open and empty."""
    with (
        scripted.Peer(listening, scripted.replying(scripted.answer(405))) as peer,
        pytest.raises(errors.Problem, match="an output buffer and cannot be written to"),
    ):
        relayhttp.write(url_of(peer), pipe[0], verdict=lambda: ("complete", None), stop=stop)


def test_what_must_not_count_as_whole_is_cut(pipe, stop):
    def cut(connection):
        connection.read_request()
        data = connection.body
        while piece := connection.sock.recv(65536):
            data += piece
        assert data == b"4\r\nhalf\r\n"

    reader, writer = os.pipe()
    with open(writer, "wb") as file:
        file.write(b"half")
    with scripted.Peer(listening, cut) as peer, open(reader, "rb") as source:
        result = relayhttp.write(
            url_of(peer), source.fileno(), verdict=lambda: ("failed", "exit code 3"), stop=stop
        )
    assert (result.state, result.reason) == ("failed", "exit code 3")


def test_stopping(pipe, stop):
    def stopping(connection):
        connection.read_request().say(GET)
        stop.request("enough")
        connection.wait_closed()

    with scripted.Peer(listening, stopping) as peer:
        assert relayhttp.read(url_of(peer), pipe[1], stop=stop) == streams.Result("stopped", 0, "enough")


def test_an_upload_that_breaks_early_is_begun_again(stop, monkeypatch):
    monkeypatch.setattr(relayhttp, "PAUSE", 0.0)
    taken = []
    reader, writer = os.pipe()
    os.write(writer, b"some ")

    def breaking(connection):
        connection.read_request()
        while b"some " not in connection.body:
            connection.body += connection.sock.recv(100)

    def rest(connection):
        os.write(writer, b"bytes")
        os.close(writer)
        taking(taken)(connection)

    with open(reader, "rb") as source, scripted.Peer(listening, breaking, rest) as peer:
        done = relayhttp.write(url_of(peer), source.fileno(), verdict=lambda: ("complete", None), stop=stop)
    assert done[:2] == ("complete", 10)
    assert taken == [b"5\r\nsome \r\n5\r\nbytes\r\n0\r\n\r\n"]


def test_an_upload_that_breaks_late_is_not(stop, monkeypatch):
    monkeypatch.setattr(relayhttp, "PIECE", 3)
    reader, writer = os.pipe()
    os.write(writer, b"some bytes")

    def breaking(connection):
        connection.read_request()
        while b"byt" not in connection.body.replace(b"\r\n3\r\n", b""):
            connection.body += connection.sock.recv(100)

    with (
        open(reader, "rb") as source,
        open(writer, "wb"),
        scripted.Peer(listening, breaking) as peer,
        pytest.raises(errors.Problem, match="error writing to relay: the"),
    ):
        relayhttp.write(url_of(peer), source.fileno(), verdict=lambda: ("complete", None), stop=stop)


def test_the_pauses_between_attempts():
    waits = relayhttp.pauses()
    first = [next(waits) for _ in range(1001)]
    assert first[::100] == [0.1, *[1.0] * 9, 5.0]
    assert sum(first[:1000]) == 946.0

"""The client's half of an ephemeral buffer against a scripted daemon, which writes where ours splices."""

import json
import os

import pytest

from tests.support import scripted, scriptedwrites
from tyger import access, client, errors, reading, streams

ID = "run-7-temp-" + "a" * 26
BUF = access.Access(buffer=ID)


def read(peer, fd, stop, target=BUF, **options):
    return reading.read(client.Client(peer.path), target, fd, stop=stop, **options)


def _more(connection, event):
    connection.chunk(json.dumps(event).encode() + b"\n")


def delivering(*pieces, end=None, before=()):
    """A script: take the pipe, write into it, and tell how it ended (None: say nothing more)."""

    def script(connection):
        scriptedwrites.events(connection, {"event": "attached"}, {"event": "joined"}, *before)
        for piece in pieces:
            os.write(connection.fds[0], piece)
        os.close(connection.fds.pop())
        if end is not None:
            _more(connection, {"bytes": sum(map(len, pieces)), **end})

    return script


def test_bytes_arrive_whatever_the_destination(destination, stop):
    fd, content = destination
    progress = []
    waiting = {"event": "progress", "bytes": 0, "waiting": "the job has not opened its pipe yet"}
    with scripted.Peer(delivering(b"one ", b"two", end={"event": "complete"}, before=[waiting])) as peer:
        result = read(peer, fd, stop, on_progress=progress.append)
    assert result[:2] == ("complete", 7)
    assert content() == b"one two"
    assert progress == [(0, "the job has not opened its pipe yet", None)]
    assert scriptedwrites.target(peer.requests[0]) == f"/relays/{ID}/read"
    assert scriptedwrites.body(peer.requests[0]) == {"job": False, "joined": False}


def test_the_pipe_goes_to_the_next_daemon(destination, stop):
    fd, content = destination
    with scripted.Peer(delivering(b"before "), delivering(b"after", end={"event": "complete"})) as peer:
        assert read(peer, fd, stop, access.Access(buffer=ID, of_job=True)).state == "complete"
    assert content() == b"before after"
    asked = [scriptedwrites.body(request) for request in peer.requests]
    assert asked == [{"job": True, "joined": False}, {"job": True, "joined": True}]


def test_a_writer_that_failed(pipe, stop):
    failed = {"event": "failed", "reason": "exit code 3"}
    said = r"^error reading from relay: exit code 3$"
    with (
        scripted.Peer(delivering(b"half", end=failed)) as peer,
        pytest.raises(errors.Problem, match=said) as caught,
    ):
        read(peer, pipe[1], stop)
    assert caught.value.kind is errors.BUFFER_FAILED
    said = r"^exit code 3$"  # the supervisor's words name the buffer
    with scripted.Peer(delivering(end=failed)) as peer, pytest.raises(errors.Problem, match=said):
        read(peer, pipe[1], stop, access.Access(buffer=ID, of_job=True))


def test_a_refusal(pipe, stop):
    body = b'{"error":{"code":"Conflict","message":"the buffer endpoint can only be called once"}}'
    said = r"^error reading from relay: the buffer endpoint can only be called once$"
    refusing = scripted.replying(scripted.answer(409, body))
    with scripted.Peer(refusing) as peer, pytest.raises(errors.Problem, match=said) as caught:
        read(peer, pipe[1], stop)
    assert caught.value.exit_code == 73


def test_a_part_cannot_be_read(pipe, stop):
    for part in ({"offset": 1}, {"length": 1}, {"follow": False}):
        with pytest.raises(errors.Problem, match="only be read as a whole"):
            reading.read(client.Client("/nowhere"), BUF, pipe[1], stop=stop, **part)


def test_a_reader_of_the_output_that_goes_away_while_nothing_comes(stop):
    reader, writer = os.pipe()

    def leave(connection):
        scriptedwrites.events(connection, {"event": "attached"})
        os.close(reader)
        connection.wait_closed()

    with scripted.Peer(leave) as peer, open(writer, "wb"), pytest.raises(BrokenPipeError):
        read(peer, writer, stop)


def test_a_file_that_cannot_be_written(stop):
    with open("/dev/full", "wb") as full:

        def script(connection):
            scriptedwrites.events(connection, {"event": "attached"}, {"event": "joined"})
            os.write(connection.fds[0], b"data")
            _more(connection, {"event": "closed", "bytes": 4})

        with scripted.Peer(script) as peer, pytest.raises(OSError, match="No space left"):
            read(peer, full.fileno(), stop)


def test_stopping(pipe, stop):
    def stopping(connection):
        scriptedwrites.events(connection, {"event": "attached"})
        stop.request("enough")
        connection.wait_closed()

    with scripted.Peer(stopping) as peer:
        assert read(peer, pipe[1], stop)[:3] == ("stopped", 0, "enough")


# --- writing, which is `writing`'s own loop --------------------------------------------------------------


def write(peer, fd, stop, **options):
    return scriptedwrites.write(peer, fd, stop, target=BUF, **options)


def test_a_write_says_its_verdict(pipe, stop):
    said = []

    def attached(connection):
        scriptedwrites.events(connection, {"event": "attached"}, {"event": "joined"})

    with scripted.Peer(attached, *scriptedwrites.completing(said)) as peer:
        result = write(peer, pipe[0], stop, patience=streams.Patience(first=True))
    assert result.state == "complete"
    assert said == [{"outcome": "complete"}]
    assert [scriptedwrites.target(each) for each in peer.requests] == [
        f"/relays/{ID}/write",
        f"/relays/{ID}/write",
        f"/relays/{ID}/outcome",
    ]
    asked = [scriptedwrites.body(request) for request in peer.requests[:2]]
    assert asked == [{"job": False, "joined": False}, {"job": False, "joined": True}]


def test_a_reader_that_takes_no_more_is_no_failure_of_the_write(pipe, stop):
    closed = {"event": "closed", "bytes": 3, "reason": "the job has ended before it had taken everything"}
    with scripted.Peer(lambda it: scriptedwrites.events(it, {"event": "attached"}, closed)) as peer:
        assert write(peer, pipe[0], stop)[:3] == ("closed", 3, closed["reason"])


def test_a_refused_write(pipe, stop):
    body = b'{"error":{"code":"NotFound","message":"buffer relay server does not exist"}}'
    said = r"^error writing to relay: buffer relay server does not exist$"
    refusing = scripted.replying(scripted.answer(404, body))
    with scripted.Peer(refusing) as peer, pytest.raises(errors.Problem, match=said):
        write(peer, pipe[0], stop)

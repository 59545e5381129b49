"""The client's half of a write against a scripted daemon: verdicts, cuts, every kind of descriptor."""

import json
import os
import socket
import tempfile

import pytest

from tests.support import scripted
from tyger import access, client, errors, streams, writing


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


def events(connection, *said):
    connection.read_request().say(b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n")
    for event in said:
        connection.chunk(json.dumps(event).encode() + b"\n")


def body(connection):
    return json.loads(connection.body)


def target(connection):
    return connection.head.split(b" ")[1].decode().partition("?")[0]


ATTACHED = {"event": "attached"}
BUF = access.Access(buffer="buf")
COMPLETE = {"event": "complete", "bytes": 5, "blocks": 2}


def completing(said, *before):
    """Two scripts: the attachment, and the outcome that lets it end; what was said is put in `said`."""
    attachments = []

    def attachment(connection):
        events(connection, ATTACHED, *before, {"event": "eof", "bytes": 5})
        # The outcome comes on a connection of its own, which this thread must play first.
        connection.sock = connection.sock.dup()
        attachments.append(connection)

    def outcome(connection):
        connection.read_request()
        said.append(body(connection))
        connection.say(scripted.answer(200, b"{}"))
        attachments[0].chunk(json.dumps(COMPLETE).encode() + b"\n")
        attachments[0].sock.close()

    return attachment, outcome


def write(peer, fd, stop, verdict=lambda: ("complete", None), **options):
    return writing.write(client.Client(peer.path), BUF, fd, verdict=verdict, stop=stop, **options)


def test_end_of_file_is_complete_only_by_the_verdict(pipe, stop):
    said, progress = [], []
    with scripted.Peer(*completing(said, {"event": "progress", "bytes": 3, "blocks": 1})) as peer:
        result = write(
            peer,
            pipe[0],
            stop,
            block_size=100,
            flush_interval=0.5,
            run=7,
            on_progress=progress.append,
        )
    assert result[:4] == ("complete", 5, None, None)
    assert said == [{"outcome": "complete"}]
    asked = body(peer.requests[0])
    assert len(asked.pop("id")) == 32
    assert asked == {"buffer": "buf", "blockSize": 100, "flushInterval": 0.5, "run": 7}
    assert (3, None, None) in progress


def test_a_failed_producer_is_passed_on_with_its_reason(pipe, stop):
    said = []
    with scripted.Peer(*completing(said)) as peer:
        write(peer, pipe[0], stop, verdict=lambda: ("failed", "exit status 3"))
    assert said == [{"outcome": "failed", "reason": "exit status 3"}]


def test_after_a_cut_it_attaches_again_and_asks_its_verdict_once(pipe, stop):
    said, asked = [], []

    def cut(connection):
        events(connection, ATTACHED, {"event": "eof", "bytes": 5})

    with scripted.Peer(
        cut,
        scripted.hanging_up,
        scripted.hanging_up,
        scripted.hanging_up,
        scripted.hanging_up,
        *completing(said),
    ) as peer:
        result = write(peer, pipe[0], stop, verdict=lambda: asked.append(1) or ("complete", None))
    assert result.state == "complete"
    assert asked == [1]
    transfer = body(peer.requests[0])["id"]
    assert target(peer.requests[-2]) == f"/transfers/{transfer}/attach"
    assert target(peer.requests[-1]) == f"/transfers/{transfer}/outcome"
    assert len(peer.requests[-2].fds) == 1


def test_progress_never_goes_back(pipe, stop):
    """A daemon that was restarted begins to count again."""
    progress = []

    def cut(connection):
        events(connection, ATTACHED, {"event": "progress", "bytes": 4, "blocks": 1})

    with scripted.Peer(cut, *completing([], {"event": "progress", "bytes": 0, "blocks": 0})) as peer:
        write(peer, pipe[0], stop, on_progress=lambda moved: progress.append(moved.bytes))
    assert progress == sorted(progress)
    assert 4 in progress


def test_a_request_whose_answer_was_lost_is_sent_again_as_the_same_transfer(pipe, stop):
    with scripted.Peer(scripted.hanging_up, *completing([])) as peer:
        write(peer, pipe[0], stop)
    first, second = (body(request) for request in peer.requests[:2])
    assert first == second


def test_stopping_fails_the_buffer(pipe, stop):
    def attachment(connection):
        events(connection, ATTACHED)
        stop.request("interrupted")

    said = []

    def outcome(connection):
        connection.read_request().say(scripted.answer(200, b"{}"))
        said.append(body(connection))

    with scripted.Peer(attachment, outcome) as peer:
        result = write(peer, pipe[0], stop)
    assert result[:3] == ("stopped", 0, "interrupted")
    assert said == [{"outcome": "failed", "reason": "interrupted"}]


def test_the_daemons_refusal_is_raised(pipe, stop):
    refusal = scripted.answer(409, b'{"error":{"code":"Conflict","message":"buffer cannot be overwritten"}}')
    with (
        scripted.Peer(scripted.replying(refusal)) as peer,
        pytest.raises(errors.Problem, match="overwritten"),
    ):
        write(peer, pipe[0], stop)


def test_giving_up_on_a_daemon_that_stays_away(pipe, stop):
    with scripted.Peer(scripted.hanging_up) as peer, pytest.raises(streams.GaveUpError):
        write(peer, pipe[0], stop, patience=streams.Patience(0))


def _regular(data):
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        return os.dup(file.fileno())


def _socket(data):
    near, far = socket.socketpair()
    far.sendall(data)
    far.close()
    return near.detach()


@pytest.mark.parametrize("kind", [_regular, _socket, lambda _: os.open("/dev/null", os.O_RDONLY)])
def test_anything_else_is_pumped_through_a_pipe(kind, stop):
    data = b"" if kind not in (_regular, _socket) else b"some bytes"
    fd = kind(data)
    got = []
    attachment, outcome = completing([])

    def reading(connection):
        attachment(connection)
        with os.fdopen(os.dup(connection.fds[0]), "rb") as file:
            got.append(file.read())

    with scripted.Peer(reading, outcome) as peer:
        assert write(peer, fd, stop).state == "complete"
    assert got == [data]
    os.close(fd)


def test_a_read_error_fails_the_buffer_with_the_systems_word(stop):
    fd = os.open("/", os.O_RDONLY)  # reading a directory is an error
    said = []
    attachment, outcome = completing(said)

    def reading(connection):
        attachment(connection)
        with os.fdopen(os.dup(connection.fds[0]), "rb") as file:
            file.read()

    with scripted.Peer(reading, outcome) as peer:
        write(peer, fd, stop)
    assert said == [{"outcome": "failed", "reason": "cannot read the input: Is a directory"}]
    os.close(fd)


def test_a_daemon_that_was_met_is_waited_for_even_if_none_may_be_started(pipe, stop):
    """`ensure` refuses (TYGER_AUTOSTART=0): final before the first answer, the daemon's absence after it."""
    refusals = []

    def refuse():
        refusals.append(1)
        asking.socket_path = second.path
        raise errors.Problem(errors.UNAVAILABLE, "none may be started")

    asking = client.Client("/nowhere/tyger.sock", ensure=refuse)
    with scripted.Peer(*completing([])) as second:
        with pytest.raises(errors.Problem, match="none may be started"):
            writing.write(asking, BUF, pipe[0], verdict=lambda: ("complete", None), stop=stop)

        def cut_and_vanish(connection):
            events(connection, ATTACHED)
            asking.socket_path = "/nowhere/tyger.sock"

        with scripted.Peer(cut_and_vanish) as first:
            asking.socket_path = first.path
            result = writing.write(asking, BUF, pipe[0], verdict=lambda: ("complete", None), stop=stop)
    assert result.state == "complete"
    assert len(refusals) == 2


def test_a_daemon_that_does_not_start_for_its_configuration_is_waited_for(pipe, stop):
    """Its owner mends tygerd.toml meanwhile; a pipe that has begun is not given up for that."""

    def fail():
        asking.socket_path = second.path
        raise errors.Problem(errors.CONFIG, "tygerd.toml line 3: ...")

    def cut_and_vanish(connection):
        events(connection, ATTACHED)
        asking.socket_path = "/nowhere/tyger.sock"

    asking = client.Client("/nowhere/tyger.sock", ensure=fail)
    with scripted.Peer(*completing([])) as second, scripted.Peer(cut_and_vanish) as first:
        asking.socket_path = first.path
        result = writing.write(asking, BUF, pipe[0], verdict=lambda: ("complete", None), stop=stop)
    assert result.state == "complete"

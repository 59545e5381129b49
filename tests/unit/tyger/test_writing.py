"""The client's half of a write against a scripted daemon: verdicts, cuts, every kind of descriptor."""

import json
import os
import socket
import tempfile

import pytest

from tests.support import scripted, scriptedwrites
from tyger import client, errors, writing

ATTACHED = scriptedwrites.ATTACHED
BUF = scriptedwrites.BUF


def test_end_of_file_is_complete_only_by_the_verdict(pipe, stop):
    said, progress = [], []
    with scripted.Peer(
        *scriptedwrites.completing(said, {"event": "progress", "bytes": 3, "blocks": 1})
    ) as peer:
        result = scriptedwrites.write(
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
    asked = scriptedwrites.body(peer.requests[0])
    assert len(asked.pop("id")) == 32
    assert asked == {"buffer": "buf", "blockSize": 100, "flushInterval": 0.5, "run": 7}
    assert (3, None, None) in progress


def test_a_failed_producer_is_passed_on_with_its_reason(pipe, stop):
    said = []
    with scripted.Peer(*scriptedwrites.completing(said)) as peer:
        scriptedwrites.write(peer, pipe[0], stop, verdict=lambda: ("failed", "exit status 3"))
    assert said == [{"outcome": "failed", "reason": "exit status 3"}]


def test_after_a_cut_it_attaches_again_and_asks_its_verdict_once(pipe, stop):
    said, asked = [], []

    def cut(connection):
        scriptedwrites.events(connection, ATTACHED, {"event": "eof", "bytes": 5})

    with scripted.Peer(
        cut,
        scripted.hanging_up,
        scripted.hanging_up,
        scripted.hanging_up,
        scripted.hanging_up,
        *scriptedwrites.completing(said),
    ) as peer:
        result = scriptedwrites.write(
            peer, pipe[0], stop, verdict=lambda: asked.append(1) or ("complete", None)
        )
    assert result.state == "complete"
    assert asked == [1]
    transfer = scriptedwrites.body(peer.requests[0])["id"]
    assert scriptedwrites.target(peer.requests[-2]) == f"/transfers/{transfer}/attach"
    assert scriptedwrites.target(peer.requests[-1]) == f"/transfers/{transfer}/outcome"
    assert len(peer.requests[-2].fds) == 1


@pytest.mark.parametrize("kind", [errors.TRY_AGAIN, errors.UNAVAILABLE])
def test_a_word_that_is_not_heard_is_said_again(pipe, stop, kind):
    """Too many connections, say. To let go of the attachment would fail the buffer."""
    pace = scriptedwrites.PATIENT._replace(again=0.001)
    said = []
    attachment, outcome = scriptedwrites.completing(said)
    no = scripted.replying(scripted.answer(503, json.dumps(errors.Problem(kind, "not now").body()).encode()))
    with scripted.Peer(attachment, no, no, outcome) as peer:
        assert scriptedwrites.write(peer, pipe[0], stop, pace=pace).state == "complete"
    assert said == [{"outcome": "complete"}]


def test_progress_never_goes_back(pipe, stop):
    """A daemon that was restarted begins to count again."""
    progress = []

    def cut(connection):
        scriptedwrites.events(connection, ATTACHED, {"event": "progress", "bytes": 4, "blocks": 1})

    with scripted.Peer(
        cut, *scriptedwrites.completing([], {"event": "progress", "bytes": 0, "blocks": 0})
    ) as peer:
        scriptedwrites.write(peer, pipe[0], stop, on_progress=lambda moved: progress.append(moved.bytes))
    assert progress == sorted(progress)
    assert 4 in progress


def test_a_request_whose_answer_was_lost_is_sent_again_as_the_same_transfer(pipe, stop):
    with scripted.Peer(scripted.hanging_up, *scriptedwrites.completing([])) as peer:
        scriptedwrites.write(peer, pipe[0], stop)
    first, second = (scriptedwrites.body(request) for request in peer.requests[:2])
    assert first == second


def test_the_daemons_refusal_is_raised(pipe, stop):
    refusal = scripted.answer(409, b'{"error":{"code":"Conflict","message":"buffer cannot be overwritten"}}')
    with (
        scripted.Peer(scripted.replying(refusal)) as peer,
        pytest.raises(errors.Problem, match="overwritten"),
    ):
        scriptedwrites.write(peer, pipe[0], stop)


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
    attachment, outcome = scriptedwrites.completing([])

    def reading(connection):
        attachment(connection)
        with os.fdopen(os.dup(connection.fds[0]), "rb") as file:
            got.append(file.read())

    with scripted.Peer(reading, outcome) as peer:
        assert scriptedwrites.write(peer, fd, stop).state == "complete"
    assert got == [data]
    os.close(fd)


def test_a_read_error_fails_the_buffer_with_the_systems_word(stop):
    fd = os.open("/", os.O_RDONLY)  # reading a directory is an error
    said = []
    attachment, outcome = scriptedwrites.completing(said, to_the_end=True)
    with scripted.Peer(attachment, outcome) as peer:
        scriptedwrites.write(peer, fd, stop)
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
    with scripted.Peer(*scriptedwrites.completing([])) as second:
        with pytest.raises(errors.Problem, match="none may be started"):
            writing.write(asking, BUF, pipe[0], verdict=lambda: ("complete", None), stop=stop)

        def cut_and_vanish(connection):
            scriptedwrites.events(connection, ATTACHED)
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
        scriptedwrites.events(connection, ATTACHED)
        asking.socket_path = "/nowhere/tyger.sock"

    asking = client.Client("/nowhere/tyger.sock", ensure=fail)
    with scripted.Peer(*scriptedwrites.completing([])) as second, scripted.Peer(cut_and_vanish) as first:
        asking.socket_path = first.path
        result = writing.write(asking, BUF, pipe[0], verdict=lambda: ("complete", None), stop=stop)
    assert result.state == "complete"

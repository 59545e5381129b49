"""How a write ends: in the spool, stopped, with a code, given up."""

import os

import pytest

from tests.support import scripted, scriptedwrites
from tyger import errors, streams

ATTACHED = scriptedwrites.ATTACHED
COMPLETE = scriptedwrites.COMPLETE


def test_stopping_fails_the_buffer(pipe, stop):
    def attachment(connection):
        scriptedwrites.events(connection, ATTACHED)
        stop.request("interrupted")

    said = []

    def outcome(connection):
        connection.read_request().say(scripted.answer(200, b"{}"))
        said.append(scriptedwrites.body(connection))

    with scripted.Peer(attachment, outcome) as peer:
        result = scriptedwrites.write(peer, pipe[0], stop)
    assert result[:3] == ("stopped", 0, "interrupted")
    assert said == [{"outcome": "failed", "reason": "interrupted"}]


def test_giving_up_on_a_daemon_that_stays_away(pipe, stop):
    with scripted.Peer(scripted.hanging_up) as peer, pytest.raises(streams.GaveUpError):
        scriptedwrites.write(peer, pipe[0], stop, patience=streams.Patience(0))


SPOOLED = {"event": "spooled", "bytes": 5, "blocks": 2}


@pytest.fixture
def ended():
    """The read end of a pipe whose writer has ended."""
    reader, writer = os.pipe()
    os.close(writer)
    yield reader
    os.close(reader)


def test_detaching_returns_when_all_is_in_the_spool(ended, stop, held):
    with scripted.Peer(scriptedwrites.taking(held), scriptedwrites.hearing(held, [], SPOOLED)) as peer:
        result = scriptedwrites.write(peer, ended, stop, detach=True)
    assert result[:2] == ("spooled", 5)
    assert result.transfer == scriptedwrites.body(peer.requests[0])["id"]


def test_without_detaching_the_store_is_waited_for(ended, stop, held):
    moved, waiting = [], "retrying block 41 after 503 ServerBusy"
    shipping = {"event": "progress", "bytes": 5, "shipped": 3, "waiting": waiting}
    with scripted.Peer(
        scriptedwrites.taking(held), scriptedwrites.hearing(held, [], SPOOLED, shipping, COMPLETE)
    ) as peer:
        assert scriptedwrites.write(peer, ended, stop, on_progress=moved.append).state == "complete"
    assert streams.Moved(5, waiting, 3) in moved


CONFLICT = b'{"error":{"code":"Conflict","message":"the buffer is already %s"}}'


@pytest.mark.parametrize("leaves", [True, False])
def test_stopping_behind_the_spool(ended, stop, held, leaves):
    """A Ctrl-C gives the buffer up; a TERM, which a shutdown sends, too, leaves it to the daemon."""

    def on_progress(moved):
        if moved.shipped:
            stop.request("interrupted", leaves=leaves)

    shipping = {"event": "progress", "bytes": 5, "shipped": 3}
    answers = (scripted.answer(409, CONFLICT % b"spooled"), scripted.answer(200, b"{}"))
    cancelling = [] if leaves else [scripted.replying(answer) for answer in answers]
    with scripted.Peer(
        scriptedwrites.taking(held), scriptedwrites.hearing(held, [], SPOOLED, shipping), *cancelling
    ) as peer:
        result = scriptedwrites.write(peer, ended, stop, on_progress=on_progress)
    assert result.state == "stopped"
    assert ("will be stored" in result.reason) is leaves
    if not leaves:
        assert scriptedwrites.target(peer.requests[-1]) == f"/transfers/{result.transfer}/cancel"


def test_stopping_when_it_has_just_become_complete(ended, stop, held):
    conflict = scripted.answer(409, CONFLICT % b"complete")

    def late(connection):
        connection.read_request()
        stop.request("interrupted")
        connection.wait_closed()

    with scripted.Peer(scriptedwrites.taking(held), late, *[scripted.replying(conflict)] * 2) as peer:
        result = scriptedwrites.write(peer, ended, stop)
    assert result[:3] == ("stopped", 0, "interrupted; the buffer is already complete")


def test_the_code_of_a_failure_is_kept(pipe, stop):
    failed = {"event": "failed", "bytes": 0, "reason": "no write permission", "code": "Forbidden"}
    with scripted.Peer(lambda connection: scriptedwrites.events(connection, ATTACHED, failed)) as peer:
        result = scriptedwrites.write(peer, pipe[0], stop)
    assert result[:4] == ("failed", 0, "no write permission", "Forbidden")


def test_an_outcome_that_comes_too_late_gives_way_to_how_it_ended(ended, stop, held):
    failed = {"event": "failed", "reason": "cancelled by user"}
    late = scriptedwrites.hearing(
        held, [], failed, answer=CONFLICT % b"failed: cancelled by user", status=409
    )
    with scripted.Peer(scriptedwrites.taking(held), late) as peer:
        assert scriptedwrites.write(peer, ended, stop)[:3] == ("failed", 0, "cancelled by user")


def test_giving_up_says_what_becomes_of_the_buffer(pipe, stop):
    def cut(connection):
        scriptedwrites.events(connection, ATTACHED)

    with (
        scripted.Peer(cut) as peer,
        pytest.raises(errors.Problem, match="daemon marks the buffer as failed") as caught,
    ):
        scriptedwrites.write(peer, pipe[0], stop, patience=streams.Patience(0.001))
    assert caught.value.exit_code == 69


def test_giving_up_behind_our_word(pipe, stop):
    def cut(connection):
        scriptedwrites.events(connection, ATTACHED, {"event": "eof", "bytes": 0})

    with (
        scripted.Peer(cut, scripted.hanging_up, *[scripted.hanging_up] * 3) as peer,
        pytest.raises(errors.Problem, match=r"`tyger transfer show \w{32}` says, when it is back, whether"),
    ):
        scriptedwrites.write(peer, pipe[0], stop, patience=streams.Patience(0.001))

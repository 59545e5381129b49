"""Snapshots and log lines across a daemon that goes away in the middle."""

import json

import pytest

from tests.support import scripted
from tyger import errors, streams
from tyger.cli import output, runfollow, session


def invocation(peer):
    return session.Session(output.Console({}), {"TYGER_SOCKET": peer.path, "TYGER_AUTOSTART": "0"})


@pytest.fixture
def stop():
    stop = streams.Stop()
    yield stop
    stop.close()


def line(status):
    return json.dumps({"id": 3, "status": status}).encode() + b"\n"


def cut_after(*lines):
    """A script: answer with these lines, then break off."""

    def script(connection):
        connection.read_request().say(scripted.CHUNKED)
        for each in lines:
            connection.chunk(each)

    return script


def ended_after(*lines):
    """A script: answer with these lines and the end of the body."""

    def script(connection):
        cut_after(*lines)(connection)
        connection.say(b"0\r\n\r\n")

    return script


def test_watching_goes_on_after_a_cut_and_after_an_early_end(stop):
    scripts = (
        cut_after(line("Pending")),
        ended_after(line("Running")),
        cut_after(line("Running"), line("Failed")),
    )
    with scripted.Peer(*scripts) as peer:
        seen = [run["status"] for run in runfollow.snapshots(invocation(peer), 3, stop)]
    assert seen == ["Pending", "Running", "Running", "Failed"]


def test_watching_stops_when_told(stop):
    def script(connection):
        cut_after(line("Running"))(connection)
        connection.wait_closed()

    with scripted.Peer(script) as peer:
        snapshots = runfollow.snapshots(invocation(peer), 3, stop)
        assert next(snapshots)["status"] == "Running"
        stop.request("enough")
        assert list(snapshots) == []


def test_what_is_no_json_is_told(stop):
    with (
        scripted.Peer(cut_after(b"<html>\n")) as peer,
        pytest.raises(errors.Problem, match="unable to understand"),
    ):
        list(runfollow.snapshots(invocation(peer), 3, stop))


def test_a_daemon_that_was_never_there_is_not_waited_for(stop):
    nowhere = session.Session(output.Console({}), {"TYGER_SOCKET": "/nonexistent/s", "TYGER_AUTOSTART": "0"})
    nowhere.client.ensure = lambda: None
    with pytest.raises(errors.Problem, match="no daemon answers"):
        list(runfollow.snapshots(nowhere, 3, stop))


def test_a_daemon_that_stays_away_is_not_waited_for_for_ever(stop, monkeypatch):
    monkeypatch.setenv("TYGER_AUTOSTART", "0")
    with scripted.Peer(cut_after(line("Running"))) as peer:
        following = runfollow.snapshots(invocation(peer), 3, stop, streams.Patience(0.001))
        assert next(following)["status"] == "Running"
        with pytest.raises(errors.Problem, match=r"it was waited for") as caught:
            list(following)
    assert caught.value.exit_code == 69


def lines_of(peer, stop, **options):
    seen = []
    options = {"timestamps": False, "is_over": lambda: True} | options
    runfollow.log_lines(invocation(peer), 3, stop, seen.append, **options)
    return seen


def at(second, text=b"", fraction=b""):
    return b"2026-01-31T00:00:%02d%sZ %s" % (second, fraction, text)


def test_a_log_goes_on_where_it_was_cut(stop):
    scripts = (
        cut_after(at(1, b"a\n"), at(2, b"b c\n"), at(2, b"d\n"), at(2, b"ha")),
        ended_after(at(2, b"b c\n"), at(2, b"d\n"), at(2, b"half a line\n"), at(3, b"e\n")),
        ended_after(at(3, b"e\n")),
    )
    with scripted.Peer(*scripts) as peer:
        seen = lines_of(peer, stop, tail=5, since="2026-01-30T00:00:00Z")
    assert seen == [b"a", b"b c", b"d", b"half a line", b"e"]
    first, second, _ = (request.head.split(b" ")[1] for request in peer.requests)
    assert first.endswith(b"timestamps=true&tailLines=5&since=2026-01-30T00%3A00%3A00Z")
    assert second.endswith(b"follow=true&timestamps=true&since=2026-01-31T00%3A00%3A01.999999999Z")


def test_a_log_that_ends_before_its_run_is_asked_for_again(stop):
    over = iter([False, True])
    scripts = (
        ended_after(at(1, b"a\n")),
        ended_after(at(1, b"a\n"), at(2, b"b\n")),
        ended_after(at(2, b"b\n"), at(3, b"c\n")),  # the run ended while nobody followed its log
    )
    with scripted.Peer(*scripts) as peer:
        seen = lines_of(peer, stop, timestamps=True, is_over=lambda: next(over))
    assert seen == [at(1, b"a"), at(2, b"b"), at(3, b"c")]


def test_an_unknown_run(stop):
    with (
        scripted.Peer(scripted.replying(scripted.answer(404))) as peer,
        pytest.raises(errors.Problem, match="The run '3' was not found"),
    ):
        lines_of(peer, stop)


def test_patience_says_once_that_it_waits(stop, capfd):
    with scripted.Peer(scripted.replying(scripted.answer(200, b"{}", b"Tyger-Version: 1"))) as peer:
        met = invocation(peer)
        met.ask("GET", "/metadata")
    patience = runfollow.Patience(met, stop)
    stop.request("do not sleep in this test")
    for _ in range(6):
        assert not patience.again(errors.Problem(errors.UNAVAILABLE, "gone"))
    patience.reached()
    said = capfd.readouterr().err
    assert said.count("The daemon is away; waiting for it") == 1
    assert said.count("The daemon is back") == 1

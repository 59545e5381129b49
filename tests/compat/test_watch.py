"""Watching a run, contract rest-api.md 6.6: a line of JSON now, after every change, and none after its end."""

import contextlib
import json
import signal
import threading

import pytest

from tests.support import exchanges, runs
from tests.support.answers import JSON, answer, ask

V = "api-version=1.0"
CONFIG = runs.CONFIG


def test_from_the_beginning_to_the_end(talk, host):
    with runs.gate(host) as gate, exchanges.talk(host.socket) as other:
        made = runs.create(talk, runs.shell(gate.wait + "; exit 3", {"tags": {"a": "b"}}))
        other.hold(ask("GET", f"/runs/{made['id']}?watch=TRUE&{V}"))
        # The first line at once, while nothing happens.
        other.hear_head(f"< 200 OK\n< {JSON}\n< Transfer-Encoding: chunked\n")
        first = json.loads(other.line())
        assert (first["id"], first["status"] in {"Pending", "Running"}) == (made["id"], True)
        seen = [first]
        while seen[-1]["status"] != "Running":
            seen.append(json.loads(other.line()))
        assert seen[-1] == runs.get(talk, made["id"])
        assert "runningCount" not in seen[-1]
        # A change of tags, and one that changes nothing, which is not told twice.
        for tags, told in (({"c": "d"}, True), ({"c": "d"}, False), ({"e": "f"}, True)):
            talk.hold(
                ask("PUT", f"/runs/[[id]]?{V}", {"tags": tags})
                + answer("200 OK", "[[:any]]", "ETag: [[:etag]]")
            )
            if told:  # and heard before the next one: who is late is told only the last of them
                assert json.loads(other.line())["tags"] == tags
        gate.open()
        last = json.loads(other.line())
        assert (last["status"], last["statusReason"]) == ("Failed", "Main exited with code 3")
        # Nothing after the end, and the connection can be used again.
        assert other.line() == ""
        assert last == runs.get(other, made["id"])
    etags = [snapshot["eTag"] for snapshot in seen] + [last["eTag"]]
    assert len(set(etags)) == len(etags)


def test_what_has_ended_is_told_once(talk):
    made = runs.create(talk, runs.shell("true"))
    last = runs.ended(talk, made["id"])
    assert list(runs.watch(talk, made["id"])) == [last] == [runs.get(talk, made["id"])]


def test_the_lines_are_what_the_run_is_shown_as(talk):
    """Byte by byte: `run watch` of the original drops repeats by comparing lines."""
    made = runs.create(talk, runs.shell("true"))
    runs.ended(talk, made["id"])
    talk.hold(
        ask("GET", f"/runs/[[id]]?{V}")
        + answer("200 OK", "[[shown:any]]")
        + ask("GET", f"/runs/[[id]]?watch=true&{V}")
        + f"< 200 OK\n< {JSON}\n< Transfer-Encoding: chunked\n<\n< [[shown]]\n<\n"
    )


def test_cancelling_ends_the_stream_at_once(talk, host):
    """The status says so while the job still has its grace."""
    with exchanges.talk(host.socket) as other:
        made = runs.create(talk, runs.shell("trap '' TERM; echo deaf; sleep 100"))
        snapshots = runs.watch(other, made["id"])
        while next(snapshots)["status"] != "Running":
            pass
        talk.hold(ask("POST", f"/runs/[[id]]/cancel?{V}") + answer("202 Accepted", "[[:any]]"))
        assert [one["status"] for one in snapshots] == ["Canceled"]


def test_many_watchers_and_one_that_leaves(talk, host):
    with runs.gate(host) as gate, contextlib.ExitStack() as stack:
        made = runs.create(talk, runs.shell(gate.wait))
        others = [stack.enter_context(exchanges.talk(host.socket)) for _ in range(20)]
        streams = [runs.watch(other, made["id"]) for other in others]
        for stream in streams:
            next(stream)
        others.pop().close()
        gate.open()
        lasts = [list(stream)[-1] for stream in streams[:-1]]
    assert lasts == [runs.get(talk, made["id"])] * 19
    assert lasts[0]["status"] == "Succeeded"


def test_a_watcher_that_does_not_read_holds_nobody_up(talk, host):
    """Its socket fills; then there is one snapshot for all that it missed."""
    large = "x" * 800_000
    with runs.gate(host) as gate, exchanges.talk(host.socket) as other:
        made = runs.create(talk, {"job": {"codespec": runs.script(gate.wait, identity=large)}})
        other.hold(ask("GET", f"/runs/{made['id']}?watch=true&{V}"))
        for number in range(9):
            talk.hold(
                ask("PUT", f"/runs/[[id]]?{V}", {"tags": {"n": str(number)}})
                + answer("200 OK", "[[:any]]", "ETag: [[:etag]]")
            )
        gate.open()
        assert runs.ended(talk, made["id"])["status"] == "Succeeded"
        other.hear_head(f"< 200 OK\n< {JSON}\n< Transfer-Encoding: chunked\n")
        lines = other.rest().splitlines()
    assert len(lines) < 9
    assert json.loads(lines[-1])["status"] == "Succeeded"


@pytest.mark.parametrize("sig", [signal.SIGKILL, signal.SIGTERM])
def test_a_stream_that_the_daemon_cuts_has_no_proper_end(host, sig):
    """A client must know a cut from an end: it asks the next daemon."""
    with runs.gate(host) as gate, exchanges.talk(host.socket) as talk:
        with exchanges.talk(host.socket) as other:
            made = runs.create(talk, runs.shell(gate.wait))
            snapshots = runs.watch(other, made["id"])
            while next(snapshots)["status"] != "Running":
                pass
            host.restart(sig)
            assert other.closed()
        threading.Thread(target=gate.open).start()
        with exchanges.talk(host.socket) as again:
            assert runs.ended(again, made["id"])["status"] == "Succeeded"

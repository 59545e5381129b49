"""`tyger transfer watch`: to the end of a transfer, as JSON and for people, over a daemon that goes away."""

import json
import os
import select

import pytest

from tests.support import cli, scripted

RUNNING = {"id": "t", "kind": "write", "buffer": "b", "state": "running", "bytes": 2048}


def test_lines_of_json(daemon):
    daemon.change("t", **RUNNING)
    with cli.start(daemon.path, "transfer", "watch", "t") as process:
        assert json.loads(process.stdout.readline()) == RUNNING
        daemon.change("t", waiting="paused", paused=True, shipped=7)
        assert json.loads(process.stdout.readline()) == RUNNING | {
            "waiting": "paused",
            "paused": True,
            "shipped": 7,
        }
        daemon.change("t", unknown=1)  # nothing that is shown
        daemon.change("t", state="complete", waiting=None, paused=None)
        assert json.loads(process.stdout.readline())["state"] == "complete"
        assert process.stdout.read() == b""
        assert process.wait(60) == 0


def test_one_that_fails(daemon):
    daemon.change("t", **RUNNING | {"state": "failed", "reason": "cancelled by user"})
    done = cli.run(daemon.path, "transfer", "watch", "t")
    assert done.code == 74
    assert json.loads(done.out)["reason"] == "cancelled by user"
    assert done.err == "Error: the transfer has failed: cancelled by user\n"


def test_an_unknown_one(tyger):
    done = tyger("transfer", "watch", "nope")
    assert (done.code, done.err) == (66, "Error: NotFound: The resource was not found\n")


def test_for_people(daemon):
    daemon.change("t", **RUNNING)
    with cli.start(daemon.path, "transfer", "watch", "t", "--output", "text") as process:
        assert process.stdout.readline().split(b" ", 1)[1] == b"running 2.0KiB\n"
        daemon.change("t", bytes=4096)  # the bytes alone are no line
        daemon.change("t", shipped=1024, waiting="retrying block 1 after 503 ServerBusy")
        said = b"running 4.0KiB, shipped 1.0KiB: retrying block 1 after 503 ServerBusy\n"
        assert process.stdout.readline().split(b" ", 1)[1] == said
        daemon.change("t", waiting="retrying block 2 after 503 ServerBusy")
        daemon.change("t", waiting=None, state="complete", shipped=4096)
        assert process.stdout.readline().split(b" ", 1)[1] == b"complete 4.0KiB, shipped 4.0KiB\n"
        assert process.wait(60) == 0


def test_at_a_terminal(daemon):
    daemon.change("t", **RUNNING)
    leader, follower = os.openpty()
    with cli.start(
        daemon.path, "transfer", "watch", "t", stdout=follower, stderr=follower, environment={"TERM": "xterm"}
    ) as process:
        os.close(follower)
        shown = b""
        while shown.count(b"running 2.0KiB") < 2:  # the line, and the one that stays
            select.select([leader], [], [], 60)
            shown += os.read(leader, 4096)
        daemon.change("t", state="complete")
        assert process.wait(60) == 0
    os.close(leader)


@pytest.mark.parametrize("end", [b"", b"0\r\n\r\n"])
def test_a_daemon_that_goes_away_is_waited_for(end):
    def cut(connection):
        connection.read_request().say(scripted.CHUNKED)
        connection.chunk(json.dumps(RUNNING).encode() + b"\n")
        connection.say(end)

    def whole(connection):
        connection.read_request().say(scripted.CHUNKED)
        connection.chunk(json.dumps(RUNNING | {"state": "complete"}).encode() + b"\n")

    with scripted.Peer(cut, whole) as peer:
        done = cli.run(peer.path, "transfer", "watch", "t")
    assert done.code == 0
    assert [json.loads(line)["state"] for line in done.out.splitlines()] == ["running", "complete"]


def test_a_daemon_that_was_never_there(tmp_path):
    assert cli.run(str(tmp_path / "s"), "transfer", "watch", "t").code == 69

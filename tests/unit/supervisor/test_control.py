"""What peers may send."""

from __future__ import annotations

from tests.unit.supervisor import conftest


def test_unknown_commands_and_garbage_do_no_harm(supervise):
    run = supervise("sleep 60")
    events = run.connect()
    run.command(command="dance")
    run.sock.sendall(b"not json\n[1]\n")
    run.command(command="cancel", reason="enough")
    said = [event["message"] for event in events if event["event"] == "error"]
    assert said == ["unknown command 'dance'", "not a command", "not a command"]
    assert run.wait().reason == "enough"


def test_a_peer_that_leaves_does_no_harm(supervise):
    run = supervise("echo up; sleep 60")
    conftest.until_log(run, run.connect(), "up")
    run.close_connection()
    run.connect()
    run.command(command="cancel")
    assert run.wait().status == "Canceled"

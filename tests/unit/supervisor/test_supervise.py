"""Real jobs under a real supervisor: how they end, and who ends them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time

from tests.unit.supervisor import conftest


def test_main_fails(supervise, daemon):
    patient = conftest.changed(conftest.PATIENT)
    status = supervise("echo a > $OUT_PIPE; exit 3", outputs=["out", "never"], under=patient).wait()
    assert (status.status, status.reason, status.exit_code) == ("Failed", "Main exited with code 3", 3)
    failed = ("failed", "Main exited with code 3")
    assert daemon.outcomes == {"buffer-out": failed, "buffer-never": failed}


def test_main_dies_of_a_signal(supervise):
    status = supervise("kill -SEGV $$").wait()
    assert (status.status, status.exit_code) == ("Failed", 139)
    assert status.reason == "Main exited with code 139 (SIGSEGV)"


def test_a_line_of_two_megabytes_stays_whole(supervise):
    run = supervise("head -c 2000000 /dev/zero | tr '\\0' x; echo; printf end")
    assert run.wait().status == "Succeeded"
    assert run.log() == [("O", "x" * 2_000_000), ("o", "end")]


def test_timeout(supervise, daemon):
    status = supervise("exec sleep 60", outputs=["out"], timeout=0.1).wait()
    reason = "DeadlineExceeded: the run was active longer than its timeout of 0.1 seconds"
    assert (status.status, status.reason) == ("Failed", reason)
    assert daemon.outcomes["buffer-out"] == ("failed", reason)


def micros(seconds):
    """A moment so far from now."""
    return time.time_ns() // 1000 + int(seconds * 1_000_000)


def test_the_deadline_counts_from_the_runs_creation(supervise):
    hastened = conftest.changed(conftest.HASTENED)
    run = supervise("echo up; exec sleep 60", timeout=60, deadline=micros(3000), under=hastened)
    conftest.until_log(run, run.connect(), "up")
    run.an_hour_passes()
    status = run.wait()
    reason = "DeadlineExceeded: the run was active longer than its timeout of 60 seconds"
    assert (status.status, status.reason) == ("Failed", reason)
    assert status.started_at is not None


def test_a_deadline_that_has_passed_before_the_job_starts(supervise, daemon):
    run = supervise("echo ran", outputs=["out"], timeout=60, deadline=micros(-1))
    status = run.wait()
    assert (status.status, status.reason) == ("Canceled", "Run exceeded its timeout while pending")
    assert (status.started_at, status.outputs, run.log()) == (None, {"out": "waiting"}, [])
    assert daemon.outcomes == {}


def test_cancel_gives_the_whole_tree_a_grace(supervise):
    run = supervise(
        "trap 'echo outer' TERM; (trap 'echo inner; exit 0' TERM; echo up; sleep 60 & wait) & wait; wait"
    )
    events = run.connect()
    assert next(events) == {"event": "hello", "protocol": "tyger-supervisor", "version": 1, "run": 1}
    conftest.until_log(run, events, "up")
    run.command(command="cancel", reason="Canceled by user")
    last = list(events)[-1]
    assert last["event"] == "finished"
    status = run.wait()
    assert last["status"] == status._asdict()
    assert (status.status, status.reason) == ("Canceled", "Canceled by user")
    assert sorted(text for _, text in run.log()) == ["inner", "outer", "up"]


def test_a_canceled_run_waits_for_nobody(supervise, daemon):
    """Its daemon is away and does not come back; one whose disk is full does not take the rest either."""
    os.unlink(daemon.socket)
    run = supervise("exec 3> $OUT_PIPE; echo some >&3; echo up; exec sleep 60", outputs=["out"])
    events = run.connect()
    conftest.until_log(run, events, "up")
    run.command(command="cancel", reason="Canceled by user")
    status = run.wait()
    assert (status.status, status.outputs) == ("Canceled", {"out": "failed"})


def test_cancel_kills_what_ignores_term(supervise):
    run = supervise("trap '' TERM; echo up; while :; do sleep 60; done", cancel_grace=0.1)
    events = run.connect()
    conftest.until_log(run, events, "up")
    run.command(command="cancel")
    status = run.wait()
    assert (status.status, status.exit_code) == ("Canceled", 137)


def test_a_command_that_does_not_exist(supervise):
    status = supervise(["/no/such/program"], outputs=["out"]).wait()
    assert (status.status, status.reason) == (
        "Failed",
        "cannot start '/no/such/program': No such file or directory",
    )
    assert status.started_at is None


def test_a_working_directory_that_does_not_exist(supervise):
    status = supervise("true", cwd="/no/such/place").wait()
    words = "cannot change to the working directory '/no/such/place': No such file or directory"
    assert status.reason == words


def test_sigterm_stops_the_job(supervise):
    run = supervise("echo up; sleep 60")
    conftest.until_log(run, run.connect(), "up")
    run.process.send_signal(signal.SIGTERM)
    assert run.wait().reason == "the supervisor of the run was stopped (SIGTERM)"


def test_a_run_whose_directory_is_removed_is_given_up(supervise):
    run = supervise("echo up; sleep 600")
    events = run.connect()
    conftest.until_log(run, events, "up")
    look_around_after_removal(run)
    assert run.process.wait(60) == 0


def look_around_after_removal(run):
    """It looks around whenever it wakes, which may have happened by itself."""
    shutil.rmtree(run.directory)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        run.command(command="state")


def test_a_removed_run_does_not_wait_for_a_daemon_to_take_its_output(supervise, daemon):
    os.rename(daemon.socket, f"{daemon.socket}.away")
    run = supervise("echo up; sleep 600", outputs=["out"])
    events = run.connect()
    conftest.until_log(run, events, "up")
    look_around_after_removal(run)
    assert run.process.wait(60) == 0


def test_a_run_ends_when_its_daemon_is_back(supervise, daemon):
    os.rename(daemon.socket, f"{daemon.socket}.away")
    run = supervise("exit 0", outputs=["out"])
    conftest.until_exited(run.connect())
    os.rename(f"{daemon.socket}.away", daemon.socket)
    assert run.wait().status == "Succeeded"


def test_cancelling_ends_the_wait_for_a_daemon(supervise, daemon):
    os.rename(daemon.socket, f"{daemon.socket}.away")
    run = supervise("exit 0", outputs=["out"])
    conftest.until_exited(run.connect())
    run.command(command="cancel", reason="enough")
    status = run.wait()
    assert (status.status, status.reason, status.outputs) == ("Canceled", "enough", {"out": "failed"})


def test_replicas_are_counted(supervise, tmp_path):
    for number in range(2):
        os.mkfifo(tmp_path / f"gate{number}")
    run = supervise(f"read line < {tmp_path}/gate$REPLICA", replicas=2)
    events = run.connect()
    for event in events:
        if event.get("running") == 2:
            break
    for number in range(2):
        (tmp_path / f"gate{number}").write_text("\n")
    assert [event["running"] for event in events if "running" in event][-1] == 0
    assert run.wait().status == "Succeeded"


def test_a_replica_that_fails_stops_the_others(supervise):
    run = supervise("[ $REPLICA = 0 ] || exit 4; trap 'echo bye; exit 0' TERM; sleep 600 & wait", replicas=2)
    status = run.wait()
    assert (status.status, status.reason, status.exit_code) == ("Failed", "Main exited with code 4", 4)

"""A job's named pipes, with a fake daemon at the other end of the transfers."""

from __future__ import annotations

import os

import pytest

from tests.unit.supervisor import conftest
from tygerd.supervisor import pipes


def test_bytes_go_through_the_job(supervise, daemon):
    daemon.buffers["buffer-in"] = os.urandom(3_000_000)
    run = supervise("cat $IN_PIPE > $OUT_PIPE; echo done; echo trouble >&2", inputs=["in"], outputs=["out"])
    status = run.wait()
    assert (status.status, status.reason, status.exit_code) == ("Succeeded", None, 0)
    assert daemon.written["buffer-out"] == daemon.buffers["buffer-in"]
    assert daemon.outcomes["buffer-out"] == ("complete", None)
    assert sorted(run.log()) == [("E", "trouble"), ("O", "done")]
    assert (status.inputs, status.outputs) == ({"in": "complete"}, {"out": "complete"})
    assert status.started_at is not None
    assert status.started_at <= status.finished_at


def test_pipes_that_are_never_opened(supervise, daemon):
    daemon.buffers["buffer-in"] = b"x"
    status = supervise("exit 0", inputs=["in"], outputs=["out"]).wait()
    assert status.status == "Succeeded"
    assert status.inputs == {"in": "skipped"}
    assert daemon.written["buffer-out"] == b""
    assert daemon.outcomes["buffer-out"] == ("complete", None)


@pytest.mark.parametrize("script", ["echo a > new; mv -f new $OUT_PIPE", "rm $OUT_PIPE; echo a > $OUT_PIPE"])
def test_an_output_in_whose_place_the_job_puts_a_file(supervise, daemon, script):
    status = supervise(script, outputs=["out"]).wait()
    assert (status.status, status.reason) == ("Failed", f"buffer 'out': {pipes.REPLACED}")
    assert daemon.outcomes["buffer-out"] == ("failed", status.reason)


def test_an_ephemeral_output_in_whose_place_the_job_puts_a_file(supervise):
    run = supervise("rm $OUT_PIPE; ln -s /etc/passwd $OUT_PIPE", outputs=["out"], buffers=EPHEMERAL)
    assert run.wait().reason == f"buffer 'out': {pipes.REPLACED}"


def test_a_pipe_that_the_job_removes(supervise, daemon):
    """Nothing was meant for it; and why the run failed is what went wrong first."""
    assert supervise("rm $OUT_PIPE", outputs=["out"]).wait().status == "Succeeded"
    failed = supervise("mv -f spec.json $OUT_PIPE; exit 3", outputs=["out"], run=2).wait()
    assert failed.reason == "Main exited with code 3"


def test_pipes_that_the_job_closes_to_everybody(supervise, daemon):
    """As root, who may open all, we give that up first."""
    override = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    daemon.buffers["buffer-in"] = b"x"
    status = supervise(
        "chmod 0 $IN_PIPE; echo a > $OUT_PIPE; chmod 0 $OUT_PIPE",
        inputs=["in"],
        outputs=["out"],
        under=override if os.getuid() == 0 else (),
    ).wait()
    assert (status.status, status.reason, status.inputs) == ("Succeeded", None, {"in": "skipped"})
    assert daemon.written["buffer-out"] == b"a\n"


def test_exits_before_it_has_read_its_input(supervise, daemon):
    daemon.buffers["buffer-in"] = bytes(5_000_000)
    status = supervise("head -c 10 $IN_PIPE > /dev/null", inputs=["in"]).wait()
    assert (status.status, status.inputs) == ("Succeeded", {"in": "closed"})


def test_an_input_that_is_opened_again_goes_on(supervise, daemon):
    daemon.buffers["buffer-in"] = b"a" * 4_000_000 + b"b"
    script = "head -c 1000000 $IN_PIPE | wc -c; cat $IN_PIPE | tail -c 1"
    run = supervise(script, inputs=["in"])
    assert run.wait().status == "Succeeded"
    assert run.log() == [("O", "1000000"), ("o", "b")]


def test_an_input_that_has_ended_can_be_opened_again(supervise, daemon, tmp_path):
    """All of it is in the pipe when the job opens it for the second time."""
    os.mkfifo(tmp_path / "gate")
    daemon.buffers["buffer-in"] = b"onetwo"
    run = supervise(f"head -c 3 $IN_PIPE; echo; cat {tmp_path}/gate; cat $IN_PIPE", inputs=["in"])
    conftest.until_log(run, run.connect(), "one")
    (tmp_path / "gate").write_bytes(b"")
    status = run.wait()
    assert (status.status, status.inputs) == ("Succeeded", {"in": "complete"})
    assert run.log() == [("O", "one"), ("o", "two")]


def test_what_a_job_leaves_in_its_pipe_is_not_its_whole_input(supervise, daemon):
    daemon.buffers["buffer-in"] = b"onetwo"
    status = supervise("head -c 3 $IN_PIPE", inputs=["in"]).wait()
    assert (status.status, status.inputs) == ("Succeeded", {"in": "closed"})


def test_a_failed_input_fails_the_run_before_the_job_sees_its_end(supervise, daemon):
    daemon.buffers["buffer-in"] = b"half"
    daemon.truncated["buffer-in"] = "its writer failed"
    run = supervise(
        "trap '' TERM; cat $IN_PIPE > $OUT_PIPE", inputs=["in"], outputs=["out"], cancel_grace=0.1
    )
    status = run.wait()
    assert (status.status, status.reason) == ("Failed", "buffer 'in': its writer failed")
    assert daemon.outcomes["buffer-out"] == ("failed", "buffer 'in': its writer failed")


def test_an_output_that_the_daemon_refuses(supervise, daemon):
    daemon.refused["buffer-out"] = "the buffer was already written"
    status = supervise("echo a > $OUT_PIPE; sleep 60", outputs=["out"]).wait()
    assert (status.status, status.reason) == ("Failed", "buffer 'out': the buffer was already written")


def test_writing_again_after_end_of_file_fails_the_run(supervise, daemon, tmp_path):
    os.mkfifo(tmp_path / "go")
    run = supervise(
        "echo a > $OUT_PIPE; read go < ../go; echo b > $OUT_PIPE; sleep 60",
        outputs=["out"],
        under=conftest.changed(conftest.PATIENT),  # else its end may be taken for good before that
    )
    daemon.wait_for_end("buffer-out")
    (tmp_path / "go").write_text("\n")
    reason = (
        "buffer 'out': the job wrote to its pipe again after closing it: end of file had ended the buffer"
    )
    status = run.wait()
    assert (status.status, status.reason) == ("Failed", reason)
    assert daemon.outcomes["buffer-out"] == ("failed", reason)


def test_an_output_is_complete_when_main_outlives_its_end(supervise, daemon, tmp_path):
    os.mkfifo(tmp_path / "go")
    run = supervise("echo a > $OUT_PIPE; read go < ../go; : > $OUT_PIPE; exit 1", outputs=["out"])
    daemon.wait_for_outcome("buffer-out")
    assert daemon.outcomes["buffer-out"] == ("complete", None)
    (tmp_path / "go").write_text("\n")
    assert run.wait().reason == "Main exited with code 1"


def test_an_input_that_does_not_exist(supervise):
    status = supervise("read line < $IN_PIPE", inputs=["in"]).wait()
    assert status.reason == "buffer 'in': The resource was not found"


def test_every_replica_reads_all_of_an_input(supervise, daemon):
    daemon.buffers["buffer-in"] = bytes(1_000_000)
    run = supervise("wc -c < $IN_PIPE", inputs=["in"], replicas=3)
    status = run.wait()
    assert (status.status, status.inputs) == ("Succeeded", {"in": "complete"})
    assert sorted(text for _, text in run.log()) == [f"[job-{number}] 1000000" for number in range(3)]


def test_one_replica_may_write_an_output(supervise, daemon):
    run = supervise("[ $REPLICA = 0 ] || echo $REPLICA > $OUT_PIPE", outputs=["out", "never"], replicas=2)
    status = run.wait()
    assert (status.status, status.outputs) == ("Succeeded", {"out": "complete", "never": "complete"})
    assert (daemon.written["buffer-out"], daemon.written["buffer-never"]) == (b"1\n", b"")


def test_two_replicas_cannot_write_one_output(supervise):
    run = supervise("exec 3> $OUT_PIPE; echo up >&3; exec sleep 600", outputs=["out"], replicas=2)
    status = run.wait()
    reason = "buffer 'out': more than one replica of the job opened it for writing"
    assert (status.status, status.reason, status.outputs) == ("Failed", reason, {"out": "failed"})


# --- ephemeral buffers -----------------------------------------------------------------------------------

EPHEMERAL = {"in": "run-1-temp-in", "out": "run-1-temp-out"}


def test_ephemeral_buffers(supervise, daemon):
    daemon.buffers["run-1-temp-in"] = os.urandom(300_000)
    script = "cat $IN_PIPE > $OUT_PIPE"
    status = supervise(script, inputs=["in"], outputs=["out"], buffers=EPHEMERAL).wait()
    assert (status.status, status.inputs, status.outputs) == (
        "Succeeded",
        {"in": "complete"},
        {"out": "complete"},
    )
    assert daemon.written["run-1-temp-out"] == daemon.buffers["run-1-temp-in"]
    assert daemon.outcomes["run-1-temp-out"] == ("complete", None)


def test_ephemeral_buffers_that_are_never_opened(supervise, daemon):
    """The daemon finds out by itself, and tells who waits."""
    status = supervise("exit 0", inputs=["in"], outputs=["out"], buffers=EPHEMERAL).wait()
    assert (status.status, status.inputs, status.outputs) == (
        "Succeeded",
        {"in": "skipped"},
        {"out": "complete"},
    )
    assert daemon.written == {}


def test_an_ephemeral_output_that_nobody_reads_has_the_runs_time(supervise, daemon):
    daemon.unread.add("run-1-temp-out")
    hastened = conftest.changed(conftest.HASTENED)
    run = supervise("echo x > $OUT_PIPE", outputs=["out"], buffers=EPHEMERAL, timeout=60, under=hastened)
    conftest.until_exited(run.connect())
    run.an_hour_passes()
    status = run.wait()
    assert (status.status, status.exit_code, status.outputs) == ("Failed", 0, {"out": "failed"})
    assert status.reason == (
        "DeadlineExceeded: nobody has read all of the ephemeral buffer 'out' within the run's timeout of"
        " 60 seconds"
    )


def test_a_job_that_fails_does_not_wait_for_a_reader(supervise, daemon):
    daemon.unread.add("run-1-temp-out")
    patient = conftest.changed(conftest.PATIENT)
    run = supervise("echo x > $OUT_PIPE; exit 3", outputs=["out"], buffers=EPHEMERAL, under=patient)
    status = run.wait()
    assert (status.status, status.reason) == ("Failed", "Main exited with code 3")

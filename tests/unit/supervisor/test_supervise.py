"""Real jobs under a real supervisor, with a fake daemon at the other end of its transfers."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import textwrap

import pytest

from tygerd.supervisor import spec

PYTHON = sys.executable


def python(text: str) -> list[str]:
    return [PYTHON, "-S", "-c", textwrap.dedent(text)]


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


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


def test_main_fails(supervise, daemon):
    status = supervise("echo a > $OUT_PIPE; exit 3", outputs=["out", "never"]).wait()
    assert (status.status, status.reason, status.exit_code) == ("Failed", "Main exited with code 3", 3)
    failed = ("failed", "Main exited with code 3")
    assert daemon.outcomes == {"buffer-out": failed, "buffer-never": failed}


def test_main_dies_of_a_signal(supervise):
    status = supervise("kill -SEGV $$").wait()
    assert (status.status, status.exit_code) == ("Failed", 139)
    assert status.reason == "Main exited with code 139 (SIGSEGV)"


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
    run = supervise("echo a > $OUT_PIPE; read go < ../go; echo b > $OUT_PIPE; sleep 60", outputs=["out"])
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


def test_a_line_of_two_megabytes_stays_whole(supervise):
    run = supervise(python("import sys; sys.stdout.write('x' * 2_000_000 + '\\nend')"))
    assert run.wait().status == "Succeeded"
    assert run.log() == [("O", "x" * 2_000_000), ("o", "end")]


@pytest.mark.parametrize("how", ["fork", "double fork and setsid"])
def test_children_that_outlive_main_are_killed(supervise, daemon, how):
    script = """
        import os, sys, time
        out = open(os.environ["OUT_PIPE"], "w")
        r, w = os.pipe()
        if os.fork() == 0:
            if "setsid" in sys.argv[1]:
                os.setsid()
                if os.fork():
                    os._exit(0)
            os.write(w, b"%d" % os.getpid())
            time.sleep(600)
        print(os.read(r, 100).decode(), flush=True)
    """
    run = supervise([*python(script), how], outputs=["out"])
    status = run.wait()
    assert (status.status, status.outputs) == ("Succeeded", {"out": "complete"})
    ((_, pid),) = run.log()
    assert not alive(int(pid))


def test_timeout(supervise, daemon):
    status = supervise("exec sleep 60", outputs=["out"], timeout=0.1).wait()
    reason = "DeadlineExceeded: the run was active longer than its timeout of 0.1 seconds"
    assert (status.status, status.reason) == ("Failed", reason)
    assert daemon.outcomes["buffer-out"] == ("failed", reason)


def test_cancel_gives_the_whole_tree_a_grace(supervise):
    run = supervise(
        "(trap 'echo inner; exit 0' TERM; echo up; sleep 60 & wait) & trap 'echo outer' TERM; wait; wait"
    )
    events = run.connect()
    assert next(events) == {"event": "hello", "protocol": "tyger-supervisor", "version": 1, "run": 1}
    _until_log(run, events, "up")
    run.command(command="cancel", reason="Canceled by user")
    last = list(events)[-1]
    assert last["event"] == "finished"
    status = run.wait()
    assert last["status"] == status._asdict()
    assert (status.status, status.reason) == ("Canceled", "Canceled by user")
    assert sorted(text for _, text in run.log()) == ["inner", "outer", "up"]


def test_cancel_kills_what_ignores_term(supervise):
    run = supervise("trap '' TERM; echo up; while :; do sleep 60; done", cancel_grace=0.1)
    events = run.connect()
    _until_log(run, events, "up")
    run.command(command="cancel")
    status = run.wait()
    assert (status.status, status.exit_code) == ("Canceled", 137)


def _until_log(run, events, text: str) -> None:
    for event in events:
        if event["event"] in {"log", "state"} and ("O", text) in run.log():
            return
    raise AssertionError(f"{text} was never logged")


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
    _until_log(run, run.connect(), "up")
    run.close_connection()
    run.connect()
    run.command(command="cancel")
    assert run.wait().status == "Canceled"


def test_an_input_that_does_not_exist(supervise):
    status = supervise("read line < $IN_PIPE", inputs=["in"]).wait()
    assert status.reason == "buffer 'in': The resource was not found"


def test_a_command_that_does_not_exist(supervise):
    status = supervise(["/no/such/program"], outputs=["out"]).wait()
    assert (status.status, status.reason) == (
        "Failed",
        "cannot start '/no/such/program': No such file or directory",
    )
    assert status.started_at is None


def test_a_working_directory_that_does_not_exist(supervise):
    status = supervise("true", cwd="/no/such/place").wait()
    assert status.reason == "cannot start '/no/such/place': No such file or directory"


def test_sigterm_stops_the_job(supervise):
    run = supervise("echo up; sleep 60")
    _until_log(run, run.connect(), "up")
    run.process.send_signal(signal.SIGTERM)
    assert run.wait().reason == "the supervisor of the run was stopped (SIGTERM)"


def test_a_killed_supervisor_takes_main_with_it(supervise):
    run = supervise("echo $$; exec sleep 60")
    events = run.connect()
    while not run.log():
        next(events)
    run.process.kill()
    run.process.wait()
    pid = int(run.log()[0][1])
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    assert select.select([fd], [], [], 5)[0]
    os.close(fd)


def test_a_run_is_never_started_twice(supervise):
    run = supervise("exit 0")
    run.wait()
    again = subprocess.run(
        [PYTHON, "-m", "tygerd.supervisor", run.directory], capture_output=True, check=False
    )
    assert (again.returncode, again.stdout) == (0, b"taken\n")


def test_standby_leaves_with_its_daemon():
    process = subprocess.run(
        [PYTHON, "-m", "tygerd.supervisor", "--standby"], stdin=subprocess.DEVNULL, check=False
    )
    assert process.returncode == 0


def test_usage():
    process = subprocess.run([PYTHON, "-m", "tygerd.supervisor"], capture_output=True, check=False)
    assert process.returncode == 64
    assert process.stderr.startswith(b"usage: ")


def test_a_spec_of_another_version(tmp_path):
    (tmp_path / spec.SPEC).write_text('{"version": 99}')
    process = subprocess.run(
        [PYTHON, "-m", "tygerd.supervisor", str(tmp_path)], capture_output=True, check=False
    )
    assert process.returncode == 1
    assert process.stdout.endswith(b"spec.json is not of version 1\n")

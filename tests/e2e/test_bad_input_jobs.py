"""Jobs that misbehave: the run ends, says why, leaves no process behind and no output that looks whole."""

import contextlib
import json
import os
import signal

import pytest

from tests.support import commands as support
from tests.support import daemon
from tests.support.commands import complaint, run_file, run_of, until


@pytest.fixture(params=["off", "auto"])
def commands(request):
    """Without a sandbox, and with one where bubblewrap works."""
    config = support.HOST.replace("[[", f'bubblewrap = "{request.param}"\n[[')
    with daemon.daemon(config=config) as it, support.commands(it) as made:
        yield made


def execute(commands, tmp_path, script, *arguments, data=b"", **options):
    return commands.run("run", "exec", "-f", run_file(tmp_path, script, **options), *arguments, data=data)


def outcome(commands, name="out"):
    """How the last run's output reads."""
    (run, *_) = json.loads(commands.run("run", "list", "--limit", "1").stdout)
    return commands.run("buffer", "read", run["job"]["buffers"][name])


def test_it_never_opens_its_pipes(commands, tmp_path):
    done = execute(commands, tmp_path, "sleep 0.1", data=bytes(3_000_000))
    assert (done.returncode, done.stdout) == (0, b"")
    assert outcome(commands, "in").stdout == bytes(3_000_000)
    assert outcome(commands).returncode == 0


def test_it_ends_before_it_has_read_its_input(commands, tmp_path):
    done = execute(commands, tmp_path, "head -c 5 $IN_PIPE > $OUT_PIPE", data=b"x" * 3_000_000)
    assert (done.returncode, done.stdout) == (0, b"xxxxx")
    assert len(outcome(commands, "in").stdout) == 3_000_000


def test_it_fails(commands, tmp_path):
    done = execute(commands, tmp_path, "cat $IN_PIPE > $OUT_PIPE; exit 3", data=b"half")
    assert done.returncode == 1
    assert "Main exited with code 3" in complaint(done)
    read = outcome(commands)
    assert (read.returncode, read.stdout) == (74, b"half")
    assert "Main exited with code 3" in complaint(read)


def test_it_dies_by_a_signal(commands, tmp_path):
    done = execute(commands, tmp_path, "kill -SEGV $$$$", outputs=())
    assert done.returncode == 1
    assert "Main exited with code 139 (SIGSEGV)" in complaint(done)


def test_it_is_no_program(commands, tmp_path):
    path = tmp_path / "r.yml"
    path.write_text("job: {codespec: {image: host, command: [/nonexistent/program]}}")
    done = commands.run("run", "exec", "-f", path, "--logs")
    assert done.returncode == 1
    assert b"/nonexistent/program" in done.stderr
    assert b"No such file or directory" in done.stderr


def test_it_opens_an_output_again(commands, tmp_path):
    path = run_file(tmp_path, "echo a > $OUT_PIPE; cat $IN_PIPE; echo b > $OUT_PIPE")
    with commands.start("run", "exec", "-f", path) as execution:
        # The job has outlived the end of its output; before that, it would be one stream, or a failed one.
        until(execution, b"Transfer complete")
        out, err = execution.communicate(timeout=support.PATIENCE)
    assert (execution.returncode, out) == (1, b"a\n")
    assert "the job wrote to its pipe again after closing it" in complaint(err)
    read = outcome(commands)
    assert (read.returncode, read.stdout) == (0, b"a\n")


def test_it_removes_its_pipes(commands, tmp_path):
    done = execute(commands, tmp_path, "rm -f $IN_PIPE $OUT_PIPE; exit 0", data=b"abc")
    assert (done.returncode, done.stdout) == (0, b"")


def test_children_that_outlive_it(commands, tmp_path):
    """They ignore what can be ignored, left the session, hold the output open: the run ends all the same."""
    seconds = 100_000 + os.getpid()  # nobody else sleeps that long
    child = f"(trap '' TERM HUP INT; echo child >&3; exec setsid sleep {seconds}) &"
    done = execute(commands, tmp_path, f"exec 3> $OUT_PIPE; {child} sleep 0.1; exit 0", inputs=())
    assert (done.returncode, done.stdout) == (0, b"child\n")
    assert not any(line == f"sleep\0{seconds}\0" for line in command_lines())


def command_lines():
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/cmdline") as file:
                yield file.read()


def test_it_does_not_end_when_told(commands, tmp_path):
    path = run_file(tmp_path, "trap '' TERM INT; echo up; while :; do sleep 1; done", (), ())
    run = commands.run("run", "create", "-f", path).stdout.decode().strip()
    with commands.start("run", "logs", "--follow", run) as logs:
        assert logs.stdout.readline() == b"up\n"
        assert commands.run("run", "cancel", run).stdout == f"Job {run} has been canceled\n".encode()
        logs.stdout.read()
    assert commands.ended(run)["status"] == "Canceled"


def test_it_runs_too_long(commands, tmp_path):
    done = execute(commands, tmp_path, "sleep 600", "--timeout", "1s", inputs=(), outputs=())
    assert done.returncode == 1
    assert "DeadlineExceeded" in complaint(done)


def test_its_supervisor_is_killed(commands, tmp_path):
    """Whoever waits for the run, its input, its output or its log is told, and the job is gone."""
    script = "cat $IN_PIPE > $OUT_PIPE"
    executing = commands.start(
        "run", "exec", "-f", run_file(tmp_path, script), "--flush-interval", "5ms", "--logs"
    )
    run = run_of(executing)
    executing.stdin.write(b"before")
    executing.stdin.flush()
    assert executing.stdout.read(6) == b"before"
    supervisor = holder_of(commands.environment["HOME"], run)
    os.kill(supervisor, signal.SIGKILL)
    said = until(executing, b"FTL")
    assert b"the supervisor of the run was killed, and its job with it" in said
    assert executing.wait(support.PATIENCE) == 1
    shown = commands.show(run)
    assert shown["status"] == "Failed"
    assert shown["statusReason"] == "the supervisor of the run was killed, and its job with it"
    read = outcome(commands)
    assert (read.returncode, read.stdout) == (74, b"before")
    assert outcome(commands, "in").returncode == 74
    assert commands.run("run", "logs", "--follow", run).returncode == 0


def holder_of(home, run):
    """The supervisor that holds a run's lock. The number of a file is its own only on its own disk."""
    inode = os.stat(f"{home}/state/runs/{run}/lock").st_ino
    with open("/proc/locks") as locks:
        holders = [line.split()[4] for line in locks if line.split()[5].endswith(f":{inode}")]
    found = []
    for pid in holders:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline") as file:
            if "supervis" in file.read():
                found.append(int(pid))
    (holder,) = found
    return holder


def test_runs_that_are_not_there_or_over(commands, tmp_path):
    for arguments in (
        ["show"],
        ["logs"],
        ["logs", "--follow"],
        ["watch"],
        ["cancel"],
        ["set", "--tag", "a=b"],
    ):
        done = commands.run("run", *arguments, 4711)
        assert (done.returncode, done.stdout) == (66, b"")
        assert complaint(done).startswith("Error: NotFound: ")
    run = commands.run("run", "create", "-f", run_file(tmp_path, "true", (), ())).stdout.decode().strip()
    assert commands.ended(run)["status"] == "Succeeded"
    done = commands.run("run", "cancel", run)
    assert done.returncode == 75
    assert complaint(done) == f"Error: unable to cancel job {run} because its status is Succeeded"
    assert commands.show(run)["status"] == "Succeeded"


def test_output_that_cannot_be_written(commands, tmp_path):
    """The job still gets its say: what it wrote is in its buffer."""
    file = run_file(tmp_path, "echo kept > $OUT_PIPE", ())
    with open("/dev/full", "wb") as full:
        done = commands.run("run", "exec", "-f", file, stdout=full)
    assert done.returncode == 74
    assert "cannot write the output: No space left on device" in complaint(done)
    assert outcome(commands).stdout == b"kept\n"


def test_the_output_is_an_input_already_written(commands, tmp_path):
    buffer = commands.buffer(b"first")
    done = execute(commands, tmp_path, "echo second > $OUT_PIPE; sleep 600", "-b", f"out={buffer}", inputs=())
    assert done.returncode == 1
    assert "buffer 'out': buffer cannot be overwritten: it was already written" in complaint(done)
    assert commands.run("buffer", "read", buffer).stdout == b"first"

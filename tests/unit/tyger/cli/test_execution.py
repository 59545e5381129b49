"""A run seen through: streams, states, logs, failures, signals."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading

import pytest

from tests.support import cli, fakedaemon, scripted
from tyger.cli import execution, output, runrequest, session


@pytest.fixture
def daemon():
    with fakedaemon.FakeDaemon() as fake:
        fake.codespecs["c"] = {"kind": "job", "image": "x", "buffers": {"inputs": ["i"], "outputs": ["o"]}}
        fake.codespecs["sink"] = {"kind": "job", "image": "x", "buffers": {"inputs": ["i"]}}
        fake.codespecs["source"] = {"kind": "job", "image": "x", "buffers": {"outputs": ["o"]}}
        fake.codespecs["none"] = {"kind": "job", "image": "x"}
        yield fake


def execute(daemon, *arguments, **options):
    return cli.run(daemon.path, "run", "exec", *arguments, **options)


def execute_with_grace(daemon, seconds, *arguments):
    """As `execute`, but for how long a run is given to say itself why it fails."""
    code = (
        "from tyger import __main__ as program\n"
        "from tyger.cli import execution\n"
        f"execution.REASON_GRACE = {seconds}\n"
        "program.main()\n"
    )
    return subprocess.run(
        [sys.executable, "-c", code, "run", "exec", *arguments],
        env=cli.environ(daemon.path),
        capture_output=True,
        check=False,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )


def failing(reason="Main exited with code 3", output=b""):
    return lambda _: (output, "Failed", reason)


def test_a_pipe_through_a_run(daemon):
    daemon.program = lambda data: (data[::-1] * 100_000, "Succeeded", None)
    done = execute(daemon, "-c", "c", data=b"abc")
    assert (done.code, done.out) == (0, b"cba" * 100_000)
    assert "INF Run created runId=1\n" in done.err
    assert "INF Run status changed runId=1 status=Succeeded\n" in done.err
    assert 'Transfer starting buffer=run1-o operation="buffer read" runId=1' in done.err


@pytest.mark.parametrize(("name", "out"), [("sink", b""), ("source", b""), ("none", b"")])
def test_a_run_with_fewer_streams(daemon, name, out):
    done = execute(daemon, "-c", name, data=b"abc" if name == "sink" else b"")
    assert (done.code, done.out) == (0, out)


def test_a_run_that_fails(daemon):
    daemon.program = failing()
    done = execute(daemon, "-c", "c", data=b"abc")
    assert done.code == 1
    assert done.err.endswith(
        'FTL Run failed error="run failed with status Failed (Main exited with code 3)"\n'
    )


def test_a_pending_run_says_once_what_it_waits_for(daemon):
    states = [("Pending", None), ("Pending", "no node"), ("Pending", "no node"), ("Pending", "slow")]
    run = {"id": 1, "job": {"codespec": {"kind": "job", "image": "x"}}}
    snapshots = [run | {"status": status, "statusReason": reason} for status, reason in states]
    lines = [json.dumps(each).encode() + b"\n" for each in (*snapshots, run | {"status": "Succeeded"})]
    daemon.answers["GET", "/runs/1"] = (200, b"".join(lines), {"Content-Type": "application/json"})
    done = execute(daemon, "-c", "none")
    said = [line.partition(" INF ")[2] for line in done.err.splitlines() if "waiting" in line]
    assert said == ['Run is waiting reason="no node" runId=1', "Run is waiting reason=slow runId=1"]


def test_a_run_that_somebody_cancels(daemon):
    daemon.program = lambda _: (b"", "Canceled", None)
    done = execute(daemon, "-c", "c", data=b"abc")
    assert done.code == 1
    assert 'error="run failed with status Canceled"' in done.err


def test_a_run_that_fails_while_its_input_still_comes(daemon):
    daemon.answers["GET", "/runs/1"] = None
    buffer = None
    with cli.start(daemon.path, "run", "exec", "-c", "c") as process:
        while b"Run created" not in (line := process.stderr.readline()):
            assert line
        buffer = daemon.buffers["run1-i"]
        process.stdin.write(b"part")
        process.stdin.flush()
        buffer.wait(lambda: buffer.data)
        daemon.move(1, "Failed", "out of memory")
        assert process.wait(60) == 1
        said = process.stderr.read()
    assert b"(out of memory)" in said
    buffer.wait(lambda: buffer.ended)
    assert (buffer.state, buffer.reason) == ("failed", "run 1 ended with status Failed")


@pytest.mark.parametrize(
    ("flags", "shown"), [([], b"first\nsecond\n"), (["--timestamps"], b"1Z first\n2Z second\n")]
)
def test_logs_are_shown_also_of_a_run_that_fails(daemon, flags, shown):
    daemon.logs[1] = [b"1Z first", b"2Z second"]
    daemon.program = failing()
    done = execute(daemon, "-c", "none", "--logs", *flags)
    assert done.code == 1
    lines = done.err.encode().splitlines(keepends=True)
    assert b"".join(line for line in lines if b"first" in line or b"second" in line) == shown


def test_logs_that_cannot_be_had_fail_nothing(daemon):
    daemon.answers["GET", "/runs/1/logs"] = (500, {"error": {"code": "InternalError", "message": "no logs"}})
    done = execute(daemon, "-c", "none", "--logs")
    assert done.code == 0
    assert 'ERR Failed to get logs error="no logs"' in done.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(("flags", "status"), [([], "Canceled"), (["--on-exit", "detach"], "Running")])
def test_the_first_signal(daemon, number, flags, status):
    hold = threading.Event()
    daemon.program = lambda _: hold.wait(60) and (b"", "Succeeded", None)
    daemon.buffer("given", b"abc")
    try:
        with cli.start(daemon.path, "run", "exec", "-c", "c", "-b", "i=given", *flags) as process:
            while b"status=Running" not in (line := process.stderr.readline()):
                assert line
            process.send_signal(number)
            assert process.wait(60) == cli.ended_by(number)
            said = process.stderr.read()
        assert daemon.runs[1]["status"] == status
        assert bool(daemon.asked("POST", "/runs/1/cancel")) is (not flags)
        assert (b"WRN Canceling..." in said) is (not flags)
    finally:
        hold.set()


def test_a_signal_fails_the_input_before_its_run_is_cancelled(daemon):
    with cli.start(daemon.path, "run", "exec", "-c", "c") as process:
        while b"status=Running" not in (line := process.stderr.readline()):
            assert line
        process.stdin.write(b"half")
        process.stdin.flush()
        buffer = daemon.buffers["run1-i"]
        buffer.wait(lambda: buffer.data)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == cli.ended_by(signal.SIGINT)
    buffer.wait(lambda: buffer.ended)
    assert buffer.state == "failed"
    assert buffer.reason == "the writer was interrupted by SIGINT"


def test_a_second_signal_does_not_wait(daemon):
    blocked = threading.Event()

    def never(request):
        blocked.set()
        released.wait(60)
        return 202, daemon.runs[1], {}

    released = threading.Event()
    daemon.answers["POST", "/runs/1/cancel"] = never
    try:
        with cli.start(daemon.path, "run", "exec", "-c", "c") as process:
            while b"status=Running" not in (line := process.stderr.readline()):
                assert line
            process.send_signal(signal.SIGTERM)
            assert blocked.wait(60)
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == cli.ended_by(signal.SIGINT)
    finally:
        released.set()


def test_a_reader_of_the_output_that_goes_away_cancels_the_run(daemon):
    hold = threading.Event()
    daemon.buffer("given", b"abc")
    daemon.program = lambda _: hold.wait(60) and (b"", "Succeeded", None)
    try:
        with cli.start(daemon.path, "run", "exec", "-c", "c", "-b", "i=given") as process:
            while b"status=Running" not in (line := process.stderr.readline()):
                assert line
            process.stdout.close()
            assert process.wait(60) == 128 + signal.SIGPIPE
        assert daemon.runs[1]["status"] == "Canceled"
    finally:
        hold.set()


def test_input_that_cannot_be_read(daemon):
    done = execute_with_grace(daemon, 3600, "-c", "c", "--input", "/proc/self/mem")
    assert done.returncode == 1  # the run's own reason is the better one
    assert b"an input buffer failed" in done.stderr


def test_output_that_cannot_be_written(daemon):
    with open("/dev/full", "wb") as full:
        done = execute(daemon, "-c", "c", data=b"abc", stdout=full)
    assert done.code == 74
    assert 'FTL Failed to read output error="cannot write the output: No space left on device"' in done.err


def test_a_live_line_at_a_terminal(daemon):
    leader, follower = os.openpty()
    process = cli.start(daemon.path, "run", "exec", "-c", "c", stderr=follower, environment={"TERM": "xterm"})
    pieces = []

    def look():  # all the while: it does not go on where nobody reads what it shows
        with contextlib.suppress(OSError):
            while True:
                pieces.append(os.read(leader, 65536))

    looking = threading.Thread(target=look)
    looking.start()
    with process:
        os.close(follower)
        out, _ = process.communicate(b"abc", timeout=120)
    looking.join()
    os.close(leader)
    shown = b"".join(pieces)
    assert (process.returncode, out) == (0, b"abc")
    assert b"run 1 Succeeded  input" in shown
    assert b"\r\x1b[2K" in shown


# --- a producer of ours ----------------------------------------------------------------------------------


def test_what_a_command_prints_goes_through_a_run(daemon):
    done = execute(daemon, "-c", "c", "--", "sh", "-c", "cat; printf ' more'", data=b"given")
    assert (done.code, done.out) == (0, b"given more")


def test_a_producer_that_fails_fails_the_run(daemon):
    done = execute_with_grace(daemon, 3600, "-c", "c", "--", "sh", "-c", "printf half; exit 3")
    assert done.returncode == 1
    assert daemon.buffers["run1-i"].reason == "the producer sh exited with code 3"
    assert b"an input buffer failed" in done.stderr


@pytest.mark.parametrize(("flags", "status"), [([], "Canceled"), (["--on-exit", "detach"], "Running")])
def test_a_producer_that_fails_is_a_stream_that_failed(daemon, flags, status):
    """A run that does not notice by itself is treated as `--on-exit` says."""
    daemon._perform = lambda *_: None
    done = execute_with_grace(daemon, 0.05, "-c", "c", *flags, "--", "sh", "-c", "exit 3")
    assert done.returncode == 74
    assert b'FTL Failed to write input error="the producer sh exited with code 3"\n' in done.stderr
    assert daemon.runs[1]["status"] == status


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (["-c", "c", "--"], 64, "a command is required behind --"),
        (["-c", "c", "--input", "x", "--", "true"], 64, "exclude each other"),
        (
            ["-c", "source", "--", "true"],
            64,
            "a command behind -- is given, but the job has no unmapped input",
        ),
        (["-c", "c", "--", "no-such-command"], 66, "there is no such command in PATH"),
    ],
)
def test_a_producer_that_cannot_be_creates_no_run(daemon, arguments, code, why):
    done = execute(daemon, *arguments)
    assert done.code == code
    assert why in done.err
    assert daemon.runs == {}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_producer_of_a_run(daemon, number):
    with cli.start(
        daemon.path, "run", "exec", "-c", "c", "--", "sh", "-c", "echo pid=$$ >&2; exec yes"
    ) as process:
        while b"pid=" not in (line := process.stderr.readline()):
            assert line
        ended = os.pidfd_open(int(line.rpartition(b"=")[2]))
        buffer = daemon.buffers["run1-i"]
        buffer.wait(lambda: buffer.data)
        process.send_signal(number)
        assert process.wait(60) == cli.ended_by(number)
        assert select.select([ended], [], [], 0)[0]
    os.close(ended)
    buffer.wait(lambda: buffer.ended)
    assert buffer.state == "failed"
    assert daemon.runs[1]["status"] in ("Canceled", "Failed")  # by its input, where that is quicker


def test_a_run_that_fails_ends_its_producer(daemon):
    with cli.start(
        daemon.path, "run", "exec", "-c", "c", "--", "sh", "-c", "echo pid=$$ >&2; printf x; exec sleep 1000"
    ) as process:
        while b"pid=" not in (line := process.stderr.readline()):
            assert line
        ended = os.pidfd_open(int(line.rpartition(b"=")[2]))
        buffer = daemon.buffers["run1-i"]
        buffer.wait(lambda: buffer.data)
        daemon.move(1, "Failed", "out of memory")
        assert process.wait(60) == 1
        assert select.select([ended], [], [], 0)[0]
    os.close(ended)


def test_a_daemon_that_stays_away_is_given_up(daemon):
    daemon._perform = lambda *_: None
    with cli.start(daemon.path, "run", "exec", "-c", "none", "--retry-for", "50ms") as process:
        while b"status=Running" not in (line := process.stderr.readline()):
            assert line
        daemon.go_away()
        assert process.wait(60) == 69
        assert b"waited for 0.05 s" in process.stderr.read()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_what_a_daemon_does_not_answer(monkeypatch, capfd, number):
    """One that hangs: whether it has created the run cannot be known."""
    monkeypatch.setattr(execution, "ANSWER_GRACE", 0.3)

    def hanging(connection):
        connection.read_request()
        os.kill(os.getpid(), number)
        connection.wait_closed()

    with scripted.Peer(hanging) as peer:
        asking = session.Session(output.Console({}), {"TYGER_SOCKET": peer.path})
        settings = execution.Settings(show_logs=False, on_exit="cancel")
        with pytest.raises(session.Exit) as ended:
            execution.Execution(asking, settings).run(runrequest.Request({}))
    assert ended.value.code == 128 + number
    assert runrequest.MAY_BE_THERE in capfd.readouterr().err
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)

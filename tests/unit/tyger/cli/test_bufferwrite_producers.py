"""`tyger buffer write` of a program that it starts, signals, terminals and all."""

import os
import pty
import select
import signal
import subprocess
import sys

import pytest

from tests.support import bufferwrites, cli, ending
from tyger.cli import data


def test_what_a_command_prints_is_written(daemon):
    done = bufferwrites.write(
        daemon, "--", "sh", "-c", 'cat; printf " %s" "$1"', "sh", "--flag", data=b"given"
    )
    assert (done.code, done.out) == (0, b"")
    assert bufferwrites.state(daemon) == ("complete", b"given --flag")


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("exit 3", "exited with code 3"),
        ("exit 130", "exited with code 130"),
        ("kill -9 $$", "was ended by SIGKILL"),
    ],
)
def test_a_producer_that_fails(daemon, script, why):
    done = bufferwrites.write(daemon, "--", "sh", "-c", f"printf half; {script}")
    assert done.code == 74
    assert done.err.endswith(f'FTL Failed to write buffer error="the producer sh {why}"\n')
    assert bufferwrites.state(daemon) == ("failed", b"half")
    assert daemon.buffers["b"].reason == f"the producer sh {why}"


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (["--"], 64, "a command is required behind --"),
        (["--input", "/dev/null", "--", "true"], 64, "--input and a command behind -- exclude each other"),
        (["--", "no-such-command"], 66, "cannot start no-such-command: there is no such command in PATH"),
        (["--", "/"], 77, "cannot start /: it is a directory"),
        (["--", "/etc/passwd"], 77, "cannot start /etc/passwd: it is not executable; see chmod(1)"),
    ],
)
def test_a_producer_that_cannot_be_begins_nothing(daemon, arguments, code, why):
    done = bufferwrites.write(daemon, *arguments)
    assert (done.code, done.err) == (code, f"Error: {why}\n")
    assert daemon.requests == []


def test_a_producer_for_an_unknown_buffer_is_not_started(daemon, tmp_path):
    done = cli.run(daemon.path, "buffer", "write", "nope", "--", "touch", tmp_path / "started")
    assert done.code == 66
    assert not (tmp_path / "started").exists()


def test_a_terminal_as_standard_input_is_the_producers(daemon):
    leader, follower = os.openpty()
    try:
        done = bufferwrites.write(daemon, "--", "sh", "-c", "tty; exit 0", stdin=follower, data=None)
    finally:
        os.close(leader)
        os.close(follower)
    assert done.code == 0
    assert bufferwrites.state(daemon)[1].startswith(b"/dev/")


def pids_in(stderr, name=b"pid="):
    while name not in (line := stderr.readline()):
        assert line, "it ended"
    return int(line.rpartition(b"=")[2])


def is_there(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_passed_on_to_the_producer(daemon, number):
    buffer = daemon.buffer("b")
    trap = f"trap 'printf last >&2; kill $! 2>/dev/null; exit 1' {number.name[3:]}"
    script = f"sleep 1000 & {trap}; echo pid=$$ >&2; printf half; wait"
    with cli.start(daemon.path, "buffer", "write", "b", "--", "sh", "-c", script) as process:
        pid = pids_in(process.stderr)
        buffer.wait(lambda: buffer.data)
        process.send_signal(number)
        assert process.wait(60) == 128 + number
        said = process.stderr.read()
    assert b"last" in said
    assert not is_there(pid)
    assert bufferwrites.state(daemon) == ("failed", b"half")
    assert buffer.reason == data.interrupted(number)


def test_a_producer_that_does_not_obey_is_killed(daemon):
    """The grace is real time, so it is made small from outside."""
    buffer = daemon.buffer("b")
    script = "trap '' TERM HUP; echo pid=$$ >&2; printf half; exec sleep 1000"
    code = (
        "from tyger import __main__ as program\n"
        "from tyger.cli import data\n"
        "data.PRODUCER_GRACE = 0.05\n"
        "program.main()\n"
    )
    with ending.Popen(
        [sys.executable, "-c", code, "buffer", "write", "b", "--", "sh", "-c", script],
        env=cli.environ(daemon.path),
        stderr=subprocess.PIPE,
    ) as process:
        pid = pids_in(process.stderr)
        buffer.wait(lambda: buffer.data)
        process.terminate()
        assert process.wait(60) == 128 + signal.SIGTERM
    assert not is_there(pid)


def test_a_killed_command_leaves_its_producer_a_broken_pipe(daemon):
    buffer = daemon.buffer("b")
    script = "echo pid=$$ >&2; exec yes"
    with cli.start(daemon.path, "buffer", "write", "b", "--", "sh", "-c", script) as process:
        ended = os.pidfd_open(pids_in(process.stderr))
        buffer.wait(lambda: buffer.data)
        process.kill()
        assert select.select([ended], [], [], 60)[0]
    os.close(ended)
    buffer.wait(lambda: buffer.ended)
    assert buffer.state == "failed"


def test_a_buffer_that_fails_ends_its_producer(daemon):
    buffer = daemon.buffer("b")
    script = "echo pid=$$ >&2; printf half; exec sleep 1000"
    with cli.start(daemon.path, "buffer", "write", "b", "--", "sh", "-c", script) as process:
        pid = pids_in(process.stderr)
        buffer.wait(lambda: buffer.data)
        buffer.say(event="failed", bytes=4, reason="no write permission", code="Forbidden")
        assert process.wait(60) == 77
        said = process.stderr.read().decode()
    assert 'FTL Failed to write buffer error="Forbidden: no write permission"' in said
    assert not is_there(pid)


def on_a_terminal(daemon, line, ready, keys=b"\x03"):
    """Run a line of shell at a terminal, press `keys` once `ready`; what it shows, and its end."""
    child, leader = pty.fork()
    if child == 0:
        os.execvpe("bash", ["bash", "-c", line], cli.environ(daemon.path, TERM="xterm"))
    shown = b""
    try:
        ready()
        os.write(leader, keys)
        while True:
            select.select([leader], [], [], 60)
            try:
                if not (piece := os.read(leader, 4096)):
                    break
            except OSError:
                break
            shown += piece
        _, status = os.waitpid(child, 0)
    finally:
        os.close(leader)
    return shown, os.waitstatus_to_exitcode(status)


@pytest.mark.parametrize(
    "script", ["printf half; exec sleep 1000", "trap 'exit 0' INT; printf half; sleep 1000 & wait"]
)
def test_ctrl_c_reaches_both_and_never_leaves_a_complete_buffer(daemon, script):
    """Also where the producer takes it for a good end."""
    buffer = daemon.buffer("b")
    line = f'exec {sys.executable} -m tyger buffer write b -- sh -c "{script}"'
    shown, code = on_a_terminal(daemon, line, lambda: buffer.wait(lambda: buffer.data))
    assert code == -signal.SIGINT
    assert b"was interrupted by SIGINT" in shown
    buffer.wait(lambda: buffer.ended)
    assert bufferwrites.state(daemon) == ("failed", b"half")

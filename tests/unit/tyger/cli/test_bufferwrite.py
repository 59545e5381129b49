"""`tyger buffer write` from pipes, files, sockets and terminals, with real processes and signals."""

import os
import pty
import select
import signal
import socket
import subprocess
import sys

import pytest

from tests.support import bufferwrites, cli
from tyger.cli import data


def test_standard_input_is_written(daemon):
    done = bufferwrites.write(daemon, data=b"hello")
    assert (done.code, done.out) == (0, b"")
    assert bufferwrites.state(daemon) == ("complete", b"hello")
    assert daemon.requests[0].body | {"id": ""} == {
        "id": "",
        "buffer": "b",
        "blockSize": 4 * 1024 * 1024,
        "flushInterval": 1.0,
    }
    assert "Transfer complete" in done.err
    assert "buffer=b" in done.err
    assert 'operation="buffer write"' in done.err


def test_empty_input_is_a_valid_empty_buffer(daemon):
    assert bufferwrites.write(daemon).code == 0
    assert bufferwrites.state(daemon) == ("complete", b"")


@pytest.mark.parametrize(
    ("arguments", "interval"), [([], 0.0), (["-f", "5ms"], 0.005), (["--flush-interval", ""], 0.0)]
)
def test_a_named_file_is_not_flushed_by_the_clock(daemon, tmp_path, arguments, interval):
    (tmp_path / "f").write_bytes(b"x" * 300_000)
    assert bufferwrites.write(daemon, "-i", tmp_path / "f", "-b", "1M", "-p", "3", *arguments).code == 0
    assert bufferwrites.state(daemon) == ("complete", b"x" * 300_000)
    assert daemon.requests[0].body["flushInterval"] == interval
    assert daemon.requests[0].body["blockSize"] == 1024 * 1024


def test_a_regular_file_as_standard_input(daemon, tmp_path):
    (tmp_path / "f").write_bytes(b"x" * 300_000)
    with open(tmp_path / "f", "rb") as file:
        assert bufferwrites.write(daemon, stdin=file, data=None).code == 0
    assert bufferwrites.state(daemon) == ("complete", b"x" * 300_000)
    assert daemon.requests[0].body["flushInterval"] == 1.0


def test_a_socket_as_standard_input(daemon):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b"through a socket")
        ours.shutdown(socket.SHUT_WR)
        assert bufferwrites.write(daemon, stdin=theirs, data=None).code == 0
    assert bufferwrites.state(daemon) == ("complete", b"through a socket")


def test_a_device_as_standard_input(daemon):
    assert bufferwrites.write(daemon, stdin=subprocess.DEVNULL, data=None).code == 0
    assert bufferwrites.state(daemon) == ("complete", b"")


def test_a_closed_standard_input(daemon):
    daemon.buffer("b")
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m tyger buffer write b <&-"],
        env=cli.environ(daemon.path),
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 74
    assert done.stderr.startswith(b"Error: standard input is closed")
    assert bufferwrites.state(daemon) == ("new", b"")


def test_a_file_that_cannot_be_read_leaves_no_complete_buffer(daemon):
    done = bufferwrites.write(daemon, "-i", "/proc/self/mem")
    assert done.code == 74
    assert "cannot read the input: Input/output error" in done.err
    assert bufferwrites.state(daemon)[0] == "failed"


def test_writing_twice(daemon):
    bufferwrites.write(daemon, data=b"1")
    done = cli.run(daemon.path, "buffer", "write", "b", data=b"2")
    assert done.code == 73
    assert "FTL Failed to write buffer error=\"Conflict: the buffer 'b' was already written\"" in done.err


def test_an_unknown_buffer(daemon):
    for verb in ("write", "read"):
        done = cli.run(daemon.path, "buffer", verb, "nope")
        assert done.code == 66
        assert 'FTL Unable to access buffer error="NotFound: The resource was not found" buffer=' in done.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_fails_the_buffer(daemon, number):
    buffer = daemon.buffer("b")
    with cli.start(daemon.path, "buffer", "write", "b") as process:
        process.stdin.write(b"half")
        process.stdin.flush()
        while b"Transfer starting" not in (line := process.stderr.readline()):
            assert line
        process.send_signal(number)
        assert process.wait(60) == cli.ended_by(number)
        said = process.stderr.read().decode()
    buffer.wait(lambda: buffer.ended)
    assert bufferwrites.state(daemon) == ("failed", b"half")
    assert buffer.reason == data.interrupted(number)
    assert "WRN Canceling..." in said
    assert "FTL Failed to write buffer" in said


def test_a_killed_writer_fails_the_buffer(daemon):
    buffer = daemon.buffer("b")
    with cli.start(daemon.path, "buffer", "write", "b") as process:
        process.stdin.write(b"half")
        process.stdin.flush()
        buffer.wait(lambda: buffer.data)
        process.kill()
    buffer.wait(lambda: buffer.ended)
    assert buffer.state == "failed"


def test_an_ignored_hangup_stays_ignored(daemon):
    buffer = daemon.buffer("b")
    with cli.start(
        daemon.path, "buffer", "write", "b", preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
    ) as process:
        process.stdin.write(b"whole")
        process.stdin.flush()
        buffer.wait(lambda: buffer.data)
        process.send_signal(signal.SIGHUP)
        process.stdin.close()
        assert process.wait(60) == 0
    assert bufferwrites.state(daemon) == ("complete", b"whole")


@pytest.mark.parametrize("round_", range(5))
def test_ctrl_c_at_a_terminal_never_leaves_a_complete_buffer(daemon, round_):
    buffer = daemon.buffer("b")
    child, leader = pty.fork()
    if child == 0:
        line = f"(printf half; cat) | {sys.executable} -m tyger buffer write b"
        os.execvpe("bash", ["bash", "-c", line], cli.environ(daemon.path))
    try:
        buffer.wait(lambda: buffer.data)
        os.write(leader, b"\x03")
        while True:  # read what the terminal shows, until all have let go of it
            select.select([leader], [], [], 60)
            try:
                if not os.read(leader, 4096):
                    break
            except OSError:
                break
        _, status = os.waitpid(child, 0)
    finally:
        os.close(leader)
    assert os.waitstatus_to_exitcode(status) in (-signal.SIGINT, 128 + signal.SIGINT)
    buffer.wait(lambda: buffer.ended)
    assert bufferwrites.state(daemon) == ("failed", b"half")

"""Every kind of standard input: what can be read is stored exactly, what can't is one clear line."""

import contextlib
import os
import pty
import signal
import socket
import subprocess
import sys

import pytest

from tests.support import daemon
from tests.support.commands import complaint, run_file


def closed(*arguments):
    """A command whose standard input is not open."""
    return ["sh", "-c", 'exec "$@" <&-', "sh", *daemon.TYGER, *map(str, arguments)]


def test_closed(host, commands, tmp_path):
    file = run_file(tmp_path, "cat $IN_PIPE > $OUT_PIPE")
    buffer = commands.buffer()
    for arguments in (["buffer", "write", buffer], ["run", "exec", "-f", file]):
        done = subprocess.run(
            closed(*arguments), env=host.env, capture_output=True, timeout=daemon.PATIENCE, check=False
        )
        assert done.returncode == 74
        assert complaint(done) == "Error: standard input is closed; pipe data in, or name a file with --input"
    assert commands.run("buffer", "write", buffer, data=b"still unwritten").returncode == 0
    assert commands.run("run", "list").stdout == b"[]\n"


def test_empty(commands):
    buffer = commands.buffer(b"")
    done = commands.run("buffer", "read", buffer)
    assert (done.returncode, done.stdout) == (0, b"")


def at_a_terminal(environment, *arguments):
    """Start a command at a terminal; its pid and the terminal's other end."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(sys.executable, [*daemon.TYGER, *arguments], environment)
    return pid, terminal


def said_at(terminal):
    said = b""
    with contextlib.suppress(OSError):  # EIO: all have let go of the terminal
        while piece := os.read(terminal, 4096):
            said += piece
    os.close(terminal)
    return said


def exit_code(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("what", ["write", "exec"])
def test_a_terminal_nobody_meant(host, commands, tmp_path, what):
    buffer = commands.buffer()
    arguments = {
        "write": ["buffer", "write", buffer],
        "exec": ["run", "exec", "-f", run_file(tmp_path, "cat $IN_PIPE > $OUT_PIPE")],
    }
    pid, terminal = at_a_terminal(host.env, *arguments[what])
    said = said_at(terminal)
    assert exit_code(pid) == 64
    assert complaint(said).startswith("Error: standard input is a terminal; pipe data in, ")


def test_a_terminal_that_is_meant(host, commands):
    buffer = commands.buffer()
    pid, terminal = at_a_terminal(host.env, "buffer", "write", buffer, "--input", "-")
    os.write(terminal, b"typed\n\x04")  # ^D is its end of file
    said_at(terminal)
    assert exit_code(pid) == 0
    assert commands.run("buffer", "read", buffer).stdout == b"typed\n"


def test_a_regular_file_from_where_it_stands(commands, tmp_path):
    data = os.urandom(5_000_000)
    (tmp_path / "f").write_bytes(data)
    buffer = commands.buffer()
    with open(tmp_path / "f", "rb", buffering=0) as file:
        file.seek(1000)
        assert commands.run("buffer", "write", buffer, stdin=file).returncode == 0
    assert commands.run("buffer", "read", buffer).stdout == data[1000:]


def test_a_socket(commands):
    data = os.urandom(2_000_000)
    buffer = commands.buffer()
    ours, theirs = socket.socketpair()
    with ours:
        writing = commands.start("buffer", "write", buffer, stdin=theirs, stderr=subprocess.DEVNULL)
        theirs.close()
        ours.sendall(data)
    assert writing.wait(daemon.PATIENCE) == 0
    assert commands.run("buffer", "read", buffer).stdout == data


def test_a_device_that_never_ends(commands):
    buffer = commands.buffer()
    with open("/dev/zero", "rb") as device:
        writing = commands.start("buffer", "write", buffer, stdin=device)
    reading = commands.start("buffer", "read", buffer)
    assert reading.stdout.read(1_000_000) == bytes(1_000_000)
    reading.stdout.close()
    assert reading.wait(daemon.PATIENCE) == 128 + signal.SIGPIPE
    writing.send_signal(signal.SIGTERM)
    assert writing.wait(daemon.PATIENCE) == 128 + signal.SIGTERM
    assert "the writer was interrupted by SIGTERM" in complaint(writing.stderr.read())
    assert commands.run("buffer", "delete", buffer).returncode == 0


def test_a_device_without_content(commands):
    with open(os.devnull, "rb") as device:
        buffer = commands.buffer()
        assert commands.run("buffer", "write", buffer, stdin=device).returncode == 0
    assert commands.run("buffer", "read", buffer).stdout == b""


@pytest.mark.parametrize(
    ("command", "path", "code", "said"),
    [
        ("buffer write", "/nonexistent", 66, "cannot open input file /nonexistent: No such file"),
        ("run exec", "/nonexistent", 66, "cannot open input file /nonexistent: No such file"),
        ("run exec", "/", 65, "/ is a directory"),  # which `buffer write` packs
    ],
)
def test_a_named_input_that_cannot_be_read(commands, tmp_path, command, path, code, said):
    buffer = commands.buffer()
    file = run_file(tmp_path, "cat $IN_PIPE > $OUT_PIPE")
    target = [buffer] if command == "buffer write" else ["-f", file]
    done = commands.run(*command.split(), *target, "--input", path)
    assert done.returncode == code
    assert said in complaint(done)
    assert commands.run("buffer", "write", buffer, data=b"still unwritten").returncode == 0


def test_a_file_that_fails_in_the_middle(host, commands):
    """The start of /proc/self/mem can be opened but not read: the buffer must not be complete."""
    buffer = commands.buffer()
    done = commands.run("buffer", "write", buffer, "--input", "/proc/self/mem")
    assert done.returncode == 74
    assert "cannot read the input" in complaint(done)
    assert commands.run("buffer", "read", buffer).returncode == 74

"""What commands show on a real terminal, and what they do not show elsewhere: progress, colours, widths."""

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios

import pytest

from tests.support import daemon as daemons

CSI = b"\x1b["
REDRAWN = b"\r\x1b[2K"
COLOUR = re.compile(rb"\x1b\[[0-9;]*m")
PATIENCE = 60


class Terminal:
    """A pseudo-terminal; `slave` is what a command gets, `shown` all that it wrote there."""

    def __init__(self, columns=80):
        self._master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.shown = b""

    def read(self):
        """Take what is there, waiting for something; False at the end."""
        assert select.select([self._master], [], [], PATIENCE)[0]
        data = b""
        with contextlib.suppress(OSError):  # EIO: nobody has it open any more
            data = os.read(self._master, 65536)
        self.shown += data
        return bool(data)

    def until(self, text):
        while text not in self.shown:
            assert self.read(), self.shown

    def to_the_end(self):
        while self.read():
            pass
        return self.shown

    def release(self):
        """Leave the slave to the command."""
        os.close(self.slave)
        self.slave = -1

    def close(self):
        for fd in (self._master, self.slave):
            if fd >= 0:
                os.close(fd)


@pytest.fixture
def terminal():
    it = Terminal()
    yield it
    it.close()


@pytest.fixture
def write(host, commands, terminal):
    """`buffer write` of a stream that goes on until its progress was seen; what the terminal showed."""

    def call(*flags, expected=None, **environment):
        buffer = commands.buffer()
        inherited = {name: text for name, text in host.env.items() if name != "NO_COLOR"}
        process = subprocess.Popen(
            [*daemons.TYGER, "buffer", "write", buffer, *flags],
            env=inherited | {"TERM": "xterm-256color"} | environment,
            stdin=subprocess.PIPE,
            stderr=terminal.slave,
        )
        terminal.release()
        process.stdin.write(bytes(100_000))
        process.stdin.flush()
        if expected is not None:
            terminal.until(expected)
        process.stdin.close()
        shown = terminal.to_the_end()
        assert process.wait(PATIENCE) == 0
        return shown

    return call


def test_progress_and_colours(write):
    shown = write(expected=b"write 98KiB")
    assert REDRAWN in shown
    assert COLOUR.search(shown)
    assert shown.endswith(b"\r\n")  # the live line is gone


def test_no_colour(write):
    shown = write(expected=b"write 98KiB", NO_COLOR="1")
    assert REDRAWN in shown
    assert not COLOUR.search(shown)


def test_an_empty_no_colour_is_none(write):
    assert COLOUR.search(write(expected=b"write 98KiB", NO_COLOR=""))


def test_a_dumb_terminal(write):
    shown = write(expected=b"Transfer starting", TERM="dumb")
    assert b"Transfer complete" in shown
    assert b"\x1b" not in shown


def test_quiet(write):
    assert write("--quiet") == b""


def test_quiet_but_for_a_level_that_is_given(write):
    shown = write("--quiet", "--log-level", "info", expected=b"Transfer starting")
    assert REDRAWN not in shown


def test_quiet_and_verbose(commands):
    done = commands.run("--quiet", "version", "--verbose")
    assert done.returncode == 64
    assert done.stderr.startswith(b"Error: --quiet and --verbose exclude each other\n")
    done = commands.run("run", "list", "--verbose", "--log-level", "trace")
    assert b" TRC " in done.stderr
    assert b" TRC " not in commands.run("run", "list", "--verbose").stderr


def test_nothing_of_it_on_a_pipe(commands):
    done = commands.run("buffer", "write", commands.buffer(), data=bytes(100_000))
    assert b"Transfer complete" in done.stderr
    assert b"\x1b" not in done.stderr


def test_colours_where_they_are_asked_for(commands):
    done = commands.run("--log-format", "pretty", "buffer", "write", commands.buffer(), data=b"x")
    assert COLOUR.search(done.stderr)


@pytest.mark.parametrize("columns", [40, 200])
def test_a_table_is_as_wide_as_the_terminal(host, commands, columns):
    commands.run("buffer", "create", "--tag", "name=" + "x" * 100)
    terminal = Terminal(columns)
    try:
        process = subprocess.Popen(
            [*daemons.TYGER, "buffer", "list", "--output", "table"],
            env=host.env,
            stdout=terminal.slave,
        )
        terminal.release()
        lines = terminal.to_the_end().decode().splitlines()
        assert process.wait(PATIENCE) == 0
    finally:
        terminal.close()
    assert max(map(len, lines)) <= columns
    assert any("…" in line for line in lines) is (columns == 40)
    piped = commands.run("buffer", "list", "--output", "table").stdout.decode()
    assert "name=" + "x" * 100 in piped

"""The commands in both of a test's runners: in this process, with captured descriptors, and as a program."""

import os
import signal
import subprocess
import sys
from typing import NamedTuple

import pytest

from tests.support import ending, fakedaemon
from tyger import __main__ as program

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Done(NamedTuple):
    code: int
    out: str
    err: str


def environ(socket_path, **more):
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {
        **kept,
        "PYTHONPATH": ROOT,
        "TYGER_SOCKET": socket_path,
        "TYGER_AUTOSTART": "0",
        "TZ": "UTC",
        **more,
    }


def start(socket_path, *arguments, environment=None, **options):
    """The installed program as a process; pipes unless said otherwise."""
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return ending.Popen(
        [sys.executable, "-m", "tyger", *arguments],
        env=environ(socket_path, **(environment or {})),
        **options,
    )


def run(socket_path, *arguments, data=b"", **options):
    """Run the program to its end; `out` is bytes."""
    with start(socket_path, *arguments, **options) as process:
        out, err = process.communicate(data, timeout=120)
    return Done(process.returncode, out, err.decode() if err is not None else "")


def ended_by(number):
    """What `Popen` reports for a process that obeyed the signal."""
    return -number if number == signal.SIGINT else 128 + number


@pytest.fixture
def daemon():
    with fakedaemon.FakeDaemon() as fake:
        yield fake


@pytest.fixture
def tyger(daemon, capfd, monkeypatch):
    """Call a command in this process: `tyger("buffer", "show", "x")`."""
    monkeypatch.setenv("TYGER_AUTOSTART", "0")

    def call(*arguments):
        capfd.readouterr()
        code = program.run(["--socket", daemon.path, *map(str, arguments)])
        out, err = capfd.readouterr()
        return Done(code, out, err)

    return call

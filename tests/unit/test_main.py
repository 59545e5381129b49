"""`tygerd`'s subcommands, and what each of them imports."""

import os
import signal
import subprocess
import sys

import pytest

import tyger
from tests.support import daemon
from tyger import errors
from tygerd import __main__ as program


@pytest.mark.parametrize("argument", ["version", "--version"])
def test_the_version(capsys, argument):
    assert program.main([argument]) == 0
    assert capsys.readouterr().out == f"tygerd {tyger.__version__}\n"


def test_help(capsys):
    assert program.main(["--help"]) == 0
    assert capsys.readouterr().out == program.USAGE


@pytest.mark.parametrize("argv", [[], ["nonsense"], ["serve", "--nonsense"], ["serve", "--idle-exit", "x"]])
def test_wrong_arguments(capsys, argv):
    assert program.main(argv) == errors.USAGE.exit_code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "usage: tygerd" in captured.err


def test_help_of_serve_names_every_option(capsys):
    assert program.main(["serve", "--help"]) == 0
    text = capsys.readouterr().out
    assert all(
        option in text for option in ("--config", "--socket", "--state", "--idle-exit", "--log-format")
    )
    assert "autostarted" not in text


def test_the_supervisor_starts_without_the_daemon():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "tygerd", "supervise"],
        env={"PYTHONPATH": str(daemon.ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == errors.USAGE.exit_code
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "|" in line}
    assert "tygerd.supervisor.__main__" in loaded
    assert not loaded & {"trio", "msgspec", "sqlalchemy", "h11", "argparse", "tygerd.app", "asyncio"}


IDLING = """
import sys, threading, time
from tygerd import __main__ as program
def idle():
    while True:
        time.sleep(0.0001)
def main():
    for _ in range(8):
        threading.Thread(target=idle, daemon=True).start()
    time.sleep(0.02)
    print("said")
    return 3
program.main = main
class AtTheEnd:
    def __del__(self):
        print("taken apart")
keep = AtTheEnd()
import atexit
atexit.register(lambda: print("taken apart"))
program.program()
"""
"""Threads as trio's, one of which comes back in any instant."""


def test_it_leaves_whatever_its_threads_do():
    done = subprocess.run(
        [sys.executable, "-c", IDLING],
        env={"PYTHONPATH": str(daemon.ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "said\n", "")


def begun(command, stdout, environ):
    return subprocess.run(
        [*daemon.TYGERD, command],
        env={"PYTHONPATH": str(daemon.ROOT), **environ},
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )


UNBUFFERED = {"PYTHONUNBUFFERED": "1"}


@pytest.mark.parametrize("environ", [{}, UNBUFFERED], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("command", ["version", "help"])
def test_a_full_disk_is_told(command, environ):
    with open("/dev/full", "wb") as full:
        done = begun(command, full, environ)
    assert done.returncode == errors.IO_ERROR.exit_code
    assert done.stderr == "tygerd: cannot write: No space left on device\n"


@pytest.mark.parametrize("environ", [{}, UNBUFFERED], ids=["buffered", "unbuffered"])
def test_a_reader_that_has_had_enough(environ):
    read_end, write_end = os.pipe()
    os.close(read_end)
    with open(write_end, "wb") as pipe:
        done = begun("help", pipe, environ)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")

"""`tygerd`'s subcommands, and what each of them imports."""

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

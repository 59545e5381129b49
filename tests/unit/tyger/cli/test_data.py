"""What the commands that move bytes share: patience, verdicts, what a failure is for the user."""

import os
import pathlib
import shutil

import pytest

from tests.support import ending
from tyger import errors, streams
from tyger.cli import data, output


@pytest.fixture
def file(tmp_path):
    fd = os.open(tmp_path / "f", os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends[0]
    for fd in ends:
        os.close(fd)


def test_patience_without_a_word_of_the_user(file, pipe):
    assert data.patience(None, file) == streams.Patience(600.0)
    assert data.patience(None, pipe) == streams.Patience(None)


@pytest.mark.parametrize(("said", "seconds"), [(0.0, 0.0), (90.0, 90.0), (float("inf"), None)])
def test_patience_as_the_user_says(file, pipe, said, seconds):
    for fd in (file, pipe):
        assert data.patience(said, fd) == streams.Patience(seconds, first=True)


def test_a_failure_that_the_daemon_names():
    problem = data.failure(streams.Result("failed", 0, "no", "Forbidden"))
    assert (problem.kind, problem.message, problem.remote) == (errors.FORBIDDEN, "no", True)


def test_a_failure_without_a_name():
    problem = data.failure(streams.Result("failed", 0))
    assert (problem.kind, problem.remote) == (errors.BUFFER_FAILED, False)


def test_words_about_signals():
    assert data.interrupted(15) == "the writer was interrupted by SIGTERM"
    assert data.stopped(2) == "interrupted by SIGINT"


@pytest.mark.parametrize(("name", "warned"), [("pwsh", True), ("bash", False)])
def test_who_is_called_from_powershell_is_told_what_it_may_do(tmp_path, capfd, name, warned):
    program = tmp_path / name
    program.symlink_to(shutil.which("sleep"))
    with ending.Popen([program, "10"]) as parent:
        while name not in pathlib.Path(f"/proc/{parent.pid}/comm").read_text():
            pass  # the kernel names a process a moment after it has let go of the caller's descriptors
        data.warn_of_powershell(output.Console({}), parent.pid)
        parent.kill()
    said = capfd.readouterr().err
    assert (" WRN PowerShell I/O redirection may corrupt binary data. See https://" in said) is warned
    assert said.endswith("Consider using a different shell.\n") is warned


def test_a_caller_that_has_gone_is_not_powershell(capfd):
    data.warn_of_powershell(output.Console({}), 2**30)
    assert capfd.readouterr().err == ""

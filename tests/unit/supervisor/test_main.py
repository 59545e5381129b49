"""The program: its arguments, its first words, and that no run is started twice."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys

import pytest

from tygerd.supervisor import __main__ as program
from tygerd.supervisor import spec


def test_a_run_is_never_started_twice(supervise):
    run = supervise("exit 0")
    run.wait()
    again = subprocess.run(
        [sys.executable, "-m", "tygerd.supervisor", run.directory], capture_output=True, check=False
    )
    assert (again.returncode, again.stdout) == (0, b"taken\n")


def test_a_lock_is_held_as_soon_as_it_is_there(tmp_path, monkeypatch):
    """A daemon takes one that is free for that of a supervisor that was killed, and its run for lost."""
    lock, seen = tmp_path / spec.LOCK, []
    honest = fcntl.flock

    def flock(fd, operation):
        seen.append(lock.exists())
        honest(fd, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    program._lock(str(tmp_path))
    monkeypatch.undo()
    assert (seen, os.listdir(tmp_path)) == ([False], [spec.LOCK])
    with open(lock) as again, pytest.raises(BlockingIOError):
        fcntl.flock(again, fcntl.LOCK_SH | fcntl.LOCK_NB)
    with pytest.raises(program._TakenError):
        program._lock(str(tmp_path))
    assert os.listdir(tmp_path) == [spec.LOCK]


def test_standby_leaves_with_its_daemon():
    process = subprocess.run(
        [sys.executable, "-m", "tygerd.supervisor", "--standby"], stdin=subprocess.DEVNULL, check=False
    )
    assert process.returncode == 0


def test_usage():
    process = subprocess.run([sys.executable, "-m", "tygerd.supervisor"], capture_output=True, check=False)
    assert process.returncode == 64
    assert process.stderr.startswith(b"usage: ")


def test_a_spec_of_another_version(tmp_path):
    (tmp_path / spec.SPEC).write_text('{"version": 99}')
    process = subprocess.run(
        [sys.executable, "-m", "tygerd.supervisor", str(tmp_path)], capture_output=True, check=False
    )
    assert process.returncode == 1
    assert process.stdout.endswith(b"spec.json is not of version 1 or 2\n")

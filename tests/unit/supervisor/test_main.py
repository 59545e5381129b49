"""The program: its arguments, its first words, and that no run is started twice."""

from __future__ import annotations

import subprocess
import sys

from tygerd.supervisor import spec


def test_a_run_is_never_started_twice(supervise):
    run = supervise("exit 0")
    run.wait()
    again = subprocess.run(
        [sys.executable, "-m", "tygerd.supervisor", run.directory], capture_output=True, check=False
    )
    assert (again.returncode, again.stdout) == (0, b"taken\n")


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

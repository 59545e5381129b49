"""`kill -9` of the daemon while a directory is sent, and while it is unpacked: the same tree at the end."""

import os
import subprocess

import pytest

from tests.support import daemon

FILES, SIZE = 40, 1_500_000


def started(it, *arguments):
    process = subprocess.Popen([*daemon.TYGER, *arguments], env=it.env, stderr=subprocess.PIPE)
    while b"Transfer starting" not in (line := process.stderr.readline()):
        assert line, "it ended"
    return process


def ended(process):
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait(daemon.PATIENCE) == 0, said
    assert b"Transfer complete" in said


@pytest.mark.long
def test_there_and_back_over_kills(tmp_path):
    tree, back = tmp_path / "tree", tmp_path / "back"
    for number in range(FILES):
        (tree / f"d{number % 3}").mkdir(parents=True, exist_ok=True)
        (tree / f"d{number % 3}" / f"f{number}").write_bytes(os.urandom(SIZE))
    with daemon.daemon() as it:
        buffer = subprocess.run(
            [*daemon.TYGER, "buffer", "create"], env=it.env, capture_output=True, check=True, text=True
        ).stdout.strip()
        writer = started(it, "buffer", "write", buffer, str(tree))
        it.restart()
        ended(writer)
        reader = started(it, "buffer", "read", buffer, "--output", f"{back}/")
        it.restart()
        ended(reader)
    assert subprocess.run(["diff", "-r", tree, back], check=False).returncode == 0
    assert not (back / ".tyger-incomplete").exists()

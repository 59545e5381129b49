"""Records and positions change together, wherever a daemon is killed."""

from __future__ import annotations

import os
import pathlib

import pytest

from tygerd.engines.kubernetes import lines, logfile
from tygerd.osutil import statedir


def position(last: int) -> list[object]:
    made = lines.Position()
    made.advance(last)
    return made.encode()


def test_what_was_appended_is_found_again(tmp_path: pathlib.Path) -> None:
    file = logfile.LogFile(str(tmp_path))
    assert file.state == logfile.State()
    file.append(b"one\n", 7, {"a": position(7)})
    file.append(b"two\n", 9, {"a": position(9)})
    file.sync()
    file.close()
    again = logfile.LogFile(str(tmp_path))
    assert again.state[:2] == (8, 9)
    assert again.state.decoded()["a"].last == 9
    again.close()
    again.close()
    assert (tmp_path / logfile.LOG).read_bytes() == b"one\ntwo\n"


def test_the_last_of_a_disk_is_not_for_logs(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = logfile.LogFile(str(tmp_path))
    file.append(b"one\n", 7, {})
    with monkeypatch.context() as patched:
        patched.setattr(statedir, "RESERVE", 1 << 60)
        with pytest.raises(OSError, match="No space left on device"):
            file.append(b"two\n", 9, {})
    assert file.state[:2] == (4, 7)
    file.append(b"two\n", 9, {})
    file.close()
    assert (tmp_path / logfile.LOG).read_bytes() == b"one\ntwo\n"


@pytest.mark.parametrize("there", range(4, 9))
def test_an_append_that_was_cut(tmp_path: pathlib.Path, there: int) -> None:
    """It is done, or undone."""
    file = logfile.LogFile(str(tmp_path))
    file.append(b"one\n", 7, {"a": position(7)})
    file.append(b"two\n", 9, {"a": position(9)})
    file.close()
    os.truncate(tmp_path / logfile.LOG, there)
    again = logfile.LogFile(str(tmp_path))
    assert again.state[:2] == ((8, 9) if there == 8 else (4, 7))
    assert (tmp_path / logfile.LOG).stat().st_size == again.state.size
    again.append(b"three\n", 11, {})
    again.close()
    assert (tmp_path / logfile.LOG).read_bytes().endswith(b"\nthree\n")


@pytest.mark.parametrize("words", [b"", b"[", b"{}", b"[1,2]", b'[[0,1,{"a":[]}],[0,1,{}]]', b"\0" * 40])
def test_what_a_loss_of_power_leaves(tmp_path: pathlib.Path, words: bytes) -> None:
    """Everything is taken again."""
    (tmp_path / logfile.LOG).write_bytes(b"one\n")
    (tmp_path / logfile.POSITIONS).write_bytes(words)
    file = logfile.LogFile(str(tmp_path))
    assert file.state == logfile.State()
    file.close()
    assert (tmp_path / logfile.LOG).read_bytes() == b""


def test_records_that_were_lost_with_the_power(tmp_path: pathlib.Path) -> None:
    file = logfile.LogFile(str(tmp_path))
    file.append(b"one\n", 7, {})
    file.append(b"two\n", 9, {})
    file.close()
    os.truncate(tmp_path / logfile.LOG, 3)
    again = logfile.LogFile(str(tmp_path))
    assert again.state == logfile.State()
    again.close()


def test_a_directory_that_is_gone(tmp_path: pathlib.Path) -> None:
    with pytest.raises(FileNotFoundError):
        logfile.LogFile(str(tmp_path / "no"))

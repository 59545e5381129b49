"""Files that a loss of power cannot take. Which syncs happen is tested in tests/crash/power/."""

import os

import pytest

from tygerd.osutil import durable


@pytest.mark.parametrize("sync", [False, True])
def test_a_file_is_replaced_whole(tmp_path, sync):
    path = tmp_path / "file"
    path.write_text("a longer text than the new one")
    durable.replace(str(path), b"new", sync=sync)
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["file"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_draft_that_a_crash_left_is_written_over(tmp_path):
    (tmp_path / "file.new").write_text("a longer text than the new one")
    durable.replace(str(tmp_path / "file"), b"new", sync=False)
    assert (tmp_path / "file").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["file"]


def test_what_cannot_be_written_leaves_what_was(tmp_path):
    path = tmp_path / "file"
    path.write_text("before")
    (tmp_path / "file.new").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        durable.replace(str(path), b"new", sync=False)
    assert path.read_text() == "before"


def test_files_and_directories_can_be_waited_for(tmp_path):
    (tmp_path / "file").touch()
    durable.sync_path(str(tmp_path / "file"))
    durable.sync_path(str(tmp_path))
    with pytest.raises(FileNotFoundError):
        durable.sync_path(str(tmp_path / "other"))


def test_all_that_leads_to_a_directory_can_be_waited_for(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to("a")
    durable.sync_upward(str(tmp_path / "link" / "b"))
    with pytest.raises(FileNotFoundError):
        durable.sync_upward(str(tmp_path / "other"))

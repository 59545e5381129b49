"""The boot that wrote a container."""

import os
import pathlib
import uuid

import pytest

from tygerd.blocks import boot


def test_the_current_boot_is_the_kernels():
    assert str(uuid.UUID(boot.current())) == boot.current()
    assert boot.current() == boot.current()


@pytest.mark.parametrize("sync", [False, True])
def test_what_is_remembered_has_not_changed(tmp_path, sync):
    boot.remember(str(tmp_path), sync=sync)
    assert not boot.changed(str(tmp_path))
    assert boot.synced(str(tmp_path)) == sync
    assert os.listdir(tmp_path) == [boot.FILE]


def test_another_boot_is_a_change_until_the_new_one_is_remembered(tmp_path):
    pathlib.Path(tmp_path, boot.FILE).write_text(f"{uuid.uuid4()} synced\n")
    assert boot.changed(str(tmp_path))
    assert not boot.synced(str(tmp_path))
    boot.remember(str(tmp_path))
    assert not boot.changed(str(tmp_path))


@pytest.mark.parametrize("left", [None, b"", b"\0" * 37, b"\xff" * 200])
def test_what_a_loss_of_power_leaves_counts_as_changed(tmp_path, left):
    if left is not None:
        pathlib.Path(tmp_path, boot.FILE).write_bytes(left)
    assert boot.changed(str(tmp_path))


def test_a_draft_that_was_left_behind_is_no_hindrance(tmp_path):
    pathlib.Path(tmp_path, boot.FILE + ".new").write_text("half")
    assert boot.changed(str(tmp_path))
    boot.remember(str(tmp_path))
    assert not boot.changed(str(tmp_path))

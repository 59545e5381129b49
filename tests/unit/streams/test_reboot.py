"""What lost its end with the machine has failed, by name; all else is left alone."""

import os
import pathlib
import uuid

import pytest

from tygerd.blocks import boot, container, journal, writer
from tygerd.catalog import db, transfers
from tygerd.streams import reboot


@pytest.fixture
def state(tmp_path):
    (tmp_path / "containers").mkdir()
    boot.remember(str(tmp_path))
    restart_machine(tmp_path)
    return tmp_path


def restart_machine(state):
    (state / boot.FILE).write_text(f"{uuid.uuid4()}\n")


def captured(state, name, *, end=None):
    directory = state / "containers" / name
    directory.mkdir()
    target = container.Container(str(directory))
    into = writer.Writer.create(target, 8192)
    fd = into.block_file(0)
    os.write(fd, b"data")
    into.seal(0, 4, into.digest(fd, 4))
    os.close(fd)
    if end:
        into.finish(end)
    target.close()


def empty(state, name):
    (state / "containers" / name).mkdir()


def end_of(state, name):
    target = container.Container(str(state / "containers" / name))
    try:
        return target.end(), target.failure()
    finally:
        target.close()


async def settle(state, *rows, unfinished=()):
    catalog = db.Catalog.open(str(state / "catalog.sqlite3"))
    try:
        for number, (buffer, outcome, size) in enumerate(rows):
            row = transfers.TransferRow(
                id=f"{number:032x}", buffer=buffer, run=None, state=outcome, reason=None, block_size=8192,
                flush_interval=1, bytes=size, blocks=1, created_at=1, finished_at=2, owner_uid=0, owner="",
                epoch=1,
            )  # fmt: skip
            await catalog.write(transfers.insert, row)
        await reboot.settle(catalog, str(state), unfinished=set(unfinished), sync=False)
    finally:
        catalog.close()


async def test_a_stream_without_its_end_has_failed_unless_somebody_sees_to_it(state):
    captured(state, "lost")
    captured(state, "seen")
    captured(state, "whole", end="complete")
    await settle(state, unfinished=["seen"])
    assert end_of(state, "lost") == ("failed", reboot.LOST)
    assert end_of(state, "seen") == (None, None)
    assert end_of(state, "whole") == ("complete", None)


async def test_a_stream_that_is_gone_altogether_has_failed_where_it_was_known(state):
    for name in ("complete", "failed", "refused", "unwritten"):
        empty(state, name)
    await settle(state, ("complete", "complete", 0), ("failed", "failed", 7), ("refused", "failed", 0))
    assert end_of(state, "complete") == ("failed", reboot.LOST)
    assert end_of(state, "failed") == ("failed", reboot.LOST)
    assert end_of(state, "refused") == (None, None)
    assert end_of(state, "unwritten") == (None, None)


async def test_blobs_that_a_client_put_are_left_alone(state):
    empty(state, "put")
    target = container.Container(str(state / "containers" / "put"))
    fd, staged = target.staging()
    os.close(fd)
    target.publish(staged, ".bufferstart", bytes(16), {})
    await settle(state)
    assert end_of(state, "put") == (None, None)


async def test_a_damaged_journal_is_left_to_who_reads_it(state):
    captured(state, "damaged")
    journal_file = pathlib.Path(state, "containers", "damaged", "journal")
    journal_file.write_bytes(bytes(200))
    await settle(state)
    with pytest.raises(journal.DamagedError):
        end_of(state, "damaged")


async def test_it_looks_once_after_each_boot(state):
    await settle(state)
    captured(state, "running")
    await settle(state)
    assert end_of(state, "running") == (None, None)
    restart_machine(state)
    await settle(state)
    assert end_of(state, "running") == ("failed", reboot.LOST)

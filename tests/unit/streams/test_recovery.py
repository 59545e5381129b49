"""A container's writer, made or found again, also where there is no room for it yet."""

import os

import pytest
import trio

from tests.support import disks
from tyger import errors
from tygerd.blocks import container, journal
from tygerd.streams import order, recovery

SETTINGS = order.Settings(
    id="0" * 32, buffer="b", block_size=10, flush_interval=0, owner=1, run=None, sync=False, started_at=1
)


async def recover(target, on_waiting=lambda _: None):
    return await recovery.recover(target, SETTINGS, limiter=trio.CapacityLimiter(1), on_waiting=on_waiting)


async def test_it_is_made_and_found_again(tmp_path):
    target = container.Container(str(tmp_path))
    made = await recover(target)
    fd = made.block_file(0)
    os.pwrite(fd, b"some", 0)
    os.close(fd)
    rung = target.feed.next()
    again = await recover(target)
    assert (again.next_number, again.sealed_bytes) == (1, 4)
    assert rung.is_set()
    target.close()


async def test_what_is_damaged_is_said(tmp_path):
    (tmp_path / "journal").write_bytes(bytes(100))
    with pytest.raises(journal.DamagedError):
        await recover(container.Container(str(tmp_path)))


async def test_what_somebody_else_has_put_there(tmp_path):
    (tmp_path / "put").mkdir()
    (tmp_path / "put" / "meta").mkdir()
    with pytest.raises((OSError, errors.Problem)):
        await recover(container.Container(str(tmp_path)))


async def test_a_full_disk_is_waited_for(tmp_path, autojump_clock):
    with disks.mounted(tmp_path / "disk", "-o", "size=1m") as disk:
        disks.fill(disk / "filler")
        target, said = container.Container(str(disk)), []

        def on_waiting(why):
            said.append(why)
            if why:
                os.unlink(disk / "filler")

        made = await recover(target, on_waiting)
        assert made.next_number == 0
        assert said == ["the disk is full", None]
        target.close()


async def test_cancelled_in_that_wait_it_is_not_said_any_more(tmp_path, autojump_clock):
    with disks.mounted(tmp_path / "disk", "-o", "size=1m") as disk:
        disks.fill(disk / "filler")
        target, said = container.Container(str(disk)), []
        with trio.move_on_after(10):
            await recover(target, said.append)
        assert said[-2:] == ["the disk is full", None]

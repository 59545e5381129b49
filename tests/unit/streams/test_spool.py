"""The spool: how much of the disk it may take, who waits for room, what a loss of power leaves of it."""

import os

import pytest
import trio

from tests.support import disks
from tygerd.blocks import boot, shipped, writer
from tygerd.streams import spool

ID = "0123456789abcdef0123456789abcdef"


class Used:
    """Bytes in the spool, as the registry counts them."""

    def __init__(self, amount=0):
        self.amount = amount

    def __call__(self):
        return self.amount


async def started(path, used, *, limit=100, floor=0):
    made = spool.Spool(str(path), limit=limit, floor=floor, used=used, sync=False)
    await made.start()
    return made


async def test_who_does_not_fit_waits_until_a_block_has_left(tmp_path, autojump_clock):
    used = Used(60)
    made = await started(tmp_path, used)
    said = []
    await made.admit(40, said.append)
    assert said == []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.admit, 41, said.append)
        await trio.testing.wait_all_tasks_blocked()
        assert said == [spool.FULL]
        used.amount = 59
        made.freed()
    assert said == [spool.FULL, None]


async def test_a_block_larger_than_the_limit_goes_alone(tmp_path):
    said = []
    await (await started(tmp_path, Used(0))).admit(1000, said.append)
    assert said == []


async def test_the_disk_keeps_its_floor(tmp_path, autojump_clock):
    """There is no event for room on a disk: it is looked for."""
    with disks.mounted(tmp_path / "disk", "-o", "size=8m") as disk:
        made = await started(disk, Used(1), limit=1 << 40, floor=4 << 20)
        (disk / "more").write_bytes(bytes(5 << 20))
        said = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(made.admit, 1000, said.append)
            await trio.sleep(3)
            assert said == [spool.NO_ROOM]
            (disk / "more").unlink()
        assert said == [spool.NO_ROOM, None]


async def test_what_is_not_known_is_swept(tmp_path):
    made = await started(tmp_path, Used())
    kept = await made.create(ID)
    await made.create("f" * 32)
    assert await made.sweep({ID}) == ["f" * 32]
    assert os.listdir(tmp_path / "spool") == [ID]
    assert (await made.open(ID)).path == kept.path
    await made.delete(ID)
    await made.delete(ID)
    assert os.listdir(tmp_path / "spool") == []


# --- after a restart of the machine -----------------------------------------------------------------------


@pytest.fixture
async def ended(tmp_path):
    """A spooled stream of three blocks whose first was shipped."""
    target = await (await started(tmp_path, Used())).create(ID)
    into = writer.Writer.create(target, 10)
    for number in range(3):
        fd = into.block_file(number)
        os.pwrite(fd, b"0123456789", 0)
        into.seal(number, 10, into.digest(fd, 10))
        os.close(fd)
    into.finish("complete")
    mark = shipped.Shipped.open(target.path)
    mark.accepted(0, 10)
    mark.close()
    os.unlink(target.block_path(0))
    yield target
    target.close()


async def test_a_container_of_this_boot_is_trusted(ended):
    assert spool.check_after_boot(ended, sync=False) is None


async def test_a_whole_container_is_trusted_again(ended):
    with open(os.path.join(ended.path, "boot"), "w") as file:
        file.write("another boot\n")
    assert boot.changed(ended.path)
    assert spool.check_after_boot(ended, sync=False) is None
    assert not boot.changed(ended.path)


async def test_the_first_bad_block_is_named(ended):
    with open(os.path.join(ended.path, "boot"), "w") as file:
        file.write("another boot\n")
    with open(ended.block_path(1), "r+b") as block:
        block.write(bytes(10))
    lost = spool.check_after_boot(ended, sync=False)
    assert lost.startswith("block 1 was lost when the machine went down: ")

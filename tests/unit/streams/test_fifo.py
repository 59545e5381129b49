"""Opening named pipes: the other end comes, or the opening is given up, or it cannot be."""

import contextlib
import os

import pytest
import trio
import trio.testing

from tests.support import leftovers
from tyger import errors
from tygerd.streams import fifo


@pytest.fixture
def path(tmp_path):
    made = tmp_path / "pipe"
    os.mkfifo(made)
    return str(made)


async def blocked_in_open():
    """Until a thread of ours waits in open(2) of a named pipe: wait_for_partner, in the kernel's words.

    A kernel that keeps its words to itself gets half a second; the tests hold either way.
    """
    await trio.testing.wait_all_tasks_blocked()
    with trio.move_on_after(0.5):
        while not any(map(waits_for_partner, os.listdir("/proc/self/task"))):
            await trio.lowlevel.checkpoint()


def waits_for_partner(task):
    with contextlib.suppress(OSError), open(f"/proc/self/task/{task}/wchan") as file:
        return file.read() == "wait_for_partner"
    return False


@pytest.mark.parametrize(("ours", "theirs"), [(os.O_RDONLY, os.O_WRONLY), (os.O_WRONLY, os.O_RDONLY)])
async def test_the_other_end_comes(path, ours, theirs):
    peers = []

    async def peer():
        peers.append(await trio.to_thread.run_sync(os.open, path, theirs))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer)
        with await fifo.opened(path, ours, trio.sleep_forever) as pipe:
            assert not pipe.abandoned
            assert os.get_inheritable(pipe.fileno()) is False
    os.close(peers[0])


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY])
@pytest.mark.parametrize("unlinked", [False, True])
async def test_given_up(path, flags, unlinked):
    """Also when the pipe's directory has been cleared away meanwhile."""

    async def abandon():
        await blocked_in_open()
        if unlinked:
            os.unlink(path)

    before = leftovers.descriptors()
    with await fifo.opened(path, flags, abandon) as pipe:
        assert pipe.abandoned
        assert len(leftovers.descriptors() - before) == 1
        if flags == os.O_RDONLY:
            assert os.read(pipe.fileno(), 1) == b""
        else:
            with pytest.raises(BrokenPipeError):
                os.write(pipe.fileno(), b"x")


async def test_given_up_before_it_began(path, tmp_path):
    (tmp_path / "tombstone").touch()

    async def abandon():
        await fifo.appears(str(tmp_path / "tombstone"))

    with await fifo.opened(path, os.O_WRONLY, abandon) as pipe:
        assert pipe.abandoned


async def test_what_a_quick_writer_left_is_not_lost(path):
    """It wrote and was over before we were told of either."""
    with await fifo.opened(path, os.O_RDONLY, lambda: trio.to_thread.run_sync(write_and_leave, path)) as pipe:
        assert os.read(pipe.fileno(), 100) == b"last words"
        assert os.read(pipe.fileno(), 100) == b""


def write_and_leave(path):
    fd = os.open(path, os.O_WRONLY)
    os.write(fd, b"last words")
    os.close(fd)


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY])
async def test_cancelled_nothing_stays_open(path, flags):
    before = leftovers.descriptors()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fifo.opened, path, flags, trio.sleep_forever)
        await blocked_in_open()
        nursery.cancel_scope.cancel()
    assert not leftovers.descriptors() - before


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("missing", errors.NOT_FOUND, "there is no such pipe"),
        ("file", errors.INVALID_INPUT, "file is not a named pipe"),
        ("file/x", errors.IO_ERROR, "cannot open .*/file/x: Not a directory"),
    ],
)
async def test_what_is_no_pipe(tmp_path, name, kind, words):
    (tmp_path / "file").touch()
    before = leftovers.descriptors()
    with pytest.raises(errors.Problem, match=words) as caught:
        await fifo.opened(str(tmp_path / name), os.O_RDONLY, trio.sleep_forever)
    assert caught.value.kind is kind
    assert not leftovers.descriptors() - before


async def test_a_tombstone_that_comes_later(tmp_path, autojump_clock):
    async with trio.open_nursery() as nursery:
        found = []

        async def look():
            await fifo.appears(str(tmp_path / "tombstone"))
            found.append(trio.current_time())

        nursery.start_soon(look)
        await trio.sleep(1.01)
        assert not found
        (tmp_path / "tombstone").touch()
    assert 1.0 < found[0] < 1.2


async def test_openings_that_wait_take_threads_of_their_own(path):
    limiter = trio.CapacityLimiter(1)

    async def wait():
        with await fifo.opened(path, os.O_RDONLY, trio.sleep_forever, limiter):
            pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await blocked_in_open()
        assert trio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
        assert limiter.borrowed_tokens == 1
        nursery.cancel_scope.cancel()

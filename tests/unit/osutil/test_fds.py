"""Who owns a descriptor closes it once, and forgets the number."""

import os

import pytest
import trio

from tygerd.osutil import fds


@pytest.fixture
def pipe():
    reading, writing = os.pipe()
    yield reading
    os.close(writing)


def is_open(number):
    return os.path.exists(f"/proc/self/fd/{number}")


def test_it_is_closed_once_and_forgotten(pipe):
    closed = []
    fd = fds.OwnedFd(pipe, on_close=lambda: closed.append(1))
    assert fd.fileno() == pipe
    assert not fd.closed
    fd.close()
    fd.close()
    assert fd.closed
    assert closed == [1]
    assert not is_open(pipe)
    assert repr(fd) == "<OwnedFd closed>"
    with pytest.raises(ValueError, match="closed"):
        fd.fileno()


def test_it_can_be_handed_on(pipe):
    closed = []
    fd = fds.OwnedFd(pipe, on_close=lambda: closed.append(1))
    assert fd.detach() == pipe
    fd.close()
    assert is_open(pipe)
    assert closed == [1]
    os.close(pipe)
    with pytest.raises(ValueError, match="closed"):
        fd.detach()


def test_a_forgotten_one_is_closed_with_a_warning(pipe):
    holder = [fds.OwnedFd(pipe)]
    with pytest.warns(ResourceWarning, match="was forgotten"):
        holder.clear()
    assert not is_open(pipe)


async def test_who_waits_for_it_is_woken(pipe):
    fd = fds.OwnedFd(pipe)
    woken = []

    async def wait():
        try:
            await trio.lowlevel.wait_readable(fd.fileno())
        except trio.ClosedResourceError:
            woken.append(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        fd.close()
    assert woken == [1]

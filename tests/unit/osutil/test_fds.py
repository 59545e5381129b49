"""Who owns a descriptor closes it once, and forgets the number."""

import errno
import os
import pathlib
import pty
import signal

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


async def test_closing_a_pipe_whose_lock_is_held_does_not_block_the_daemon():
    """Somebody splices from a terminal into the pipe that he passed to us, and never types."""
    master, terminal = pty.openpty()
    reader, writer = os.pipe()
    # A process of its own: it can be ended, and its splice with it.
    child = os.fork()
    if child == 0:
        try:
            os.splice(terminal, writer, 100)
        finally:
            os._exit(0)
    try:
        while pathlib.Path(f"/proc/{child}/syscall").read_text().split()[0] != str(SPLICE):
            os.sched_yield()
        owned = fds.OwnedFd(reader)
        await owned.aclose()
        assert owned.closed
    finally:
        os.kill(child, signal.SIGKILL)
        await trio.to_thread.run_sync(os.waitpid, child, 0)
        for fd in (master, terminal, writer):
            os.close(fd)


SPLICE = 275
"""Its number on x86-64, as /proc/PID/syscall shows it."""


async def test_closing_in_a_thread_when_cancelled():
    reader, writer = os.pipe()
    with trio.CancelScope() as scope:
        scope.cancel()
        await fds.OwnedFd(reader).aclose()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(reader)
    os.close(writer)


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
async def test_an_error_of_whoever_passed_it_is_logged(pipe, monkeypatch, caplog, number):
    """A file on a network file system says only now that something could not be stored."""
    close = os.close

    def report(fd):
        close(fd)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "close", report)
    await fds.OwnedFd(pipe).aclose()
    monkeypatch.undo()
    assert not is_open(pipe)
    assert os.strerror(number) in caplog.text


async def test_a_number_that_is_not_ours_any_more_is_a_defect(pipe):
    fd = fds.OwnedFd(pipe)
    os.close(pipe)
    with pytest.raises(OSError, match="Bad file descriptor"):
        await fd.aclose()

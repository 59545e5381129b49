"""Opening a named pipe that the job may never open.

`open(2)` of a named pipe blocks until its other end is opened too. It blocks in a worker thread, which can't
be interrupted; it is released by opening the other end here. Both opens go through one descriptor of the
path (`O_PATH`), so that the release works even when the pipe has been unlinked meanwhile.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Awaitable, Callable

import trio

from tyger import errors
from tygerd.osutil import fds

LOOK = 0.1
"""Seconds between looks for a tombstone; the end of a job that never opened its pipe may wait as long."""


class Opened(fds.OwnedFd):
    """An end of a pipe. `abandoned`: nobody opened the other end before the opening was given up."""

    abandoned = False


async def opened(
    path: str,
    flags: int,
    abandon: Callable[[], Awaitable[None]],
    limiter: trio.CapacityLimiter | None = None,
) -> Opened:
    """Open a named pipe, for reading or writing as `flags` say, once its other end is being opened.

    When `abandon` returns first, the opening is given up: the result is `abandoned` and has no other end. A
    peer that was there just before is not lost: what it wrote is in the pipe. Meanwhile a thread of `limiter`
    is not there for anybody else.

    Cancelled, nothing stays open.

    Raises:
        Problem: NOT_FOUND, INVALID_INPUT (not a named pipe) or IO_ERROR.
    """
    with fds.OwnedFd(_locate(path)) as place:
        return await _open(f"/proc/self/fd/{place.fileno()}", path, flags, abandon, limiter)


async def _open(
    place: str,
    path: str,
    flags: int,
    abandon: Callable[[], Awaitable[None]],
    limiter: trio.CapacityLimiter | None,
) -> Opened:
    came = threading.Event()
    given_up = False
    holding: int | None = None

    def enter() -> int:
        fd = os.open(place, flags | os.O_CLOEXEC)
        came.set()
        return fd

    async def watch() -> None:
        nonlocal given_up, holding
        try:
            await abandon()
            given_up = not came.is_set()
        finally:
            if not came.is_set():
                # Both ends at once, and kept until the thread is back: it may not have blocked yet.
                holding = os.open(place, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    result: Opened | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            result = Opened(await trio.to_thread.run_sync(enter, limiter=limiter))
            result.abandoned = given_up
            nursery.cancel_scope.cancel()
    except BaseException as error:
        if result is not None:
            result.close()
        if isinstance(error, BaseExceptionGroup) and (found := error.subgroup(OSError)):
            raise _problem(path, found) from None
        raise
    finally:
        if holding is not None:
            os.close(holding)
    return result


async def appears(path: str) -> None:
    """Wait until there is a file; one that was there counts."""
    # A stat ten times a second costs nothing and needs no inotify, which not every volume of a pod has.
    while not os.path.exists(path):  # noqa: ASYNC110, ASYNC240
        await trio.sleep(LOOK)


def _locate(path: str) -> int:
    """A descriptor of the pipe's path, after everything was checked that could make the opening fail."""
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        raise errors.Problem(errors.NOT_FOUND, f"cannot open {path}: there is no such pipe") from None
    except OSError as error:
        raise errors.Problem(errors.IO_ERROR, f"cannot open {path}: {error.strerror}") from None
    if not stat.S_ISFIFO(os.fstat(fd).st_mode):
        os.close(fd)
        raise errors.Problem(errors.INVALID_INPUT, f"{path} is not a named pipe")
    if not os.access(f"/proc/self/fd/{fd}", os.R_OK | os.W_OK):
        os.close(fd)
        message = f"cannot open {path}: it must be readable and writeable for uid {os.geteuid()}"
        raise errors.Problem(errors.FORBIDDEN, message)
    return fd


def _problem(path: str, group: BaseExceptionGroup[OSError]) -> errors.Problem:
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    why = first.strerror if isinstance(first, OSError) else None
    return errors.Problem(errors.IO_ERROR, f"cannot open {path}: {why}")

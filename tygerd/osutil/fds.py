"""Ownership of file descriptors. A number is reused as soon as it is closed, so an owner forgets it then.

An `OwnedFd` is the only holder of its number. It never sets flags: `O_NONBLOCK` on a passed descriptor
would be shared with the user's shell.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Self

import trio

logger = logging.getLogger(__name__)

CLOSE_PATIENCE = 1.0
"""Seconds that `aclose` waits for its thread."""


class OwnedFd:
    """One open descriptor, closed exactly once.

    `on_close` is called once after it was closed or detached (accounting). A descriptor that is forgotten
    is closed by the garbage collector, with a `ResourceWarning`.
    """

    def __init__(self, fd: int, *, on_close: Callable[[], None] | None = None) -> None:
        self._fd = fd
        self._on_close = on_close

    def fileno(self) -> int:
        """The number.

        Raises:
            ValueError: it was closed or detached.
        """
        if self._fd < 0:
            raise ValueError("this descriptor is closed")
        return self._fd

    @property
    def closed(self) -> bool:
        """Whether it was closed or detached."""
        return self._fd < 0

    def close(self) -> None:
        """Wake who waits on it in trio (they get `ClosedResourceError`), then close. Idempotent."""
        if (fd := self._forget()) < 0:
            return
        try:
            # Outside trio nobody can be waiting in it.
            with contextlib.suppress(RuntimeError):
                trio.lowlevel.notify_closing(fd)
        finally:
            os.close(fd)

    async def aclose(self) -> None:
        """As `close`, for a descriptor that somebody passed: never blocks the daemon.

        Closing a pipe waits for its lock, which its other end can hold for ever (a `splice` from a terminal
        into it does). So a thread closes it, which is left alone after `CLOSE_PATIENCE`. Not cancelled. That
        the file system of whoever passed it reports an error is logged.
        """
        if (fd := self._forget()) >= 0:
            trio.lowlevel.notify_closing(fd)
            with trio.move_on_after(CLOSE_PATIENCE, shield=True):
                await trio.to_thread.run_sync(
                    _close, fd, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1)
                )

    def detach(self) -> int:
        """Hand the number to the caller, who closes it from now on.

        Raises:
            ValueError: it was closed or detached.
        """
        self.fileno()
        return self._forget()

    def _forget(self) -> int:
        fd, self._fd = self._fd, -1
        if fd >= 0 and self._on_close is not None:
            self._on_close()
        return fd

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            warnings.warn(f"descriptor {self._fd} was forgotten", ResourceWarning, source=self, stacklevel=2)
            self.close()

    def __repr__(self) -> str:
        return f"<OwnedFd {self._fd if self._fd >= 0 else 'closed'}>"


def _close(fd: int) -> None:
    try:
        os.close(fd)
    except OSError as error:  # it is closed nevertheless, and what it leads to may be anything
        if error.errno == errno.EBADF:
            raise
        logger.warning("a descriptor that was passed reports when it is closed: %s", error.strerror)

"""Whether a container lives, as the kernel says: its engine may be away, or slow to notice.

A stream that ends is whole only if its writer goes on or ends well. So it has to be known at once that it has
ended, even if how is told later.
"""

from __future__ import annotations

import os
import select


class Lifeline:
    """Holds on to the first process of a container, which ends with it. To be closed."""

    def __init__(self, pid: int, container: str) -> None:
        """Take the process `pid` of the container with this id.

        Where the engine runs in another machine, the process is a stranger, whose control group isn't named
        after the container, or there is none. Then nothing is ever known.
        """
        self._fd = -1
        try:
            fd = os.pidfd_open(pid)
        except OSError:
            return
        # Only now, as the number might have been another's meanwhile.
        if _belongs(pid, container):
            self._fd = fd
        else:
            os.close(fd)

    def fileno(self) -> int:
        """Readable once the container has surely ended; -1 where that is never known."""
        return self._fd

    @property
    def cut(self) -> bool:
        """Whether the container has surely ended. From any thread."""
        poller = select.poll()
        if self._fd >= 0:
            poller.register(self._fd, select.POLLIN)
        return bool(poller.poll(0))

    def close(self) -> None:
        """Idempotent; nobody may ask at the same time."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _belongs(pid: int, container: str) -> bool:
    try:
        with open(f"/proc/{pid}/cgroup") as file:
            return container in file.read()
    except OSError:
        return False

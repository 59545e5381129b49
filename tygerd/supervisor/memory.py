"""Whether the kernel has killed a process of a container because its memory ran out.

An engine's own word for it, `OOMKilled`, is not always there: Podman 4 never says it on hosts with version 1
of control groups. The kernel counts such deaths in the container's control group, which anybody may read for
as long as it exists; that is until the engine cleans up, some 50 ms after the container's end.
"""

from __future__ import annotations

import contextlib
import os

ROOT, PROC = "/sys/fs/cgroup", "/proc/{}/cgroup"

_FILES = ("memory.events", "memory.oom_control")
"""Of version 2, with all groups below, and of version 1."""


class Memory:
    """The count of one container. To be closed."""

    def __init__(self, pid: int, container: str, *, root: str = ROOT) -> None:
        """Look at the group of the process `pid`, which belongs to the container with the id `container`.

        Where the engine runs in another machine, the process is a stranger: its group isn't named after the
        container.
        """
        self._fd = -1
        for path in _places(pid, container, root):
            with contextlib.suppress(OSError):
                self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                break
        self._killed = False

    def killed(self) -> bool:
        """Whether it has happened, as far as can be known."""
        if self._fd >= 0 and not self._killed:
            with contextlib.suppress(OSError):  # ENODEV: the group is gone
                words = os.pread(self._fd, 4096, 0).split()
                self._killed = b"oom_kill" in words and words[words.index(b"oom_kill") + 1] != b"0"
        return self._killed

    def close(self) -> None:
        """Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _places(pid: int, container: str, root: str) -> list[str]:
    """Where the count may stand: the process's own group, then those above it that are the container's."""
    try:
        with open(PROC.format(pid)) as file:
            lines = file.read().splitlines()
    except OSError:
        return []
    places = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        top = os.path.join(root, controllers)
        while container in group:
            places += [f"{top}{group}/{name}" for name in _FILES]
            group = os.path.dirname(group)
    return places

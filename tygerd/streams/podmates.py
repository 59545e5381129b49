"""Whether main lives, as the processes of our pod show it: its containers share their process namespace.

The kubelet takes notice of main's end a second or two late, on a busy node later; `/proc` shows it at once.
It does not tell how main ended, and where containers see nothing of each other it tells nothing.
"""

from __future__ import annotations

import os
from typing import NamedTuple

PROC = "/proc"

SANDBOX = "1"
"""The first process of a shared namespace is of no container: it holds the namespace."""


class _Process(NamedTuple):
    """`parent` is 0 where that is outside: of a container's first process, and what is started in it."""

    state: str
    parent: int
    cgroup: bytes


def main_lives(proc: str = PROC) -> bool | None:
    """Whether main's first process runs; None where that cannot be seen."""
    own, sandbox = _read(proc, "self"), _read(proc, SANDBOX)
    if own is None or sandbox is None or own.cgroup == sandbox.cgroup:
        return None
    for name in os.listdir(proc):
        if not name.isdecimal() or name == SANDBOX or (found := _read(proc, name)) is None:
            continue
        if found.parent == 0 and found.state not in "ZX" and found.cgroup != own.cgroup:
            return True
    return False


def _read(proc: str, name: str) -> _Process | None:
    """A process; None where it is gone, or may not be looked at."""
    try:
        with open(os.path.join(proc, name, "stat"), "rb") as file:
            # "7 (a name (with) parentheses) S 0 ..."
            state, parent = file.read().rpartition(b") ")[2].split()[:2]
        with open(os.path.join(proc, name, "cgroup"), "rb") as file:
            return _Process(state.decode(), int(parent), file.read())
    except (OSError, ValueError):
        return None

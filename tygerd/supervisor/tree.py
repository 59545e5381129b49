"""All processes of a job: what main started, and what those started, wherever they hid.

The supervisor is a child subreaper, so whatever a job's process forks, double forks or puts into another
session stays below us in the tree and ends up as our child when its parents are gone. Only the supervisor's
main thread may call this module, but for `descendants`, which only looks.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections.abc import Collection, Iterable

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36

_libc = ctypes.CDLL(None, use_errno=True)


def become_subreaper() -> None:
    """Adopt every orphan among our descendants from now on."""
    if _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def die_with_parent() -> None:
    """Have the kernel kill the calling process when its parent ends. For `preexec_fn`."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def descendants(root: int | None = None, *, skip: Collection[int] = ()) -> list[int]:
    """Every process below `root`, by default this one; parents before their children.

    Those that wait to be reaped are among them. Those in `skip` are left out, and what is below them.
    """
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (parent := _parent(entry)) is not None:
            children.setdefault(parent, []).append(int(entry))
    found: list[int] = []
    todo = [root or os.getpid()]
    while todo:
        below = [pid for pid in children.get(todo.pop(), []) if pid not in skip]
        found += below
        todo += below
    return found


def _parent(pid: str) -> int | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name stands in parentheses and may hold anything: count from the last one.
            return int(file.read().rpartition(b")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None


def send(number: signal.Signals, pids: Iterable[int]) -> None:
    """Signal these processes, as far as they are still there and ours to signal."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def kill() -> None:
    """Send KILL to every descendant. What is forked meanwhile needs another call: see `reap`."""
    send(signal.SIGKILL, descendants())


def reap() -> tuple[dict[int, int], bool]:
    """Collect every child that has ended.

    Returns the exit codes (128 + n for signal n) of those that were collected, and whether any child is left.
    """
    codes: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return codes, False
        if pid == 0:
            return codes, True
        code = os.waitstatus_to_exitcode(status)
        codes[pid] = code if code >= 0 else 128 - code

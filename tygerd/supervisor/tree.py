"""All processes of a job: what main started, and what those started, wherever they hid.

The supervisor is a child subreaper, so whatever a job's process forks, double forks or puts into another
session stays below us in the tree and ends up as our child when its parents are gone. Only the supervisor's
main thread may call this module.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal

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


def descendants() -> list[int]:
    """Every process below this one, parents before their children, and those that wait to be reaped."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (parent := _parent(entry)) is not None:
            children.setdefault(parent, []).append(int(entry))
    found: list[int] = []
    todo = [os.getpid()]
    while todo:
        below = children.get(todo.pop(), [])
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


def send(number: signal.Signals, *, spare: int | None = None) -> None:
    """Signal every descendant but `spare` (a sandbox that would take the job with it)."""
    for pid in descendants():
        if pid != spare:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)


def kill() -> None:
    """Send KILL to every descendant. What is forked meanwhile needs another call: see `reap`."""
    send(signal.SIGKILL)


def reap(main: int | None) -> tuple[int | None, bool]:
    """Collect every child that has ended.

    Returns main's exit code if it was among them (128 + n for signal n), and whether any child is left.
    """
    code: int | None = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code, False
        if pid == 0:
            return code, True
        if pid == main:
            exit_code = os.waitstatus_to_exitcode(status)
            code = exit_code if exit_code >= 0 else 128 - exit_code

"""Keeps other processes out of ours: out of its memory, its environment, its files and what it can see.

Who has our user may otherwise look at all of that in `/proc`, and take it.
"""

from __future__ import annotations

import ctypes
import os

_PR_SET_DUMPABLE = 4  # prctl(2)

_libc = ctypes.CDLL(None, use_errno=True)


def keep_out() -> None:
    """From now on nobody looks inside but who may trace any process (CAP_SYS_PTRACE). Raises OSError."""
    if _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))

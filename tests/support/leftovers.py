"""Descriptors and threads of this process, told apart by what they are.

    had = leftovers.held()
    ...
    assert leftovers.since(had) == set()

Their number says nothing: what earlier tests have left ends whenever it likes.
"""

from __future__ import annotations

import os
import threading


def held() -> set[object]:
    """All that there are: threads and descriptors."""
    return {*threading.enumerate(), *descriptors()}


def descriptors() -> set[tuple[int, str]]:
    """The descriptors alone, by their number and what they lead to: for code whose threads may stay."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            found.add((int(number), os.readlink(f"/proc/self/fd/{number}")))
        except OSError:  # the one by which they were listed
            continue
    return found


def since(had: set[object]) -> set[object]:
    """Those that were not there before."""
    return held() - had

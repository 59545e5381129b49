"""Where requests wait: what the gates before a container engine and before a cluster have in common.

    with gate.held("POST", "/pods$") as hold:   # the next such request waits here
        hold.arrived()
    gate.close_after(3)                         # three requests pass; at the next `closed` is set
    gate.reopen()
    gate.requests                               # all that came, as "POST /containers/create"

Patterns are searched for in the path.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator

PATIENCE = 120
"""Seconds until a test gives up on a request that does not come."""

WAIT = 4 * PATIENCE
"""Seconds until a request that is stopped goes on by itself: a test that is slow still ends it."""


def matches(wanted: str, pattern: str, method: str, path: str) -> bool:
    """Whether a request is of this method, `*` for any, and of such a path."""
    return wanted in (method, "*") and bool(re.search(pattern, path))


class Hold:
    """One request that is stopped: `arrived` when it is there, `release` lets it pass."""

    def __init__(self, method: str, pattern: str) -> None:
        self.method = method
        self.pattern = pattern
        self.there = threading.Event()
        self._free = threading.Event()

    def awaits(self, method: str, path: str) -> bool:
        """Whether such a request is the one."""
        return not self.there.is_set() and matches(self.method, self.pattern, method, path)

    def stop(self) -> None:
        """In the request's thread: until it may pass."""
        self._free.wait(WAIT)

    def arrived(self) -> None:
        """Until the request is there."""
        assert self.there.wait(PATIENCE), f"nobody asked for {self.method} {self.pattern}"

    def release(self) -> None:
        """Let it pass. Idempotent."""
        self._free.set()


class Stops:
    """See above; what a gate is, but for the way that requests then go."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.closed = threading.Event()
        self.lock = threading.Lock()
        self._holds: list[Hold] = []
        self._left: int | None = None
        self._counted = ""
        self._arrives = False
        self._open = threading.Event()

    # --- for tests ---------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def held(self, method: str, pattern: str) -> Iterator[Hold]:
        """Stop the next such request, until the block ends or it is released."""
        hold = Hold(method, pattern)
        with self.lock:
            self._holds.append(hold)
        try:
            yield hold
        finally:
            hold.release()
            with self.lock:
                self._holds.remove(hold)

    def close_after(self, requests: int, *, arrives: bool = False, pattern: str = "") -> None:
        """Let so many such requests pass, hold others, set `closed`; with `arrives` the next one is done, and
        only its answer held."""
        with self.lock:
            self._counted = pattern
            self._left = requests
            self._arrives = arrives
            self._open.clear()
            self.closed.clear()

    def reopen(self) -> None:
        """Let everything pass that was stopped by `close_after`."""
        with self.lock:
            self._left = None
            self._open.set()

    # --- for connections ---------------------------------------------------------------------------------

    def stop(self, method: str, path: str) -> bool:
        """A request has come: wait where it has to. Whether its answer is to `wait_behind`."""
        with self.lock:
            self.requests.append(f"{method} {path}")
            hold = next((one for one in self._holds if one.awaits(method, path)), None)
            if hold is not None:
                hold.there.set()
            left = self._left if re.search(self._counted, path) else None
            if left is not None:
                self._left = left - 1
        answered = left == 0 and self._arrives
        if left is not None and left <= 0 and not answered:
            self.wait_behind()
        if hold is not None:
            hold.stop()
        return answered

    def wait_behind(self) -> None:
        """Wait until the gate is open again."""
        self.closed.set()
        self._open.wait(WAIT)

    def let_go(self) -> None:
        """End all waiting: the gate is not used any more."""
        with self.lock:
            holds = list(self._holds)
        for hold in holds:
            hold.release()
        self.reopen()

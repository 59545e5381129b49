"""What the two halves of the client's side of a transfer share: how it ends, is stopped, is told, comes back.

`writing` hands a pipe to the daemon, `reading` takes verified bytes from it; the commands and the supervisor
beside a run use both. Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Callable
from typing import NamedTuple

from tyger import client as client_module
from tyger import errors

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0
"""Seconds between attempts to reach a daemon that is away: doubled each time, with this ceiling."""

AWAY = "the daemon is away"


class Moved(NamedTuple):
    """How far a transfer is: bytes out of the pipe or delivered, what it waits for, bytes that the store has.

    `waiting` is None where nothing holds it up, `shipped` where the bytes stay on this host.
    """

    bytes: int
    waiting: str | None = None
    shipped: int | None = None


Progress = Callable[[Moved], None]
"""Called with how far a transfer is, at any rate, from the transfer's thread."""


class Result(NamedTuple):
    """How a transfer ended for its client, with the bytes it moved.

    `complete`; `failed` with a reason and, where there is one, a code of `tyger.errors`; `stopped` (see
    `Stop`); `spooled`: the daemon has everything and goes on alone.
    """

    state: str
    bytes: int
    reason: str | None = None
    code: str | None = None
    transfer: str = ""


class Stop:
    """Ends a transfer from a signal handler or another thread. The first reason stays."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self.leaves = False
        """Whether a stream that is whole in the daemon's spool by then may go on without us."""
        self._event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def request(self, reason: str, *, leaves: bool = False) -> None:
        """Ask the transfer to end. Safe in a signal handler; idempotent."""
        if self.reason is None:
            self.leaves = leaves
            self.reason = reason
        with contextlib.suppress(BlockingIOError):
            os.eventfd_write(self._event, 1)

    def fileno(self) -> int:
        """Readable from the first request on."""
        return self._event

    def wait(self, seconds: float) -> bool:
        """Wait for a request, at most `seconds`; True when there is one."""
        poller = select.poll()
        poller.register(self._event, select.POLLIN)
        return bool(poller.poll(seconds * 1000))

    def close(self) -> None:
        """Release the descriptor. Idempotent."""
        if self._event >= 0:
            os.close(self._event)
            self._event = -1


class Patience(NamedTuple):
    """How long, in seconds, a daemon that is away is waited for; None is for ever.

    A client that can start a daemon waits only for one that it has met, because what the start says is final
    before; with `first` it waits for one that it has not met, too.
    """

    seconds: float | None = None
    first: bool = False


class Retries:
    """The pauses between attempts to reach a daemon that is away: they double, within a limit."""

    def __init__(self, client: client_module.Client, stop: Stop, patience: Patience) -> None:
        self._stop = stop
        self._limit = patience.seconds
        self._patient = client.ensure is None or patience.first
        self._since: float | None = None
        self._pause = FIRST_PAUSE

    def success(self) -> None:
        """The daemon has answered."""
        self._patient = True
        self._since = None
        self._pause = FIRST_PAUSE

    def pause(self, lost: errors.Problem, on_away: Callable[[], None]) -> bool:
        """Wait before the next attempt; False when `stop` was requested.

        Raises:
            Problem: `lost`, when it is not the daemon's absence; GaveUpError past the limit.
        """
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        # CONFIG is a start of ours that failed: somebody will mend the configuration. What the daemon says
        # itself is no absence, also when it says that a store is unavailable: it has been patient already.
        away = lost.kind in {errors.UNAVAILABLE, errors.CONFIG} and not lost.remote
        if not away or not self._patient:
            raise lost
        left = None if self._limit is None else self._since + self._limit - now
        if left is not None and left <= 0:
            raise GaveUpError(lost, self._limit or 0.0)
        on_away()
        stopped = self._stop.wait(self._pause if left is None else min(self._pause, left))
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        return not stopped


class GaveUpError(errors.Problem):
    """The daemon stayed away for longer than was to be waited."""

    def __init__(self, lost: errors.Problem, waited: float) -> None:
        said = f"; it was waited for {waited:g} s" if waited else ""
        super().__init__(errors.UNAVAILABLE, f"{lost.message}{said}")

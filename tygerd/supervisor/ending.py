"""How a run ends: one object that every thread may ask and tell.

Theory of operation. A run goes on until it has a cause to end: main's exit, a cancellation, the timeout, or a
failure of one of its pipes; or, where main serves ports, that all they were for is done. The first cause
stays, whatever follows from it; only main's exit with 0 can still be followed by another cause, as its
outputs are finished afterwards. The run is *over* once main and every process that it started are gone.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

from tygerd.supervisor import spec

SETTLE = 1.0
"""Seconds that main must outlive the end of an output for the output to count as whole. A producer that
crashes closes its pipe a moment before anybody can know that it crashed."""

DOUBT = 0.05
"""Seconds between looks whether it is known by now how main has ended."""


class Ending:
    """Shared by the main loop and the threads of the pipes."""

    def __init__(self, settle: float | None = None) -> None:
        self._lock = threading.Lock()
        self._settle = settle
        self._cause: tuple[spec.Ended, str | None] | None = None
        self._code: int | None = None
        self.doubtful: Callable[[], bool] = lambda: False
        """Whether main has ended but how is not known yet: no verdict is given then."""
        self._over = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._changed = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    @property
    def settle(self) -> float:
        """Seconds until main's end is surely known, after what came of it: `SETTLE`, or as given."""
        return SETTLE if self._settle is None else self._settle

    @property
    def changed(self) -> int:
        """A descriptor that is readable when a cause was given or a thread has `reported`."""
        return self._changed

    @property
    def over(self) -> int:
        """A descriptor that is readable, for ever, once the run is over."""
        return self._over

    def fail(self, reason: str) -> None:
        """Give a cause: the run fails."""
        self._give(("Failed", reason))

    def cancel(self, reason: str) -> None:
        """Give a cause: the run is canceled."""
        self._give(("Canceled", reason))

    def serve(self) -> None:
        """Give a cause: the run has succeeded, whatever main then ends with."""
        self._give(("Succeeded", None))

    def exited(self, code: int | None, reason: str | None = None) -> None:
        """Main has ended with this code, or one of its replicas has; `reason` where it ended badly."""
        with self._lock:
            if not self._code:
                self._code = code
            if reason is not None:
                self._cause = self._cause or ("Failed", reason)
        self.report()

    def report(self) -> None:
        """Wake the main loop: a thread has ended."""
        os.eventfd_write(self._changed, 1)

    def acknowledge(self) -> None:
        """The main loop has seen what `changed` announced."""
        os.eventfd_read(self._changed)

    def finish(self) -> None:
        """The run is over: nobody writes to its pipes any more."""
        os.eventfd_write(self._over, 1)

    @property
    def wanted(self) -> bool:
        """What runs has to be stopped: there is a cause."""
        with self._lock:
            return self._cause is not None

    @property
    def failed(self) -> bool:
        """The run cannot succeed any more."""
        return self.result()[0] != "Succeeded"

    def result(self) -> tuple[spec.Ended, str | None, int | None]:
        """Status, reason and main's exit code, as they stand."""
        with self._lock:
            if self._cause == ("Succeeded", None):
                return "Succeeded", None, None  # it was stopped by us: its code says nothing
            if self._cause is not None:
                return *self._cause, self._code
            return "Succeeded", None, self._code

    def _give(self, cause: tuple[spec.Ended, str | None]) -> None:
        with self._lock:
            self._cause = self._cause or cause
        self.report()

    def close(self) -> None:
        """Release the descriptors."""
        os.close(self._over)
        os.close(self._changed)


def describe(code: int) -> str:
    """An exit code, with the signal's name where it stands for one."""
    try:
        return f"{code} ({signal.Signals(code - 128).name})" if code > 128 else str(code)
    except ValueError:
        return str(code)

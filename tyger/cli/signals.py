"""INT, TERM and HUP while bytes or a run are in flight: the first is obeyed in order, the second at once.

A command that holds nothing leaves signals to their defaults. Signals that were ignored when we started
(`nohup`, background jobs) stay ignored. For the main thread, beside threads that take no signals
(`pipes.start_without_signals`).
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import NoReturn, Self

_OBEYED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """While entered, calls `on_first(number)` for the first signal; the second ends the process.

    `received()` knows each signal that was sent before it was asked, also one whose handler has not run yet.
    So a Ctrl-C that ended our producer is known before its end of file can be taken for a good one.
    """

    def __init__(self, on_first: Callable[[int], None]) -> None:
        self._on_first = on_first
        self._number: int | None = None
        self._told = False
        self._previous: dict[int, object] = {}
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._previous_wakeup = -1

    def __enter__(self) -> Self:
        self._previous_wakeup = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in _OBEYED:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal.signal returned
        signal.set_wakeup_fd(self._previous_wakeup)
        os.close(self._reader)
        os.close(self._writer)

    def received(self) -> int | None:
        """The first signal that came, or None. For the main thread: elsewhere a pending one can be missed."""
        if self._number is None:
            # The end of any system call delivers what is pending to us: the handler below Python's writes the
            # number into our pipe at once, where the next call finds it.
            signal.sigpending()
            with contextlib.suppress(BlockingIOError):
                numbers = [number for number in os.read(self._reader, 64) if number in self._previous]
                if numbers and self._number is None:
                    self._number = numbers[0]
        return self._number

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._told:
            end_by(number)
        self._told = True
        if self._number is None:
            self._number = number
        self._on_first(number)


def after(seconds: float, act: Callable[[], None]) -> None:
    """Call `act` in the main thread then, whatever that waits for; replaces an earlier call. 0 is never."""
    signal.signal(signal.SIGALRM, lambda *_: act())
    signal.setitimer(signal.ITIMER_REAL, seconds)


def end_by(number: int) -> NoReturn:
    """End this process at once as the signal asks; nothing is cleaned up, the kernel closes all.

    INT ends us by itself, so that the shell stops its script or loop too; shells report that as 128 + n.
    """
    if number == signal.SIGINT:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(128 + number)


def name(number: int) -> str:
    """`SIGINT`, for messages."""
    return signal.Signals(number).name

"""What a daemon knows of a run while it looks after it: bells for those who watch it or follow its log.

Belongs to the trio thread.
"""

from __future__ import annotations

from collections.abc import Callable

import trio


class Bell:
    """Wakes everybody who waits. Take `next` before looking, so that nothing is missed in between.

    `also` is called at every ring.
    """

    def __init__(self, also: Callable[[], None] = lambda: None) -> None:
        self._event = trio.Event()
        self._also = also

    def next(self) -> trio.Event:
        """The event of the next `ring`."""
        return self._event

    def ring(self) -> None:
        """Set the event that was handed out."""
        self._also()
        self._event.set()
        self._event = trio.Event()


class Live:
    """One run. `changed` rings when its row changed, and calls `announce`; as a log it is `logs.Growing`."""

    def __init__(self, announce: Callable[[], None] = lambda: None) -> None:
        self.changed = Bell(announce)
        self._log = Bell()
        self._log_size = 0
        self._ended = False

    @property
    def ended(self) -> bool:
        """The log will not grow any more."""
        return self._ended

    def next(self) -> trio.Event:
        """The event of the log's next growth, or its end."""
        return self._log.next()

    def log_grew(self, size: int) -> None:
        """The log has so many bytes."""
        if size > self._log_size:
            self._log_size = size
            self._log.ring()

    def log_ended(self) -> None:
        """The log is whole."""
        self._ended = True
        self._log.ring()

"""Wakes readers of a container when something was added, and tells its writer that a reader waits.

Belongs to the trio thread. Both ends of a buffer are then event driven: nobody polls.
"""

from __future__ import annotations

from collections.abc import Callable

import trio


class Feed:
    """The bell between one container's writer and its readers."""

    def __init__(self) -> None:
        self.waiting = 0
        """How many readers wait for more."""
        self.on_wanted: Callable[[], None] | None = None
        """Called when a reader begins to wait; the capture that writes the container sets it."""
        self._event = trio.Event()

    def notify(self) -> None:
        """Something was added: wake everybody who waits."""
        self._event.set()
        self._event = trio.Event()

    def next(self) -> trio.Event:
        """The event of the next `notify`. Take it before looking, so that nothing is missed in between."""
        return self._event

    async def wait(self, event: trio.Event) -> None:
        """Wait for an event that `next` gave. Cancellation leaves nothing behind."""
        self.waiting += 1
        try:
            if self.on_wanted and not event.is_set():
                self.on_wanted()
            await event.wait()
        finally:
            self.waiting -= 1

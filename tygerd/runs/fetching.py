"""How far the images of runs that are being created have come, for those who wait for these runs.

Who creates a run with an idempotency key can ask by that key. Nothing is queued: one who does not read misses
what was said meanwhile, and hears the latest.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator

import trio

from tygerd.engines import base
from tygerd.runs import live

PAUSE = 0.25
"""Seconds between two lines: people read no faster, and engines tell each layer's every step."""


class _Fetch:
    """One run in the making; `requests` that have its key wait for it, one of them makes it."""

    def __init__(self) -> None:
        self.requests = 0
        self.said = ""
        self.over = False
        self.bell = live.Bell()

    async def progress(self, line: str) -> None:
        """See `base.Progress`."""
        if line != self.said:
            self.said = line
            self.bell.ring()


class Fetches:
    """Those of all runs that are being created at present. Belongs to the trio thread."""

    def __init__(self) -> None:
        self._going: dict[str, _Fetch] = {}

    @contextlib.contextmanager
    def of(self, key: str) -> Iterator[None]:
        """While a request with this key is at work, or waits for another that is."""
        fetch = self._going.setdefault(key, _Fetch())
        fetch.requests += 1
        try:
            yield
        finally:
            fetch.requests -= 1
            if not fetch.requests:
                del self._going[key]
                fetch.over = True
                fetch.bell.ring()

    def progress(self, key: str | None) -> base.Progress:
        """Where an engine says how far it is, for the run with this key."""
        return _nobody if key is None else self._going[key].progress

    async def follow(self, key: str, send: Callable[[str], Awaitable[None]]) -> None:
        """Send what is said, until the run with this key is created or has been refused."""
        fetch = self._going.get(key)
        said = ""
        while fetch is not None and not fetch.over:
            news = fetch.bell.next()
            if fetch.said != said:
                said = fetch.said
                await send(said)
                with trio.move_on_after(PAUSE):  # what comes within it is told as one
                    while not fetch.over:
                        await fetch.bell.next().wait()
            else:
                await news.wait()


async def _nobody(_line: str) -> None:
    """Progress that nobody could ask for."""

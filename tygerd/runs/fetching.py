"""How far the images of runs that are being created have come, for those who wait for these runs.

Who creates a run with an idempotency key can ask by that key, and who stops asking before the end gives the
run up: of the request that creates it nobody sees whether its client is still there. Nothing is queued: one
who does not read misses what was said meanwhile, and hears the latest.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator

import trio

from tyger import errors
from tygerd.engines import base
from tygerd.runs import live

PAUSE = 0.25
"""Seconds between two lines: people read no faster, and engines tell each layer's every step."""


class GivenUp(errors.Problem):
    """Nobody waits for the run any more."""

    def __init__(self) -> None:
        super().__init__(errors.CONFLICT, "the run was given up while its image was fetched")


class _Fetch:
    """One run in the making; `requests` that have its key wait for it, one of them makes it."""

    def __init__(self) -> None:
        self.requests = 0
        self.said = ""
        self.over = False
        self.bell = live.Bell()
        self.scope: trio.CancelScope | None = None  # while images are fetched

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

    async def fetch(self, key: str | None, prepare: Callable[[base.Progress], Awaitable[None]]) -> None:
        """Call `prepare` with where it says how far it is, for the run with this key.

        Raises:
            GivenUp: whoever waited for it has left.
            Problem: what `prepare` raises.
        """
        if key is None:
            await prepare(_nobody)
            return
        fetch = self._going[key]
        with trio.CancelScope() as fetch.scope:
            await prepare(fetch.progress)
        given_up, fetch.scope = fetch.scope.cancelled_caught, None
        if given_up:
            raise GivenUp

    async def follow(self, key: str, send: Callable[[str], Awaitable[None]]) -> None:
        """Send what is said, until the run with this key is created or has been refused.

        Cancelled, or when `send` fails, the run is given up if its images are still being fetched.
        """
        if (fetch := self._going.get(key)) is None:
            return
        try:
            await _follow(fetch, send)
        finally:
            if fetch.scope is not None:
                fetch.scope.cancel()


async def _follow(fetch: _Fetch, send: Callable[[str], Awaitable[None]]) -> None:
    said = ""
    while not fetch.over:
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

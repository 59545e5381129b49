"""Whether the cluster is there, and lets us do what we must: found out in the background, told at once.

Who asks waits a moment at most: it is asked for every run that is created, also of other engines, and a
network that drops packets answers after many seconds.
"""

from __future__ import annotations

import trio

from tyger import errors
from tygerd.engines.kubernetes import api, refusals, rights

FRESH_SECONDS = 5.0
"""For so long it counts what was found out."""

QUICK_SECONDS = 2.0
"""So long somebody waits who wants to know it now; then counts what was known."""

FIRST_SECONDS = 10.0
"""The same where nothing is known yet: the first time takes long, and a daemon may just have been started."""

UNKNOWN = "the cluster has not answered yet"


class Probe:
    """`run` asks when somebody wants to know."""

    def __init__(self, cluster: api.Api) -> None:
        self._cluster = cluster
        self._allowed = False
        self._known: str | None = UNKNOWN
        self._since = -FRESH_SECONDS
        self._wanted = trio.Event()
        self._news = trio.Event()

    async def run(self) -> None:
        """Until it is cancelled; the first time without being asked."""
        self._wanted.set()
        while True:
            await self._wanted.wait()
            self._known = await self._ask()
            self._since = trio.current_time()
            self._wanted = trio.Event()
            news, self._news = self._news, trio.Event()
            news.set()

    async def trouble(self) -> str | None:
        """Why nothing can be executed there, in a line; None: it can."""
        if trio.current_time() >= self._since + FRESH_SECONDS:
            news = self._news
            self._wanted.set()
            with trio.move_on_after(FIRST_SECONDS if self._known == UNKNOWN else QUICK_SECONDS):
                await news.wait()
        return self._known

    async def _ask(self) -> str | None:
        """Whether it is there, and until that was so once, whether we have the rights."""
        try:
            await self._cluster.version()
            if not self._allowed:
                if (said := await rights.lacking(self._cluster)) is not None:
                    return said
                self._allowed = True
        except refusals.Transient as trouble:
            return str(trouble) if trouble.status is None else None  # what answers is there
        except refusals.Trouble as trouble:
            return str(trouble)
        except errors.Problem as problem:
            return problem.message
        return None

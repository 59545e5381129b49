"""Whether the cluster is there, and lets us do what we must: found out in the background, told at once.

Who asks waits a moment at most: it is asked for every run that is created, also of other engines, and a
network that drops packets answers after many seconds.
"""

from __future__ import annotations

import math

import trio

from tyger import errors
from tygerd.engines.kubernetes import api, refusals, rights

FRESH_SECONDS, TROUBLE_SECONDS = 5.0, 0.5
"""For so long it counts what was found out; the latter if it was trouble, which may be over."""

AGAIN_SECONDS = 1.0
"""An attempt that broke in less is repeated once: one connection that is cut says nothing of the server."""

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
        self._since = -math.inf
        self._wanted = trio.Event()
        self._news = trio.Event()

    async def run(self) -> None:
        """Until it is cancelled; the first time without being asked."""
        self._wanted.set()
        while True:
            await self._wanted.wait()
            self._known = await self._found()
            self._since = trio.current_time()
            self._wanted = trio.Event()
            news, self._news = self._news, trio.Event()
            news.set()

    async def trouble(self) -> str | None:
        """Why nothing can be executed there, in a line; None: it can."""
        counts = FRESH_SECONDS if self._known is None else TROUBLE_SECONDS
        if trio.current_time() >= self._since + counts:
            news = self._news
            self._wanted.set()
            with trio.move_on_after(FIRST_SECONDS if self._known == UNKNOWN else QUICK_SECONDS):
                await news.wait()
        return self._known

    async def _found(self) -> str | None:
        began = trio.current_time()
        try:
            return await self._ask()
        except refusals.Transient as broken:
            if trio.current_time() > began + AGAIN_SECONDS:
                return str(broken)
        try:
            return await self._ask()
        except refusals.Transient as broken:
            return str(broken)

    async def _ask(self) -> str | None:
        """Whether it is there, and until that was so once, whether we have the rights.

        Raises:
            Transient: nobody answers.
        """
        try:
            await self._cluster.version()
            if not self._allowed:
                if (said := await rights.lacking(self._cluster)) is not None:
                    return said
                self._allowed = True
        except refusals.Transient as trouble:
            if trouble.status is None:
                raise
        except refusals.Trouble as trouble:
            return str(trouble)
        except errors.Problem as problem:
            return problem.message
        return None  # what answers is there

"""The engine that this daemon uses: found when it is first needed, and found again when it has gone.

What takes long to find out (what it can do, and whether pipes work in its containers) is kept in the state
directory, for as long as the engine on that socket says that it is the same, and the kernel is.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Mapping
from typing import Any

import trio

from tyger import errors
from tygerd import enginesettings
from tygerd.engines.container import api, body, find, probe
from tygerd.osutil import durable

FRESH_SECONDS, HOPELESS_SECONDS = 5.0, 600.0
"""For so long an engine that answered is taken to be there; the latter for one in whose containers pipes do
not work, which takes long to find out and does not change.
"""

AWAY_FACTOR = 5
"""One that did not answer is taken to be away for so many times the time that it took to find that out: who
has just started it is not told otherwise, and one that takes long to say nothing is not asked all the time.
"""

GLANCE = 0.5
"""Seconds that a look takes at most whether one that said nothing, and is taken to be away, answers again."""

logger = logging.getLogger(__name__)


class Link:
    """`get` is all that is needed of it. `state` is the daemon's directory, `directory` that of the runs."""

    def __init__(
        self,
        state: str,
        directory: str,
        settings: enginesettings.Container,
        *,
        installation: str,
        environ: Mapping[str, str],
    ) -> None:
        self._file = os.path.join(state, "container-engine.json")
        self._directory = directory
        self._settings = settings
        self._installation = installation
        self._environ = environ
        self._lock = trio.Lock()
        self._engine: api.Api | None = None
        self._closed = False
        self._fresh_until = 0.0
        self._trouble: errors.Problem | None = None
        self._silent = False
        """Nobody answers: that is the trouble."""
        self.place: body.Place | None = None
        """What is known of the engine that was used last."""

    @property
    def used_before(self) -> bool:
        """Whether this or an earlier daemon has had an engine, which may have containers of ours."""
        return self.place is not None or os.path.exists(self._file)

    async def get(self) -> tuple[api.Api, body.Place]:
        """The engine, which answered a moment ago.

        Raises:
            Problem: there is none, or its containers cannot do what runs need.
        """
        async with self._lock:
            if self._closed:
                raise errors.Problem(errors.UNAVAILABLE, "the container engine is not used any more")
            began = trio.current_time()
            if began >= self._fresh_until or (self._silent and await self._is_back()):
                seconds = await self._look()
                now = trio.current_time()
                self._fresh_until = now + max(seconds, AWAY_FACTOR * (now - began) if self._trouble else 0.0)
            if self._trouble is not None:
                raise errors.Problem(self._trouble.kind, self._trouble.message)
            if self._engine is None or self.place is None:
                raise TypeError("an engine that was found is known")
            return self._engine, self.place

    def doubt(self) -> None:
        """A request has failed: let the next `get` find out whether the engine is still there."""
        self._fresh_until = 0.0

    async def close(self) -> None:
        """Let go of the engine, for good."""
        self._closed = True
        await self._drop()

    async def _drop(self) -> None:
        if self._engine is not None:
            engine, self._engine = self._engine, None
            await engine.close()

    async def _is_back(self) -> bool:
        """Whether somebody answers who did not."""
        with trio.move_on_after(GLANCE), contextlib.suppress(errors.Problem):
            engine = await find.reach(self._settings.socket, self._environ)
            await engine.close()
            return True
        return False

    async def _look(self) -> float:
        """Find out whether the engine is the one we know, and all about it where it is not.

        Returns for how many seconds that counts. Cancelled, there is no engine.
        """
        self._trouble, self._silent = None, False
        try:
            if self._engine is not None:
                known = self._engine.server
                with contextlib.suppress(errors.Problem, api.Refused):
                    await self._engine.negotiate()
                    if self._engine.server == known:
                        return FRESH_SECONDS
            await self._drop()
            self._silent = True
            engine = await find.reach(self._settings.socket, self._environ)
            self._silent = False
            try:
                self.place = await self._examine(engine)
                self._engine = engine
            finally:
                if self._engine is None:
                    await engine.close()
        except errors.Problem as problem:
            self._trouble = problem
            return 0.0 if problem.kind is not errors.CONFIG else HOPELESS_SECONDS
        return FRESH_SECONDS

    async def _examine(self, engine: api.Api) -> body.Place:
        """What is known of an engine that answers. Raises as `get`."""
        key = [engine.socket, engine.server, os.uname().release, self._settings.user or ""]
        known = await trio.to_thread.run_sync(_read, self._file)
        if known is not None and known.get("of") == key:
            facts = find.Facts(**known["facts"])
            return body.Place(self._installation, facts, self._settings, init=bool(known["init"]))
        facts = await find.ask(engine)
        place = body.Place(self._installation, facts, self._settings, init=True)
        answer = await probe.pipes(engine, place, self._directory)
        if answer.reason is not None:
            raise errors.Problem(answer.kind, f"{facts.name} cannot execute runs: {answer.reason}")
        record = {"of": key, "facts": facts._asdict(), "init": answer.init}
        await trio.to_thread.run_sync(_write, self._file, record)
        return place._replace(init=answer.init)


def _read(path: str) -> dict[str, Any] | None:
    try:
        with open(path, encoding="utf-8") as file:
            record = json.load(file)
        find.Facts(**record["facts"])
        _ = record["init"]
    except (OSError, ValueError, TypeError, KeyError):
        return None  # nothing is lost: it is found out again
    return record if isinstance(record, dict) else None


def _write(path: str, record: dict[str, Any]) -> None:
    try:
        durable.replace(path, json.dumps(record).encode(), sync=False)
    except OSError as error:
        logger.warning("cannot keep what is known of the container engine in %s: %s", path, error)

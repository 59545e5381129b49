"""The newest state of all pods of this installation, which the cluster tells us of: a list, then its changes.

Events may be lost, doubled or late, and it does no harm: what counts is the newest object of each name, and
all of them are listed again when the cluster has forgotten where we were, and every ten minutes. While the
cluster is away, what is known stays as it was. Nobody polls: who waits for news of a run is woken.
"""

from __future__ import annotations

import functools
import logging
import random
from collections.abc import Callable, Mapping
from typing import NamedTuple

import trio

from tygerd.engines.kubernetes import api, refusals

LABEL = "tyger-installation"
"""The label of all that is ours, with this installation's id."""

RUN_LABEL = "tyger-run"

RELIST_SECONDS = 600.0
"""After so long all pods are listed again: an event that was lost is not waited for without end."""

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 30.0
"""Seconds until the first further attempt, and at most between two; they double."""

LASTING_SECONDS = 5.0
"""An attempt that has lasted for so long was a success, and the next is a first one again."""

EMPTY_WATCHES = 5
"""After so many watches in a row that have ended at once, all is listed again (contract compute.md 5)."""

NOTHING: Mapping[str, api.Object] = {}

logger = logging.getLogger(__name__)


class Statistics(NamedTuple):
    """`events` are changes, `lists` and `watches` what was begun; `trouble` is what hinders us at present."""

    pods: int
    events: int
    lists: int
    watches: int
    trouble: str | None


class Reflector:
    """`run` keeps it true. For the tasks of one event loop."""

    def __init__(
        self,
        cluster: api.Api,
        installation: str,
        *,
        relist_seconds: float = RELIST_SECONDS,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._api = cluster
        self._selector = f"{LABEL}={installation}"
        self._relist_seconds = relist_seconds
        self._jitter = jitter
        self._limiter = trio.CapacityLimiter(1)
        self._pods: dict[int, dict[str, api.Object]] = {}
        self._version: str | None = None
        """Of what is known; None: it has to be listed."""
        self._watch: api.Watch | None = None
        """The one whose changes count."""
        self._count = 0
        """Of changes so far."""
        self._counts: dict[int, int] = {}
        """What it was at the last change of a run, since the last list."""
        self._listed = 0
        """What it was at the last list, which may have changed everything."""
        self._waiting: dict[int, trio.Event] = {}
        self._events = self._lists = self._watches = 0
        self._trouble: str | None = None
        self.synced = trio.Event()
        """Whether all pods were listed once."""

    def pods(self, run: int) -> Mapping[str, api.Object]:
        """A run's pods by their names; not to be changed. Of their `spec` only `nodeName` is there."""
        return self._pods.get(run, NOTHING)

    async def changed(self, run: int, seen: int) -> int:
        """Wait until a run's pods may differ from those at `seen`, which an earlier call gave; -1 is never.

        Returns what they are at then. It is a checkpoint.
        """
        await trio.lowlevel.checkpoint()
        while self._last(run) <= seen:
            await self._waiting.setdefault(run, trio.Event()).wait()
        return self._last(run)

    def statistics(self) -> Statistics:
        """How it goes."""
        pods = sum(map(len, self._pods.values()))
        return Statistics(pods, self._events, self._lists, self._watches, self._trouble)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until it is cancelled. A cluster that is away, or refuses us, is asked again for ever."""
        task_status.started()
        listed_at = -self._relist_seconds
        failures = empty = 0
        while True:
            began, events, wanted = trio.current_time(), self._events, 0.0
            well = False
            try:
                if began >= listed_at + self._relist_seconds or empty >= EMPTY_WATCHES:
                    self._version = None
                if self._version is None:
                    await self._list()
                    listed_at, empty = began, 0
                await self._follow()
                well = True
            except refusals.Gone as gone:
                logger.info("all pods are listed again: %s", gone)
                self._version = None
            except refusals.Trouble as trouble:
                wanted = getattr(trouble, "retry_after", None) or 0.0
                self._note(str(trouble))
            lasted = trio.current_time() >= began + LASTING_SECONDS
            empty = empty + 1 if well and not lasted and self._events == events else 0
            failures = 0 if lasted else failures + 1
            if not (well and lasted):
                await trio.sleep(max(wanted, self._pause(failures)))

    def _pause(self, failures: int) -> float:
        longest = min(FIRST_PAUSE * (1 << min(max(failures - 1, 0), 16)), LONGEST_PAUSE)
        return longest * (1 + self._jitter()) / 2

    # --- what the cluster says ---------------------------------------------------------------------------

    async def _list(self) -> None:
        self._lists += 1
        found, version = await self._api.list("Pod", self._selector)
        self._pods = {}
        for pod in map(_trimmed, found):
            if (place := _place_of(pod)) is not None:
                self._pods.setdefault(place.run, {})[place.name] = pod
        self._version = version
        self._count += 1
        self._listed = self._count
        self._counts = {}
        waiting, self._waiting = self._waiting, {}
        for event in waiting.values():
            event.set()
        self.synced.set()
        self._recovered()

    async def _follow(self) -> None:
        """Take what changes until the server ends the watch. Raises Trouble; cancelled, it ends by itself."""
        if self._version is None:
            raise TypeError("what is to be watched was listed")
        self._watches += 1
        token = trio.lowlevel.current_trio_token()
        watch = self._watch = self._api.watch("Pod", self._selector, self._version)

        def take(change: str, pod: api.Object, place: _Place | None) -> None:
            if self._watch is watch:
                self._version = pod["metadata"].get("resourceVersion") or self._version
                if change != "BOOKMARK" and place is not None:
                    self._take(place, None if change == "DELETED" else pod)

        def opened() -> None:
            if self._watch is watch:
                self._recovered()

        def read() -> None:
            for change, found in watch.changes(lambda: _soon(token, opened)):
                pod = _trimmed(found)
                _soon(token, functools.partial(take, change, pod, _place_of(pod)))

        try:
            # That it has ended is told as its changes are, and so after them.
            await trio.to_thread.run_sync(read, limiter=self._limiter, abandon_on_cancel=True)
        finally:
            watch.close()
            self._watch = None

    def _take(self, place: _Place, pod: api.Object | None) -> None:
        """A pod is as this says now; None, it is gone."""
        run, name = place
        self._events += 1
        if pod is not None:
            self._pods.setdefault(run, {})[name] = pod
        elif run in self._pods:
            self._pods[run].pop(name, None)
            if not self._pods[run]:
                del self._pods[run]
        self._count += 1
        self._counts[run] = self._count
        if (event := self._waiting.pop(run, None)) is not None:
            event.set()

    def _last(self, run: int) -> int:
        return self._counts.get(run, self._listed)

    def _note(self, trouble: str) -> None:
        if trouble != self._trouble:
            logger.warning("what becomes of runs in the cluster is not known at present: %s", trouble)
        self._trouble = trouble

    def _recovered(self) -> None:
        if self._trouble is not None:
            logger.info("what becomes of runs in the cluster is known again")
        self._trouble = None


def _soon(token: trio.lowlevel.TrioToken, work: Callable[[], None]) -> None:
    """Have the event loop do it, in the order of the calls; nothing, once it has ended."""
    try:
        token.run_sync_soon(work)
    except trio.RunFinishedError:
        return


class _Place(NamedTuple):
    run: int
    name: str


def _place_of(pod: api.Object) -> _Place | None:
    """Which pod of which run it is; None for one that only has our label."""
    metadata = pod["metadata"]
    text, name = str((metadata.get("labels") or {}).get(RUN_LABEL, "")), metadata.get("name")
    return _Place(int(text), name) if text.isascii() and text.isdecimal() and name else None


def _trimmed(pod: api.Object) -> api.Object:
    """The same without what nobody needs, which is most of it."""
    metadata = {key: value for key, value in (pod.get("metadata") or {}).items() if key != "managedFields"}
    spec = pod.get("spec") or {}
    return {
        "apiVersion": pod.get("apiVersion", "v1"),
        "kind": pod.get("kind", "Pod"),
        "metadata": metadata,
        "spec": {"nodeName": spec["nodeName"]} if spec.get("nodeName") else {},
        "status": pod.get("status") or {},
    }

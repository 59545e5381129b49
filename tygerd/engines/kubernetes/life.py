"""The life of one run in the cluster: created, watched, stopped where it has to be, and its end noted.

Theory of operation. Whatever happens only wakes one loop, which looks at everything anew: the newest pods,
the wish to cancel, the time. The verdict is noted before anything is stopped because of it, and the end
before anything is taken away; so a daemon that was killed at any instant goes on where this one was.
"""

from __future__ import annotations

import dataclasses
import errno
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import trio

from tyger import errors, units
from tygerd import clock
from tygerd.engines import base
from tygerd.engines.kubernetes import (
    api,
    forward,
    logs,
    making,
    objects,
    podstatus,
    refusals,
    rundir,
    secrets,
    states,
)
from tygerd.engines.supervised import parts

TIMED_OUT_PENDING = "Run exceeded its timeout while pending"
"""As for a run whose engine was not asked yet (`runs.supervise`); behind it stands what it waited for."""

LAST_PAUSE = 30.0
"""Seconds beyond the grace until a pod that does not end is given up: its node may be gone."""


SEEN_SECONDS = 5.0
"""For so long a pod that was just created need not be among those that were told to us."""


class Pods(Protocol):
    """The newest state of all pods (`watch.Reflector`)."""

    def pods(self, run: int) -> Mapping[str, Mapping[str, Any]]:
        """By name."""
        ...

    @property
    def synced(self) -> trio.Event:
        """Set once all pods were listed."""
        ...

    async def changed(self, run: int, seen: int) -> int:
        """Wait for news after those that were `seen`."""
        ...


class Tools(NamedTuple):
    """What every run's life needs. `turns` bounds how many runs are in the cluster at a time."""

    api: api.Api
    reflector: Pods
    place: objects.Place
    urls: secrets.AccessUrls
    turns: trio.Semaphore
    ends: forward.Ends | None = None
    """The daemon's ends of ephemeral buffers."""


class Life:
    """One run's, from wherever it is to its end."""

    def __init__(
        self, tools: Tools, directory: rundir.RunDirectory, record: rundir.Record, report: base.Report
    ) -> None:
        self._tools = tools
        self._directory = directory
        self._record = record
        self._report = report
        self._job = record.job
        self._expected = states.expected(self._job, tools.place)
        self._news = trio.Event()
        self._stop = trio.Event()
        self._go = trio.Event()
        self._creation = trio.Event()
        self._has_turn = False
        self._workers_ready = trio.Event()
        self._begun = False
        self._cancelled: str | None = None
        self._refused: str | None = None
        self._hindered: str | None = None
        self._known: set[str] = set()
        self._missed_from = math.inf
        self._gone: set[str] = set()
        self._told = base.Observation(status="Pending")
        self._remover = making.Remover(tools.api, record, tools.place.settings.cancel_grace)

    def cancel(self, reason: str) -> None:
        """It was cancelled, which is remembered already."""
        self._cancelled = self._cancelled or reason
        self.wake()

    def wake(self) -> None:
        """Something has happened."""
        news, self._news = self._news, trio.Event()
        news.set()

    async def to_its_end(self) -> base.Observation:
        """Live it; the end is noted when this returns."""
        labels = {
            name: part.label
            for names, side in (
                (self._expected.pods, parts.replicas(self._job)),
                (self._expected.workers, parts.workers(self._job)),
            )
            for name, part in zip(names, side, strict=True)
        }
        try:
            return await self._live(labels)
        finally:
            if self._has_turn:
                self._tools.turns.release()

    async def _live(self, labels: Mapping[str, str]) -> base.Observation:
        async with (
            logs.collecting(self._tools.api, self._directory.path, labels) as collector,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(self._watch)
            nursery.start_soon(self._tell_growth, collector)
            verdict, must_stop = await trio.to_thread.run_sync(self._recall), True
            if verdict is None:
                nursery.start_soon(self._create, nursery)
                if (ends := self._tools.ends) is not None:
                    reached, reflector = self._tools.api.access, self._tools.reflector
                    nursery.start_soon(forward.join, reached, self._record, reflector, ends)
                verdict, must_stop = await self._verdict(collector)
                if must_stop:
                    await _keep(functools.partial(self._directory.note_verdict, verdict))
                self._stop.set()
                await self._creation.wait()
            if must_stop:
                verdict = await self._stop_all(verdict, collector)
            collector.observe(self._pods())
            size = await collector.finish()
            verdict = dataclasses.replace(verdict, log_size=size)
            await _keep(functools.partial(self._directory.note_end, verdict))
            nursery.cancel_scope.cancel()
        return verdict

    def _recall(self) -> base.Observation | None:
        """Read what other daemons have left; the verdict, if there is one. Blocks."""
        self._begun = self._directory.was_begun
        if (reason := self._directory.cancelled()) is not None:
            self._cancelled = reason
        return self._directory.verdict()

    # --- tasks -------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        seen = -1
        while True:
            seen = await self._tools.reflector.changed(self._job.run, seen)
            self.wake()

    async def _tell_growth(self, collector: logs.Collector) -> None:
        while True:
            grown = collector.next()
            if collector.size > self._told.log_size:
                self._told = dataclasses.replace(self._told, log_size=collector.size)
                await self._report(self._told)
            await grown.wait()

    async def _create(self, nursery: trio.Nursery) -> None:
        """Have all created; a call that was made is awaited, as what it creates is to be found."""
        maker = making.Maker(
            self._tools.api,
            self._record,
            self._tools.urls.of,
            self._stop,
            self._workers_ready,
            self._note,
        )
        try:
            await making.first_of(self._go.wait, self._stop.wait)
            if await trio.to_thread.run_sync(lambda: self._directory.was_created):
                await making.first_of(self._tools.reflector.synced.wait, self._stop.wait)
                self._known |= set(self._expected.pods)
                maker.adopted = True
                maker.owner_is_there.set()
                nursery.start_soon(self._keep_fresh, maker)
                return
            nursery.start_soon(self._keep_fresh, maker)
            await making.first_of(self._take_turn, self._stop.wait)
            if self._stop.is_set():
                return
            self._begun = True
            await _keep(self._directory.note_begun)
            await maker.make()
            await _keep(self._directory.note_created)
            self._missed_from = trio.current_time() + SEEN_SECONDS
        except* making.GivenUp:
            pass
        except* (refusals.Trouble, errors.Problem) as group:
            self._refused = making.problem(making.first(group))
        finally:
            self._creation.set()
            self.wake()

    def _note(self, hindered: str | None) -> None:
        self._hindered = hindered
        self.wake()

    async def _keep_fresh(self, maker: making.Maker) -> None:
        await maker.owner_is_there.wait()
        await self._tools.urls.keep_fresh(self._tools.api, self._record, adopted=maker.adopted)

    async def _take_turn(self) -> None:
        await self._tools.turns.acquire()
        self._has_turn = True

    # --- what becomes of it ------------------------------------------------------------------------------

    async def _verdict(self, collector: logs.Collector) -> tuple[base.Observation, bool]:
        """How it ends, and whether something of it may still run that must be stopped first."""
        while True:
            news, now = self._news, units.to_micros(clock.now())
            pods = self._pods()
            collector.observe(pods)
            seen = states.observe(self._expected, pods, now, self._gone)
            started = seen.observation.started_at
            if self._cancelled is not None:
                return self._ended("Canceled", self._cancelled, seen, now), self._begun
            if seen.over:
                return seen.observation, seen.observation.status == "Failed" and self._runs(pods)
            if self._refused is not None:
                return self._ended("Failed", self._refused, seen, now), self._begun
            told = self._with_hindrance(seen.observation)
            if now >= self._job.deadline:
                if started is None:
                    reason = ": ".join(filter(None, (TIMED_OUT_PENDING, told.reason)))
                    return self._ended("Canceled", reason, seen, now), self._begun
                return self._ended("Failed", states.timed_out(self._job), seen, now), True
            self._go.set()
            if seen.workers_ready:
                self._workers_ready.set()
            await self._tell(told)
            if await self._miss(pods):
                continue
            wake_at = min(filter(None, (seen.again_at, self._job.deadline)))
            patience = max(0.0, (wake_at - now) / 1e6)
            if trio.current_time() < self._missed_from < math.inf:
                patience = min(patience, self._missed_from - trio.current_time())
            with trio.move_on_after(patience):
                await news.wait()

    def _with_hindrance(self, observation: base.Observation) -> base.Observation:
        """A pending run says what it waits for, be it only the cluster's answer."""
        if observation.status != "Pending" or observation.reason is not None or self._hindered is None:
            return observation
        return dataclasses.replace(observation, reason=self._hindered)

    def _ended(self, status: Any, reason: str, seen: states.Seen, now: int) -> base.Observation:
        return base.Observation(
            status=status,
            reason=reason,
            started_at=seen.observation.started_at,
            finished_at=now,
            incomplete=tuple(self._job.outputs),
            image_digest=seen.observation.image_digest,
        )

    async def _tell(self, observation: base.Observation) -> None:
        told = dataclasses.replace(observation, log_size=self._told.log_size)
        if told != self._told:
            self._told = told
            await self._report(told)

    async def _miss(self, pods: Mapping[str, Mapping[str, Any]]) -> bool:
        """Look for pods that must be there and that we do not see; whether one of them is surely gone."""
        self._known |= pods.keys() & set(self._expected.pods)
        if trio.current_time() >= self._missed_from:
            self._known |= set(self._expected.pods)
        for name in self._known - pods.keys() - self._gone:
            try:
                await self._tools.api.get("Pod", name)
            except refusals.NotFound:
                self._gone.add(name)
                return True
            except refusals.Trouble:
                continue  # the next news make us look again, and the deadline at last
        return False

    def _pods(self) -> Mapping[str, Mapping[str, Any]]:
        return self._tools.reflector.pods(self._job.run)

    def _runs(self, pods: Mapping[str, Mapping[str, Any]]) -> bool:
        """Whether there may be something to be stopped."""
        if self._expected.workers or not self._creation.is_set():
            return True
        return any(not podstatus.read(pods[name]).stopped for name in self._expected.pods if name in pods)

    async def _stop_all(self, verdict: base.Observation, collector: logs.Collector) -> base.Observation:
        """Stop what runs, and see it end; the verdict with the moment of that."""
        collector.observe(self._pods())
        await collector.catch_up()  # a pod that is deleted takes its log along
        left = set(await self._remover.stop(self._pods()))
        give_up = trio.current_time() + self._tools.place.settings.cancel_grace + LAST_PAUSE
        shown: set[str] = set()
        while left and trio.current_time() < give_up:
            news, pods = self._news, self._pods()
            collector.observe(pods)
            gone = shown - pods.keys()
            left = {
                name for name in left - gone if name not in pods or not podstatus.read(pods[name]).stopped
            }
            shown |= pods.keys()
            if left:
                with trio.move_on_at(give_up):
                    await news.wait()
        if verdict.status != "Failed" or verdict.reason == states.timed_out(self._job):
            return dataclasses.replace(verdict, finished_at=units.to_micros(clock.now()))
        return verdict


async def _keep(write: Callable[[], None]) -> None:
    """Write one of the run's files, as soon as the disk has room. Raises OSError."""
    while True:
        try:
            await trio.to_thread.run_sync(write)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            await trio.sleep(logs.FULL_PAUSE)
        else:
            return

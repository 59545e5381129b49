"""The ephemeral buffers of the runs that are looked after, and for a minute those of runs that have ended.

They are in memory only: a daemon that starts makes them anew for each run that it takes up, and the ends come
back to them (`relay`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import NamedTuple

import trio

from tyger import errors
from tygerd.buffers import ids
from tygerd.stores import localurls
from tygerd.streams import relay, reporting

LINGER = 60.0
"""Seconds that the buffers of a run that has ended still answer (contract buffers.md 10.2)."""


class Statistics(NamedTuple):
    """For `/status` and `/metrics`: streams that wait for an end, those that move, and all bytes."""

    waiting: int
    moving: int
    bytes_total: int


class Relays:
    """All relays of this daemon. `run` must be running. `reattach_grace` and `linger` are in seconds."""

    def __init__(self, urls: localurls.LocalUrls, *, reattach_grace: float, linger: float = LINGER) -> None:
        self._urls = urls
        self._grace = reattach_grace
        self._linger = linger
        self._relays: dict[str, relay.Relay] = {}
        self._runs: dict[int, list[str]] = {}
        self._bytes = 0
        """Of those that were forgotten."""
        self._nursery: trio.Nursery  # since `run`

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Move what is to be moved, until cancelled; by then every end has left."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            await trio.sleep_forever()

    def expect(self, run: int, buffers: Mapping[str, str], inputs: Iterable[str]) -> None:
        """A run is looked after: those of its `buffers` (IDs by parameter) that are ephemeral are there.

        `inputs` are the names of its input parameters. Once a run.
        """
        names = set(inputs)
        for name, buffer_id in buffers.items():
            if ids.kind(buffer_id) == "relayed":
                bare = ids.bare(buffer_id)
                self._runs.setdefault(run, []).append(bare)
                self._relays[bare] = relay.Relay(
                    buffer_id,
                    "input" if name in names else "output",
                    self._nursery.start_soon,
                    grace=self._grace,
                )

    def end(self, run: int, failure: str | None) -> None:
        """A run has ended; `failure` says why it did not succeed. Idempotent."""
        for bare in (ended := self._runs.pop(run, [])):
            self._relays[bare].end(failure)
        if ended:
            self._nursery.start_soon(self._forget, ended)

    def stop(self) -> None:
        """The daemon is about to stop, which must not wait for streams that come or go over HTTP."""
        for each in self._relays.values():
            each.stop()

    def find(self, buffer_id: str) -> relay.Relay:
        """An ephemeral buffer by its ID; the run's number in it does not count (contract rest-api.md 4.10).

        Raises:
            Problem: NOT_FOUND.
        """
        found = self._relays.get(ids.bare(buffer_id)) if ids.kind(buffer_id) == "relayed" else None
        if found is None:
            raise errors.Problem(errors.NOT_FOUND, "buffer relay server does not exist")
        return found

    async def hold(
        self,
        buffer_id: str,
        role: relay.Role,
        pipe: int,
        report: reporting.Report,
        gone: Callable[[], bool],
    ) -> None:
        """Be the job's end of a stream until that is over, with a pipe that the caller closes afterwards.

        Cancelled, `gone` says whether the job takes or gives no more; else only this daemon goes.

        Raises:
            Problem: NOT_FOUND; CONFLICT or BUFFER_FAILED, it cannot be had.
        """
        found = self.find(buffer_id)
        end = relay.End(role, pipe, of_job=True)
        found.claim(end)
        try:
            await found.follow(end, report)
        finally:
            with trio.CancelScope(shield=True):
                await found.leave(end, gone=gone())

    def say(self, buffer_id: str, outcome: relay.Outcome, reason: str | None) -> None:
        """The job, as a writer, says how its output ended. Raises as `relay.Relay.say`, and NOT_FOUND."""
        self.find(buffer_id).say(outcome, reason)

    def url(self, buffer_id: str, ttl: timedelta, writeable: bool) -> str:
        """The access URL of an ephemeral buffer. Raises as `find`, in the words of every missing buffer."""
        try:
            self.find(buffer_id)
        except errors.Problem:
            raise errors.not_found() from None
        return self._urls.relay(buffer_id, ids.bare(buffer_id), writeable=writeable, ttl=ttl)

    def waiting(self) -> list[str]:
        """For whom each one that waits does, a line each."""
        return [f"{each.name}: {why}" for each in self._relays.values() if (why := each.waiting)]

    def statistics(self) -> Statistics:
        """Counts since the daemon's start."""
        every = self._relays.values()
        return Statistics(
            waiting=sum(each.waiting is not None for each in every),
            moving=sum(each.phase is relay.Phase.MOVING for each in every),
            bytes_total=self._bytes + sum(each.bytes for each in every),
        )

    async def _forget(self, ended: list[str]) -> None:
        await trio.sleep(self._linger)
        for bare in ended:
            self._bytes += self._relays.pop(bare).bytes

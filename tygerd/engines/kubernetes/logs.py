"""The output of a run's containers, from the cluster into the run's log, while it runs and to its end.

Theory of operation. Each container has a task (`logsource`), whose threads hand on lines. One more task takes
what these have and appends it to the file, with the positions (`logfile`), as much at once as there is.

What cannot be had: output of a container whose pod was removed before anybody asked, of files that the
kubelet has rotated away before they were read, and of a worker that was restarted twice before we heard of
it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import weakref
from collections.abc import AsyncIterator, Mapping, MutableMapping

import trio

from tygerd.engines.kubernetes import logfile, logsource, logspool, refusals

FULL_PAUSE = 1.0
"""Seconds until it is tried again to write to a disk that is full."""

_appends = trio.CapacityLimiter(8)

_marks = trio.CapacityLimiter(8)
"""Apart from what only needs the disk: they wait for the cluster."""

_tells: MutableMapping[logsource.Cluster, bool] = weakref.WeakKeyDictionary()
"""Which clusters can tell the two streams of a container apart."""

logger = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def collecting(
    cluster: logsource.Cluster, directory: str, labels: Mapping[str, str]
) -> AsyncIterator[Collector]:
    """Collect the output of a run's pods as long as the block lasts.

    `directory` is the run's; `labels` are what stands before the lines of each pod. Cancelled, nothing is
    lost: it is gone on with, also by another daemon.

    Raises:
        OSError: the log cannot be opened.
    """
    collector = Collector(cluster, directory, labels)
    try:
        async with trio.open_nursery() as nursery:
            collector.start(nursery)
            yield collector
            nursery.cancel_scope.cancel()
    finally:
        collector.close()


class Collector:
    """The log of one run as it grows. Its methods belong to the trio thread."""

    def __init__(self, cluster: logsource.Cluster, directory: str, labels: Mapping[str, str]) -> None:
        self._cluster = cluster
        self._path = os.path.join(directory, logfile.LOG)
        self._spool = logspool.Spool(logfile.LogFile(directory))
        self._sources = {
            pod: logsource.Source(cluster, self._spool, pod, label) for pod, label in labels.items()
        }
        self._grown = trio.Event()

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self._spool.size

    def next(self) -> trio.Event:
        """The event of the next growth. Take it before looking at `size`."""
        return self._grown

    def start(self, nursery: trio.Nursery) -> None:
        """Begin, in tasks of this nursery."""
        nursery.start_soon(self._append)
        for source in self._sources.values():
            nursery.start_soon(source.run)

    def observe(self, pods: Mapping[str, logsource.Object]) -> None:
        """Take note of the newest state of the run's pods, by name; what is missing is gone, or to come."""
        for name, source in self._sources.items():
            source.observe(pods.get(name))

    async def catch_up(self) -> None:
        """Take what containers have printed that have ended, before their pods are deleted, and it with them.

        Gives up after a while: what is to be deleted must not wait for ever.
        """
        with trio.move_on_after(2 * logsource.STARTING):
            for source in self._sources.values():
                await source.settled()

    async def finish(self) -> int:
        """Take every log to its end, or to where it is now if its container still runs; the file's size.

        Observe the last state first. What was taken is on the disk afterwards. Waits while the cluster cannot
        be reached.
        """
        for source in self._sources.values():
            source.finish()
        for source in self._sources.values():
            await source.over.wait()
        while self._spool.waiting:
            await self._grown.wait()
        with contextlib.suppress(refusals.Trouble, OSError):  # it is no part of what is read
            await trio.to_thread.run_sync(self._mark, limiter=_marks)
        await trio.to_thread.run_sync(self._spool.sync, limiter=_appends)
        return self.size

    def close(self) -> None:
        """End what the threads do, and close the file."""
        for source in self._sources.values():
            source.close()
        self._spool.close()

    def _mark(self) -> None:
        """Mark the records of standard error, where the cluster can tell."""
        for source in self._sources.values():
            if source.has_printed:
                if self._cluster not in _tells:
                    _tells[self._cluster] = source.can_tell()
                if _tells[self._cluster]:
                    source.mark(self._path)

    async def _append(self) -> None:
        """Bring what the threads have found into the file."""
        while True:
            await self._spool.wait()
            try:
                await trio.to_thread.run_sync(self._spool.flush, limiter=_appends)
            except OSError as error:
                logger.warning("cannot write the log of a run: %s; trying again", error)
                await trio.sleep(FULL_PAUSE)
            grown, self._grown = self._grown, trio.Event()
            grown.set()

"""The Kubernetes engine: runs as pods of a cluster, each remembered in a directory below `<state>/cluster`.

The catalog and that directory are what is true; the cluster is brought in line with them. `start` asks the
cluster nothing: what it has to create is created by `follow`, as often as it takes.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
import trio

from tyger import errors, model, paths
from tygerd import config, enginesettings
from tygerd.engines import base, several
from tygerd.engines.kubernetes import (
    access,
    api,
    forward,
    life,
    making,
    objects,
    placement,
    probing,
    rundir,
    secrets,
    sweep,
    watch,
)
from tygerd.osutil import nurseries

GONE_SECONDS = 30.0
"""Beyond the grace, for pods to be gone: a node that is away has not heard that they are to go."""

PLACE_PAUSE = 5.0
"""Seconds between looks for a kubeconfig, as long as none says where runs are."""

PROBING_CONNECTIONS = 4
"""Requests of the probe that are under way at a time, beside all others: whoever submits a run waits for it,
and must not stand behind a thousand pods that are being created."""

logger = logging.getLogger(__name__)


class KubernetesEngine:
    """See `base.Engine`; `installation` is in the labels of all that is made, `urls` make its Secrets.

    `ends` are the daemon's of ephemeral buffers; without them there are none of those. `entra` is the way to
    Microsoft Entra ID (`access.Access`).
    """

    def __init__(
        self,
        places: paths.Paths,
        settings: config.Config,
        *,
        installation: str,
        urls: secrets.AccessUrls,
        ends: forward.Ends | None = None,
        entra: Callable[[str], Any] | None = None,
        environ: Mapping[str, str] = os.environ,
        reach: Callable[[access.Access, enginesettings.Kubernetes], api.Api] = api.Api,
    ) -> None:
        self._directory = os.path.join(places.state, "cluster")
        self._settings = settings.engine.kubernetes or enginesettings.Kubernetes()
        self._sync = settings.store.durability == "power"
        self._installation = installation
        self._urls = urls
        self._ends = ends
        self._access = access.Access(self._settings, environ, entra=entra)
        self._api = reach(self._access, self._settings)
        self._reflector = watch.Reflector(self._api, installation)
        self._turns = trio.Semaphore(self._settings.active_runs)
        self._lives: dict[int, life.Life] = {}
        self._unkept: dict[int, str] = {}
        """Why runs are to end of which that could not be written down, and that are not followed yet."""
        self._cleaning: dict[int, trio.Lock] = {}
        apart = msgspec.structs.replace(self._settings, connections=PROBING_CONNECTIONS)
        self._probe = probing.Probe(reach(self._access, apart))
        self._nursery: trio.Nursery | None = None

    @property
    def traits(self) -> base.Traits:
        """See `base.Engine`: of a cluster whose pools nobody has named, all is thought possible."""
        pools = self._settings.node_pools
        return base.Traits(
            name="kubernetes",
            workers=True,
            sockets=True,
            gpu=not pools or any(pool.has_gpu for pool in pools),
            replicas=True,
            ephemeral_buffers=self._ends is not None,
            limits=True,
            pull=True,
            node_pools=True,
            kubernetes=True,
            site=placement.site_of(self._settings),
        )

    async def unavailable(self) -> str | None:
        """See `base.Engine`."""
        return await self._probe.trouble()

    async def check(
        self,
        codespec: model.JobCodespec,
        worker: model.WorkerCodespec | None = None,
        *,
        pull: bool = False,  # noqa: ARG002 - the cluster pulls, as it is configured
    ) -> None:
        """See `base.Engine`. Whether there is such an image only its pods' nodes find out."""
        for each in filter(None, (codespec, worker)):
            objects.check(each, self._settings)
        if (said := await self.unavailable()) is not None:
            raise errors.Problem(errors.UNAVAILABLE, said)

    async def prepare(self, image: str, progress: base.Progress, *, pull: bool = False) -> None:
        """See `base.Engine`. The nodes pull it."""

    # --- a run -------------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `base.Engine`. A cluster that cannot be reached is waited for in the background."""
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        try:
            async with trio.open_nursery() as self._nursery:
                self._nursery.start_soon(self._reflector.run)
                self._nursery.start_soon(self._probe.run)
                self._nursery.start_soon(self._keep_swept)
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._nursery = None
            self._access.close()

    async def start(self, job: base.Job) -> None:
        """See `base.Engine`."""

        def remember() -> None:
            place = self._place()
            made = objects.compose(job, place)
            record = rundir.Record(
                namespace=place.namespace, installation=self._installation, job=job, objects=made
            )
            self._of(job.run).start(record)

        with _disk():
            await trio.to_thread.run_sync(remember)

    async def knows(self, run: int) -> bool:
        """See `base.Engine`."""
        return self._of(run).was_started

    def has(self, run: int) -> bool:
        """See `base.Engine`."""
        return self._of(run).exists

    async def follow(self, run: int, report: base.Report) -> base.Observation:
        """See `base.Engine`."""
        directory = self._of(run)
        with _disk():
            record, end = await trio.to_thread.run_sync(lambda: (directory.record(), directory.end()))
        if end is None:
            end = await self._see_to_its_end(directory, record, report)
        if self._nursery is not None:
            self._nursery.start_soon(self._clean_ahead, run)
        return end

    async def _see_to_its_end(
        self, directory: rundir.RunDirectory, record: rundir.Record, report: base.Report
    ) -> base.Observation:
        run, place = record.job.run, await self._known_place(report)
        if record.namespace != place.namespace:
            raise base.OutOfReach(
                f"its pods are in the namespace {record.namespace}, and the configuration says"
                f" {place.namespace} now"
            )
        tools = life.Tools(self._api, self._reflector, place, self._urls, self._turns, self._ends)
        living = self._lives[run] = life.Life(tools, directory, record, report)
        if (reason := self._unkept.pop(run, None)) is not None:
            living.cancel(reason)
        try:
            with _disk():
                return await living.to_its_end()
        finally:
            if self._lives.get(run) is living:
                del self._lives[run]

    async def cancel(self, run: int, reason: str) -> None:
        """See `base.Engine`."""
        try:
            await trio.to_thread.run_sync(self._of(run).cancel, reason)
        except (OSError, ValueError) as error:  # the disk is full, say: it is cancelled all the same
            logger.warning("run %d: that it is cancelled cannot be kept: %s", run, error)
            if run not in self._lives:
                self._unkept[run] = reason
        if (living := self._lives.get(run)) is not None:
            living.cancel(reason)

    def log_path(self, run: int) -> str:
        """See `base.Engine`."""
        return self._of(run).log

    async def remove(self, run: int) -> None:
        """See `base.Engine`. Waits until the cluster has been told, and a while for its pods to be gone."""
        await self._clean(run)
        with trio.move_on_after(self._settings.cancel_grace + GONE_SECONDS):
            await self._gone(run)
        self._unkept.pop(run, None)
        with _disk():
            await trio.to_thread.run_sync(self._of(run).remove)

    async def _clean_ahead(self, run: int) -> None:
        """Clean before that is asked for, which is once its end has been noted everywhere."""
        try:
            await self._clean(run)
        except errors.Problem as problem:
            logger.warning("run %d: %s", run, problem)

    async def _clean(self, run: int) -> None:
        """Take what an ended run has left out of the cluster; once, whoever asks for it."""
        directory = self._of(run)
        lock = self._cleaning.setdefault(run, trio.Lock())
        try:
            async with lock:
                try:
                    with _disk():
                        record = await trio.to_thread.run_sync(directory.record)
                except base.NeverStarted:
                    return
                except errors.Problem as problem:
                    if problem.kind is errors.CORRUPT:
                        return
                    raise
                done = await trio.to_thread.run_sync(lambda: directory.was_cleaned or not directory.was_begun)
                if done:
                    return
                remover = making.Remover(self._api, record, self._settings.cancel_grace)
                await remover.clean(self._reflector.pods(run))
                with contextlib.suppress(OSError):  # then it is looked for once more
                    await trio.to_thread.run_sync(directory.note_cleaned)
        finally:
            if not lock.locked() and self._cleaning.get(run) is lock:
                del self._cleaning[run]

    async def _gone(self, run: int) -> None:
        """Wait until none of a run's pods is there."""
        if not await trio.to_thread.run_sync(lambda: self._of(run).was_begun):
            return
        await self._reflector.synced.wait()  # before that it knows of none
        seen = -1
        while self._reflector.pods(run):
            seen = await self._reflector.changed(run, seen)

    async def _keep_swept(self) -> None:
        await self._reflector.synced.wait()
        await sweep.keep_swept(self._api, self._installation, self.has)

    # --- places ------------------------------------------------------------------------------------------

    def _of(self, run: int) -> rundir.RunDirectory:
        return rundir.RunDirectory(os.path.join(self._directory, str(run)), sync=self._sync)

    async def _known_place(self, report: base.Report) -> objects.Place:
        """The same as soon as it can be known: a kubeconfig that is not there may come back."""
        while True:
            try:
                return await trio.to_thread.run_sync(self._place)
            except errors.Problem as problem:
                await report(base.Observation(status="Pending", reason=problem.message))
            await trio.sleep(PLACE_PAUSE)

    def _place(self) -> objects.Place:
        """What all objects depend on. Blocks. Raises Problem: CONFIG, there is no usable kubeconfig."""
        return objects.Place(self._installation, self._access.namespace, self._settings)


class Former(KubernetesEngine):
    """The engine of a daemon whose configuration names no cluster any more: its runs wait for its return.

    What they have there then is found again, or swept where the run has ended meanwhile.
    """

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `base.Engine`."""
        task_status.started()

    async def _see_to_its_end(self, *_: object) -> base.Observation:
        raise several.absent("kubernetes")

    async def _clean(self, run: int) -> None:
        """See `sweep`."""

    async def _gone(self, run: int) -> None:
        """Nothing is heard of them."""


@contextlib.contextmanager
def _disk() -> Iterator[None]:
    """Say in a line what is wrong with our own files; what a task has raised is no group of one."""
    problem: errors.Problem | None = None
    try:
        yield
    except* OSError as group:
        problem = errors.Problem(errors.IO_ERROR, f"cannot keep the run's files: {making.first(group)}")
    except* ValueError as group:
        problem = errors.Problem(errors.CORRUPT, str(making.first(group)))
    except* errors.Problem as group:
        problem = nurseries.problem_of(group)
    if problem is not None:
        raise problem

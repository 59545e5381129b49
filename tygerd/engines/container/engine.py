"""The container engine: runs as containers of a Docker or Podman engine on this host.

The supervisor beside a run lives its containers' lives; here is what the daemon does: which engine it is, the
images, what the supervisor is told, and removing what a killed supervisor has left.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple

import trio

from tyger import errors, model, paths
from tygerd import config, quantity
from tygerd.engines import base
from tygerd.engines.container import api, auth, body, images, link, network, sweep, unstarted
from tygerd.engines.supervised import adopt, engine, parts, spawn
from tygerd.supervisor import spec

SWEEP_SECONDS = 30.0
"""Between two looks for containers that nobody owns; only while there may be any."""

START_SECONDS, FIRST_PAUSE = 20.0, 0.2
"""How long the start of a run waits for an engine that was there when the run was created, and how long it
waits between the first two attempts, doubled each time.
"""

SEEN_SECONDS = 1.0
"""For so long an image that `check` has seen is taken to be there."""

FOLLOW_SECONDS = 10.0
"""How long the end of a run waits until the containers of a killed supervisor are removed."""

logger = logging.getLogger(__name__)


class _Plan(NamedTuple):
    """All that a run's spec is made of and that had to be asked for."""

    socket: str
    place: body.Place
    image: images.Image
    worker_image: images.Image | None


class ContainerEngine(engine.SupervisedEngine):
    """See `base.Engine`; `installation` is in the labels of all that is made."""

    def __init__(
        self,
        places: paths.Paths,
        settings: config.Config,
        *,
        installation: str,
        environ: Mapping[str, str] = os.environ,
        supervisors: spawn.Supervisors | None = None,
    ) -> None:
        super().__init__(os.path.join(places.state, "container-runs"), supervisors)
        self._places = places
        self._settings = settings.engine.container
        self._store = settings.store
        self._environ = environ
        self._link = link.Link(
            places.state, self._directory, self._settings, installation=installation, environ=environ
        )
        self._installation = installation
        self._plans: dict[int, _Plan] = {}
        self._network_lock = trio.Lock()
        self._to_sweep = trio.Event()
        self._sweeping_fails = False
        self._seen: tuple[str, float] = ("", 0.0)

    @property
    def traits(self) -> base.Traits:
        """See `base.Engine`. Before an engine was reached it is taken to be able to do everything."""
        place = self._link.place
        return base.Traits(
            name="container",
            workers=True,
            sockets=True,
            gpu=place is None or place.facts.gpu,
            replicas=True,
            ephemeral_buffers=True,
            limits=place is None or place.facts.limits,
            pull=True,
            docker=True,
        )

    async def unavailable(self) -> str | None:
        """See `base.Engine`."""
        try:
            await self._link.get()
        except errors.Problem as problem:
            return problem.message
        return None

    async def check(
        self, codespec: model.JobCodespec, worker: model.WorkerCodespec | None = None, *, pull: bool = False
    ) -> None:
        """See `base.Engine`."""
        async with self._asked() as (asked, place):
            gpu = codespec.resources.gpu if codespec.resources else None
            if gpu is not None and quantity.parse(gpu).nanos and not place.facts.gpu:
                raise errors.Problem(
                    errors.INVALID_INPUT,
                    f"The {place.facts.name} engine does not have the NVIDIA runtime installed, which is"
                    " required for GPU support.",
                )
            for each in filter(None, (codespec, worker)):
                body.check_limits(place.facts, each)
                image = await images.inspect(asked, each.image)
                body.check(each, image)
                if image is not None:
                    self._seen = each.image, trio.current_time()
                elif not pull and self._settings.pull == "never":
                    raise images.missing(each.image, place.facts)

    async def prepare(self, image: str, progress: base.Progress, *, pull: bool = False) -> None:
        """See `base.Engine`."""
        anyway = pull or self._settings.pull == "always"
        if not anyway and self._seen[0] == image and trio.current_time() < self._seen[1] + SEEN_SECONDS:
            return
        async with self._asked() as (asked, place):
            if not anyway:
                if await images.inspect(asked, image) is not None:
                    return
                if self._settings.pull == "never":
                    raise images.missing(image, place.facts)
            credentials = await trio.to_thread.run_sync(
                auth.find, image, self._settings.auth_file, self._environ
            )
            await images.pull(asked, place.facts, image, progress, credentials)

    # --- a run -------------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `base.Engine`."""
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(super().run)
                nursery.start_soon(self._keep_swept)
                task_status.started()
        finally:
            with trio.CancelScope(shield=True):
                await self._link.close()

    async def start(self, job: base.Job) -> None:
        """See `base.Engine`."""
        try:
            self._plans[job.run] = await self._plan(job)
            await super().start(job)
        finally:
            self._plans.pop(job.run, None)
            self._to_sweep.set()

    async def follow(self, run: int, report: base.Report) -> base.Observation:
        """See `base.Engine`."""
        observation = await super().follow(run, report)
        directory = self._run_directory(run)
        if not await trio.to_thread.run_sync(os.path.exists, os.path.join(directory, spec.STATUS)):
            # Its supervisor was killed: what it says of the job becomes true now.
            with trio.move_on_after(FOLLOW_SECONDS):
                await self._sweep(run)
        reason = await trio.to_thread.run_sync(unstarted.reason, directory, observation.reason)
        return observation if reason is None else dataclasses.replace(observation, reason=reason)

    def _spec(self, directory: str, job: base.Job) -> spec.Spec:
        """See `SupervisedEngine`."""
        plan = self._plans[job.run]
        frame = parts.frame(job, daemon_socket=self._places.socket, store=self._store, pipe_mode=0o666)
        workers: tuple[spec.MainSpec, ...] = ()
        if (image := plan.worker_image) is not None:
            workers = tuple(
                body.worker(plan.place, job, image, part, plan.socket) for part in parts.workers(job)
            )
        return frame._replace(
            mains=tuple(
                body.main(plan.place, job, plan.image, part, directory, plan.socket)
                for part in parts.replicas(job)
            ),
            workers=workers,
            cancel_grace=self._settings.cancel_grace,
            image_digest=plan.image.digest,
        )

    async def _plan(self, job: base.Job) -> _Plan:
        """Ask the engine for what the run needs, which it had when the run was created.

        Raises:
            Problem: it has not any more, or the engine stays away.
        """
        pause = FIRST_PAUSE
        give_up = trio.current_time() + START_SECONDS
        while True:
            try:
                async with self._asked() as (asked, place):
                    image = await self._image(asked, place, job.codespec)
                    worker = await self._image(asked, place, job.worker.codespec) if job.worker else None
                    if body.network(place, job) is not None:
                        async with self._network_lock:
                            # The directory says that the network is in use (`_sweep`).
                            os.makedirs(self._run_directory(job.run), mode=0o700, exist_ok=True)
                            await network.ensure(asked, place)
                    return _Plan(asked.socket, place, image, worker)
            except errors.Problem as problem:
                if problem.kind is not errors.UNAVAILABLE or trio.current_time() > give_up:
                    raise
                self._link.doubt()
            await trio.sleep(pause)
            pause = min(2 * pause, 2.0)

    async def _image(self, asked: api.Api, place: body.Place, codespec: model.CodespecBase) -> images.Image:
        image = await images.inspect(asked, codespec.image)
        if image is None:
            raise images.missing(codespec.image, place.facts)
        body.check(codespec, image)  # it may be another one than when the run was created
        return image

    @contextlib.asynccontextmanager
    async def _asked(self) -> AsyncIterator[tuple[api.Api, body.Place]]:
        """The engine, to be asked; when it turns out not to answer it is looked for again."""
        asked = await self._link.get()
        try:
            yield asked
        except errors.Problem as problem:
            if problem.kind is errors.UNAVAILABLE:
                self._link.doubt()
            raise

    # --- sweeping ----------------------------------------------------------------------------------------

    async def _keep_swept(self) -> None:
        """Sweep at the start, if there was an engine before; then for as long as there may be something."""
        if self._link.used_before:
            self._to_sweep.set()
        while True:
            await self._to_sweep.wait()
            if await self._sweep():
                self._to_sweep = trio.Event()
                if self._runs():
                    self._to_sweep.set()
            await trio.sleep(SWEEP_SECONDS)

    async def _sweep(self, run: int | None = None) -> bool:
        """Remove orphans; whether all is as it should be, and nothing of ours is left."""

        def is_held(number: int) -> bool:
            try:
                return adopt.is_held(self._run_directory(number))
            except base.NeverStarted:
                return False

        try:
            async with self._asked() as (asked, place):
                left = await sweep.sweep(asked, self._installation, is_held, run=run)
                async with self._network_lock:
                    if run is None and not left and not self._runs():
                        await network.remove(asked, place)
        except (errors.Problem, api.Refused) as error:
            level = logging.DEBUG if self._sweeping_fails else logging.WARNING  # once is enough
            logger.log(level, "cannot look for containers that nobody owns: %s", error)
            self._sweeping_fails = True
            return False
        self._sweeping_fails = False
        return not left

    def _runs(self) -> bool:
        """Whether there is a run of this engine's, be it only half prepared."""
        with contextlib.suppress(FileNotFoundError), os.scandir(self._directory) as entries:
            return any(entry.name.isdigit() for entry in entries)
        return False

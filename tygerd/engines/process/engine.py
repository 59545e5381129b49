"""The process engine: a directory, a spec and a supervisor for each run.

It remembers a run by its directory below `<state>/runs`; `adopt` reads from there what became of it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pwd
import shutil
from collections.abc import Callable

import trio

from tyger import errors, model, paths
from tygerd import config
from tygerd.engines import base
from tygerd.engines.process import adopt, bwrap, environment, images, spawn
from tygerd.supervisor import spec

logger = logging.getLogger(__name__)


class ProcessEngine:
    """See `base.Engine`. `supervisor` makes the argv of a supervisor, for tests."""

    traits = base.Traits(name="process")

    def __init__(
        self,
        places: paths.Paths,
        settings: config.Config,
        *,
        supervisor: Callable[[str], list[str]] | None = None,
    ) -> None:
        self._places = places
        self._settings = settings.engine.process
        self._store = settings.store
        self._directory = os.path.join(places.state, "runs")
        self._supervisors = spawn.Supervisors(supervisor)
        self._sandbox: bwrap.Sandbox | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `base.Engine`.

        Raises:
            Problem: CONFIG, when bubblewrap is required and doesn't work.
        """
        self._sandbox = await trio.to_thread.run_sync(self._find_sandbox)
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        await self._supervisors.run(task_status=task_status)

    async def check(
        self,
        codespec: model.JobCodespec,
        worker: model.WorkerCodespec | None = None,  # noqa: ARG002 - a trait refuses it
        *,
        pull: bool = False,  # noqa: ARG002 - as above
    ) -> None:
        """See `base.Engine`."""
        image = self._image(codespec)
        environment.check(codespec, image)
        if self._sandbox is None and self._places.system:
            raise errors.Problem(
                errors.INVALID_INPUT,
                "the daemon of the whole system runs jobs only under bubblewrap, which doesn't work here:"
                " install it (apt-get install bubblewrap)",
            )
        if self._sandbox is None and not images.on_host(image):
            raise errors.Problem(
                errors.INVALID_INPUT,
                f"the image '{codespec.image}' is mapped to the directory {image.root}, which needs"
                ' bubblewrap: install it (apt-get install bubblewrap), or set bubblewrap = "auto"',
            )

    async def prepare(self, image: str, progress: base.Progress, *, pull: bool = False) -> None:
        """See `base.Engine`. Images are directories, which are there or not."""

    async def start(self, job: base.Job) -> None:
        """See `base.Engine`."""
        directory = self._run_directory(job.run)
        try:
            await trio.to_thread.run_sync(self._prepare, directory, job)
        except OSError as error:
            raise adopt.problem(error) from error
        await self._supervisors.start(directory)

    async def knows(self, run: int) -> bool:
        """See `base.Engine`."""
        return adopt.was_started(self._run_directory(run))

    def has(self, run: int) -> bool:
        """See `base.Engine`."""
        return os.path.exists(self._run_directory(run))

    async def follow(self, run: int, report: base.Report) -> base.Observation:
        """See `base.Engine`."""

        async def forward(observation: base.Observation) -> None:
            if observation.status == "Running":
                self._supervisors.replenish()
            await report(observation)

        try:
            return await adopt.follow(self._run_directory(run), forward)
        finally:
            self._supervisors.replenish()

    async def cancel(self, run: int, reason: str) -> None:
        """See `base.Engine`."""
        await adopt.send(self._run_directory(run), {"command": "cancel", "reason": reason})

    def log_path(self, run: int) -> str:
        """See `base.Engine`."""
        return os.path.join(self._run_directory(run), spec.LOG)

    async def remove(self, run: int) -> None:
        """See `base.Engine`."""
        await trio.to_thread.run_sync(_remove, self._run_directory(run))

    # --- preparing ---------------------------------------------------------------------------------------

    def _run_directory(self, run: int) -> str:
        return os.path.join(self._directory, str(run))

    def _image(self, codespec: model.JobCodespec) -> config.Image:
        return images.resolve(self._settings.images, codespec.image, self._places.config)

    def _prepare(self, directory: str, job: base.Job) -> None:
        """Make the run's directory and its spec; a few small files in a directory that is in memory."""
        os.makedirs(directory, mode=0o700, exist_ok=True)
        os.makedirs(os.path.join(directory, spec.PIPES), mode=0o700, exist_ok=True)
        image = self._image(job.codespec)
        plan = self._sandboxed if self._sandbox else self._direct
        argv, env, cwd = plan(directory, job, image)
        spec.write_spec(
            directory,
            spec.Spec(
                run=job.run,
                argv=argv,
                env=env,
                cwd=cwd,
                sandboxed=self._sandbox is not None,
                daemon_socket=self._places.socket,
                inputs=tuple(spec.Pipe(name, job.buffers[name]) for name in job.inputs),
                outputs=tuple(spec.Pipe(name, job.buffers[name]) for name in job.outputs),
                timeout=job.timeout_seconds,
                cancel_grace=self._settings.cancel_grace,
                block_size=self._store.block_size,
                flush_interval=self._store.flush_interval,
            ),
        )

    def _sandboxed(
        self, directory: str, job: base.Job, image: config.Image
    ) -> tuple[list[str], dict[str, str], str]:
        """Command line, environment and working directory of a job under bubblewrap."""
        if self._sandbox is None:
            raise TypeError("there is no sandbox")
        inside = f"/run/secrets/{job.run}/pipes"
        pipes = {name: f"{inside}/{name}.pipe" for name in (*job.inputs, *job.outputs)}
        made = environment.program(
            job.codespec,
            image,
            run=job.run,
            pipes=pipes,
            home=bwrap.HOME,
            temporary="/tmp",  # noqa: S108
        )
        argv = bwrap.argv(
            self._sandbox,
            image,
            made.command,
            pipes=os.path.join(directory, spec.PIPES),
            pipes_inside=inside,
            cwd=job.codespec.working_dir,
        )
        return argv, made.env, "/"

    def _direct(
        self, directory: str, job: base.Job, image: config.Image
    ) -> tuple[list[str], dict[str, str], str]:
        """The same for a job without a sandbox: a directory of its own is its home and its /tmp."""
        work = os.path.join(directory, spec.WORK)
        os.makedirs(work, mode=0o700, exist_ok=True)
        pipes = {name: spec.pipe_path(directory, name) for name in (*job.inputs, *job.outputs)}
        made = environment.program(job.codespec, image, run=job.run, pipes=pipes, home=work, temporary=work)
        return made.command, made.env, job.codespec.working_dir or work

    def _find_sandbox(self) -> bwrap.Sandbox | None:
        wanted = self._settings.bubblewrap
        if wanted == "off":
            return None
        program = bwrap.find()
        reason = "it is not installed" if program is None else bwrap.probe(program)
        if program is None or reason is not None:
            if wanted == "require":
                raise errors.Problem(errors.CONFIG, f"cannot use bubblewrap, which is required: {reason}")
            logger.warning("jobs run without a sandbox, bubblewrap cannot be used: %s", reason)
            return None
        homes = {os.path.expanduser("~"), "/home", "/root"}
        with contextlib.suppress(KeyError):  # a uid without a name, as in a container
            homes.add(pwd.getpwuid(os.getuid()).pw_dir)
        return bwrap.Sandbox(
            program,
            homes=tuple(sorted(os.path.realpath(home) for home in homes - {"/", "~"})),
            state=os.path.realpath(self._places.state),
            socket=os.path.realpath(self._places.socket),
        )


def _remove(directory: str) -> None:
    """Remove a run's directory, whatever modes the job left in it."""

    def force(function: Callable[..., object], path: str, _info: object) -> None:
        os.chmod(os.path.dirname(path), 0o700)
        if os.path.isdir(path) and not os.path.islink(path):
            os.chmod(path, 0o700)
        function(path)

    try:
        shutil.rmtree(directory, onerror=force)
    except FileNotFoundError:
        pass
    except OSError as error:
        logger.warning("cannot remove all of %s: %s", directory, error)

"""The process engine: runs are processes of this host, each in a directory below `<state>/runs`."""

from __future__ import annotations

import contextlib
import logging
import os
import pwd

import trio

from tyger import errors, model, paths
from tygerd import config
from tygerd.engines import base
from tygerd.engines.process import bwrap, environment, images
from tygerd.engines.supervised import engine as supervised
from tygerd.engines.supervised import parts, serving, spawn
from tygerd.supervisor import ports, spec

logger = logging.getLogger(__name__)


class ProcessEngine(supervised.SupervisedEngine):
    """See `base.Engine`. `supervisors` are those of another engine, where there is one."""

    traits = base.Traits(name="process", sockets=True, replicas=True, ephemeral_buffers=True)

    def __init__(
        self,
        places: paths.Paths,
        settings: config.Config,
        supervisors: spawn.Supervisors | None = None,
    ) -> None:
        super().__init__(os.path.join(places.state, "runs"), supervisors)
        self._places = places
        self._settings = settings.engine.process
        self._store = settings.store
        self._sandbox: bwrap.Sandbox | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `base.Engine`.

        Raises:
            Problem: CONFIG, when bubblewrap is required and doesn't work.
        """
        self._sandbox = await trio.to_thread.run_sync(self._find_sandbox)
        await super().run(task_status=task_status)

    async def unavailable(self) -> str | None:
        """See `base.Engine`. Of the whole system's daemon, where bubblewrap does not work."""
        if self._sandbox is None and self._places.system:
            return "bubblewrap, without which the daemon of the whole system runs nothing, does not work here"
        return None

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
        _check_ports(codespec)
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

    # --- preparing ---------------------------------------------------------------------------------------

    def _image(self, codespec: model.JobCodespec) -> config.Image:
        return images.resolve(self._settings.images, codespec.image, self._places.config)

    def _spec(self, directory: str, job: base.Job) -> spec.Spec:
        """See `SupervisedEngine`."""
        image = self._image(job.codespec)
        plan = self._sandboxed if self._sandbox else self._direct
        frame = parts.frame(job, daemon_socket=self._places.socket, store=self._store)
        mains = tuple(
            spec.MainSpec(part.name, plan(directory, job, image, part), pipes=part.pipes, label=part.label)
            for part in parts.replicas(job)
        )
        return frame._replace(mains=mains, cancel_grace=self._settings.cancel_grace)

    def _sandboxed(
        self, directory: str, job: base.Job, image: config.Image, part: parts.Part
    ) -> spec.ProcessSpec:
        """A replica of a job under bubblewrap."""
        if self._sandbox is None:
            raise TypeError("there is no sandbox")
        inside = f"/run/secrets/{job.run}/pipes"
        pipes = {name: f"{inside}/{name}.pipe" for name in serving.piped(job.codespec)}
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
            pipes=os.path.join(directory, spec.PIPES, part.pipes),
            pipes_inside=inside,
            cwd=job.codespec.working_dir,
        )
        return spec.ProcessSpec(argv, made.env, "/", sandboxed=True)

    def _direct(
        self, directory: str, job: base.Job, image: config.Image, part: parts.Part
    ) -> spec.ProcessSpec:
        """The same without a sandbox: a directory of its own is its home and its /tmp."""
        work = os.path.join(directory, spec.WORK, part.pipes)
        os.makedirs(work, mode=0o700, exist_ok=True)
        pipes = {name: spec.pipe_path(directory, name, part.pipes) for name in serving.piped(job.codespec)}
        made = environment.program(job.codespec, image, run=job.run, pipes=pipes, home=work, temporary=work)
        return spec.ProcessSpec(made.command, made.env, job.codespec.working_dir or work)

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


def _check_ports(codespec: model.JobCodespec) -> None:
    """Refuse a job whose port is taken: processes share those of this host."""
    for port in sorted({each.port for each in codespec.sockets or ()}):
        if ports.listeners(port):
            raise errors.Problem(
                errors.INVALID_INPUT,
                f"sockets: another program listens on port {port} of this host, whose ports the process"
                " engine's jobs share: stop it (`ss -ltnp` says which it is), or take another port",
            )

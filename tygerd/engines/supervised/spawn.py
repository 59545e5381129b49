"""Starting supervisors. One is kept on standby: starting Python takes longer than the rest of a run's start.

A standby waits on its stdin for a directory and leaves when that pipe closes, so it never outlives its
daemon; a supervisor that has its run does. Neither shares a session, a descriptor or a working directory with
us.
"""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Callable

import trio

from tyger import errors, programs

logger = logging.getLogger(__name__)

READY_SECONDS = 30.0
"""How long a supervisor may take until it is ready: it only waits for this machine's processor and disk."""


class Supervisors:
    """Starts supervisors and collects them when they end; one object may serve several engines.

    `command` makes the argv of a supervisor.
    """

    def __init__(self, command: Callable[[str], list[str]] | None = None) -> None:
        self._command = command or (lambda argument: [*programs.command("tygerd"), "supervise", argument])
        self._standby: subprocess.Popen[bytes] | None = None
        self._wanted = trio.Event()
        self._nursery: trio.Nursery | None = None
        self._threads = trio.CapacityLimiter(4)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep a standby and collect what ends, until cancelled: then the standby goes, runs stay.

        Where it runs already, for another engine that ends with ours, there is nothing more to do.
        """
        if self._nursery is not None:
            task_status.started()
            await trio.sleep_forever()
        try:
            async with trio.open_nursery() as self._nursery:
                self._wanted.set()
                task_status.started()
                while True:
                    await self._wanted.wait()
                    self._wanted = trio.Event()
                    if self._standby is None:
                        await self._make_standby()
        finally:
            self._nursery = None
            if self._standby is not None:
                _let_go(self._standby)
                self._standby.wait()  # it waits for nothing but that pipe
                self._standby = None

    def replenish(self) -> None:
        """Have a new standby made. Not done by `start`: it would compete with the run just started."""
        self._wanted.set()

    async def start(self, directory: str) -> None:
        """Start a supervisor on a run's directory; returns when it can be reached, or another has the run.

        Raises:
            Problem: IO_ERROR; no job runs and none will.
        """
        process, self._standby = self._standby, None
        if process is not None and not _hand_over(process, directory):
            _let_go(process)
            await trio.to_thread.run_sync(process.wait, limiter=self._threads)
            process = None
        # From here on a process has the directory: what it says must be heard, and it must be collected.
        with trio.CancelScope(shield=True):
            if process is None:
                process = await self._spawn(directory)
            if self._nursery is not None:
                self._nursery.start_soon(_collect, process)
            await self._ready(process)

    async def _make_standby(self) -> None:
        try:
            self._standby = await self._spawn("--standby")
        except errors.Problem as problem:
            logger.warning("%s", problem.message)  # the next run tries again, and says so itself

    async def _spawn(self, argument: str) -> subprocess.Popen[bytes]:
        def spawn() -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                self._command(argument),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=programs.own_environment(os.environ),
                cwd="/",
                start_new_session=True,
            )

        try:
            return await trio.to_thread.run_sync(spawn, limiter=self._threads)
        except OSError as error:
            raise errors.Problem(
                errors.IO_ERROR, f"cannot start the run's supervisor: {error.strerror}"
            ) from error

    async def _ready(self, process: subprocess.Popen[bytes]) -> None:
        said = b""
        try:
            with trio.move_on_after(READY_SECONDS):
                said = await _line(process)
        finally:
            _let_go(process)
        if said not in (b"ready\n", b"taken\n"):
            process.kill()
            reason = said.decode(errors="replace").strip().removeprefix("error: ") or "it says nothing"
            raise errors.Problem(errors.IO_ERROR, f"cannot start the run's supervisor: {reason}")


def _hand_over(process: subprocess.Popen[bytes], directory: str) -> bool:
    """Give a standby its run; False when it has died."""
    if process.stdin is None or process.poll() is not None:
        return False
    try:
        os.write(process.stdin.fileno(), f"{directory}\n".encode())
    except BrokenPipeError:
        return False
    return True


def _let_go(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


async def _line(process: subprocess.Popen[bytes]) -> bytes:
    """What the supervisor says, up to the end of the line or of the pipe."""
    said = b""
    if process.stdout is None:
        return said
    fd = process.stdout.fileno()
    while not said.endswith(b"\n"):
        await trio.lowlevel.wait_readable(fd)
        piece = os.read(fd, 4096)
        if not piece:
            break
        said += piece
    return said


async def _collect(process: subprocess.Popen[bytes]) -> None:
    """Reap a supervisor when it ends."""
    try:
        try:
            fd = os.pidfd_open(process.pid)
        except ProcessLookupError:
            return
        except OSError:  # too many descriptors, or a filter of system calls that does not know this one
            await trio.to_thread.run_sync(
                process.wait, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1)
            )
            return
        try:
            await trio.lowlevel.wait_readable(fd)
        finally:
            os.close(fd)
    finally:
        if process.poll() is None:
            process.returncode = 0  # it outlives us on purpose, and subprocess must not warn of that

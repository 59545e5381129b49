"""The engine of system runs: an export or an import, done by this daemon itself.

The daemon alone has the credentials of the storage accounts, so no process is started. A run is remembered
by its directory, `<state>/copies/<run>`; the work is done where it is followed, and begins again after a
restart, which skips what is done. How it ended stands in a file there.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import trio

from tyger import errors, model, units
from tygerd import clock
from tygerd.copying import journal, orders
from tygerd.engines import base
from tygerd.osutil import durable, nurseries

LOG = "log"
_ORDER = "order.json"
_END = "end.json"

RETRY = 5.0
"""Seconds until the end of a run is written again, where that failed."""

logger = logging.getLogger(__name__)

Perform = Callable[[orders.Order, journal.Journal], Awaitable[None]]
"""Carries an order out; a Problem says why it did not succeed."""


class _Kept(msgspec.Struct):
    """A run as it was started: what is to be done, since when (microseconds), and for how many seconds."""

    codespec: model.JobCodespec
    started_at: int
    timeout: int


class _End(msgspec.Struct):
    status: str
    reason: str | None
    finished_at: int


class CopyEngine:
    """See `base.Engine`; `perform` does the work."""

    traits = base.Traits(name="system")

    def __init__(self, state: str, perform: Perform, *, sync: bool = False, retry: float = RETRY) -> None:
        self._directory = os.path.join(state, "copies")
        self._perform = perform
        self._sync = sync
        self._retry = retry
        self._cancelled: dict[int, str] = {}
        self._scopes: dict[int, trio.CancelScope] = {}

    async def unavailable(self) -> None:
        """See `base.Engine`. Never is."""

    async def check(
        self,
        codespec: model.JobCodespec,
        worker: model.WorkerCodespec | None = None,  # noqa: ARG002 - a trait refuses it
        *,
        pull: bool = False,  # noqa: ARG002 - as above
    ) -> None:
        """See `base.Engine`."""
        orders.read(codespec)

    async def prepare(self, image: str, progress: base.Progress, *, pull: bool = False) -> None:
        """See `base.Engine`. There are no images."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `base.Engine`. Has no tasks of its own."""
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        task_status.started()
        await trio.sleep_forever()

    async def start(self, job: base.Job) -> None:
        """See `base.Engine`."""
        kept = _Kept(job.codespec, units.to_micros(clock.now()), job.timeout_seconds)
        await trio.to_thread.run_sync(self._write, job.run, _ORDER, kept)

    async def knows(self, run: int) -> bool:
        """See `base.Engine`."""
        return self.has(run)

    def has(self, run: int) -> bool:
        """See `base.Engine`."""
        return os.path.exists(self._path(run, _ORDER))

    async def follow(self, run: int, report: base.Report) -> base.Observation:
        """See `base.Engine`."""
        kept = self._read(run, _ORDER, _Kept)
        if kept is None:
            raise base.NeverStarted
        end = self._read(run, _END, _End)
        if end is None:
            end = await self._work(run, kept, report)
        return base.Observation(
            status=_known(end.status),
            reason=end.reason,
            started_at=kept.started_at,
            finished_at=end.finished_at,
        )

    async def cancel(self, run: int, reason: str) -> None:
        """See `base.Engine`."""
        self._cancelled[run] = reason
        if (scope := self._scopes.get(run)) is not None:
            scope.cancel()

    def log_path(self, run: int) -> str:
        """See `base.Engine`."""
        return self._path(run, LOG)

    async def remove(self, run: int) -> None:
        """See `base.Engine`."""
        self._cancelled.pop(run, None)
        await trio.to_thread.run_sync(lambda: shutil.rmtree(self._path(run), ignore_errors=True))

    # --- working -----------------------------------------------------------------------------------------

    async def _work(self, run: int, kept: _Kept, report: base.Report) -> _End:
        """Carry the order out, reporting how its log grows; how it ended."""
        grown = trio.Event()

        def grow(_size: int) -> None:
            grown.set()

        try:
            log = journal.Journal(self._path(run, LOG), grow)
        except OSError as error:
            message = f"cannot open the run's log in {self._directory}: {error.strerror}"
            raise errors.Problem(errors.IO_ERROR, message) from error

        async def tell() -> None:
            nonlocal grown
            while True:
                grown = trio.Event()
                await report(
                    base.Observation(status="Running", started_at=kept.started_at, log_size=log.size)
                )
                await grown.wait()

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(tell)
                end = await self._carry_out(run, kept, log)
                await self._keep(run, end)
                nursery.cancel_scope.cancel()
        finally:
            log.close()
        return end

    async def _keep(self, run: int, end: _End) -> None:
        """Remember how a run ended. While the disk is full that is tried again: it ended as it did."""
        while True:
            try:
                await trio.to_thread.run_sync(self._write, run, _END, end)
            except errors.Problem as problem:
                logger.warning("run %d: %s; trying again", run, problem.message)
            else:
                return
            await trio.sleep(self._retry)

    async def _carry_out(self, run: int, kept: _Kept, log: journal.Journal) -> _End:
        left = kept.timeout - (units.to_micros(clock.now()) - kept.started_at) / 1e6
        reason: str | None = None
        with trio.CancelScope() as scope:
            self._scopes[run] = scope
            if run in self._cancelled:
                scope.cancel()
            try:
                with trio.move_on_after(max(0.0, left)) as timeout:
                    await self._perform(orders.read(kept.codespec), log)
            except errors.Problem as problem:
                reason = problem.message
            except BaseExceptionGroup as group:
                outcome = nurseries.outcome(group)
                if not isinstance(outcome, Exception):
                    raise outcome from None
                reason = outcome.message if isinstance(outcome, errors.Problem) else _defect(outcome)
            except Exception as defect:  # noqa: BLE001 - the one catch per run: it would end each daemon anew
                reason = _defect(defect)
            finally:
                del self._scopes[run]
            if timeout.cancelled_caught:
                reason = f"DeadlineExceeded: the run took longer than {kept.timeout} seconds"
        now = units.to_micros(clock.now())
        if scope.cancelled_caught:
            return _End("Canceled", self._cancelled.get(run), now)
        if reason is not None:
            log.write("error", "Run failed", error=reason)
        return _End("Succeeded" if reason is None else "Failed", reason, now)

    # --- files -------------------------------------------------------------------------------------------

    def _path(self, run: int, *name: str) -> str:
        return os.path.join(self._directory, str(run), *name)

    def _write(self, run: int, name: str, content: Any) -> None:
        path = self._path(run, name)
        try:
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            with open(f"{path}.new", "wb") as file:
                file.write(msgspec.json.encode(content))
            if self._sync:
                durable.sync_path(f"{path}.new")
            os.rename(f"{path}.new", path)
            if self._sync:
                durable.sync_path(os.path.dirname(path))
        except OSError as error:
            message = f"cannot keep the run in {self._directory}: {error.strerror}"
            raise errors.Problem(errors.IO_ERROR, message) from error

    def _read(self, run: int, name: str, kind: type[Any]) -> Any:
        try:
            with open(self._path(run, name), "rb") as file:
                return msgspec.json.decode(file.read(), type=kind)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            message = f"cannot read what was kept of the run: {self._path(run, name)}: {error}"
            raise errors.Problem(errors.IO_ERROR, message) from error


def _defect(error: Exception) -> str:
    """What the run says of an error that nobody expected; the daemon's log has all of it."""
    logger.error("an unexpected error in a system run", exc_info=error)
    return f"a defect of ours, see the daemon's log: {type(error).__name__}"


def _known(status: str) -> Any:
    return status

"""Looking after one run from its row to its last trace, in this daemon or after a restart.

Theory of operation. Every step can be repeated, and a starting daemon repeats from the top for each run that
is not final: start the job unless the engine knows it; follow it; fail the outputs that it left unfinished;
record the end; archive the log; let the engine forget; mark the run final. The row alone decides where a run
stands. One that its engine cannot be asked about, as that was taken out of the configuration, stays as it is
until its time is over: the next daemon may know its engine again.
"""

from __future__ import annotations

import logging
import os
from typing import Literal

import sqlalchemy as sa
import trio

from tyger import errors, model, units
from tygerd import clock
from tygerd.buffers import service as buffers_service
from tygerd.catalog import db
from tygerd.catalog import runs as queries
from tygerd.engines import base, several
from tygerd.runs import live, logs, resource, states
from tygerd.streams import relays, transfers

TIMED_OUT_PENDING = "Run exceeded its timeout while pending"

RETRY = 5.0
"""Seconds until a step that failed is tried again: the disk is full, say, and somebody makes room."""

logger = logging.getLogger(__name__)


class Caretaker:
    """Looks after runs, each in a task of the service's nursery."""

    def __init__(
        self,
        catalog: db.Catalog,
        engine: several.Engines,
        buffers: buffers_service.Buffers,
        transfer_service: transfers.Transfers,
        relay_service: relays.Relays,
        log_directory: str,
        retry: float = RETRY,
        *,
        sync: bool = False,
    ) -> None:
        self._catalog = catalog
        self._engine = engine
        self._buffers = buffers
        self._transfers = transfer_service
        self._relays = relay_service
        self._log_directory = log_directory
        self._retry = retry
        self._sync = sync
        self._recording = trio.CapacityLimiter(1)

    async def look_after(self, run_id: int, bells: live.Live) -> None:
        """Do what is left to do for a run; returns when it is final. Cancelled, it can be repeated."""
        while True:
            try:
                end = await self._to_the_end(run_id, bells)
                bells.log_ended()
                open_end = await self._fail_outputs(await self._row(run_id), end)
                row = await self.record(run_id, end, bells)
                self._relays.end(run_id, None if row.status == "Succeeded" else _why(row))
                if open_end is not None:
                    raise open_end
                await self._put_away(row)
            except errors.Problem as problem:
                logger.warning("run %d: %s; trying again", run_id, problem.message)
                await trio.sleep(self._retry)
            else:
                return

    async def record(self, run_id: int, seen: base.Observation, bells: live.Live) -> queries.RunRow:
        """Bring the row up to what was observed, as far as its status allows; the row as it then is."""

        def apply(connection: sa.Connection) -> tuple[queries.RunRow, bool]:
            row = _existing(connection, run_id)
            changes: queries.RunChanges = {}
            if states.may_follow(seen.status, row.status):
                changes = {"status": seen.status, "status_reason": seen.reason}
                if seen.finished_at is not None:
                    changes["finished_at"] = seen.finished_at
            elif (
                seen.status == row.status
                and not states.is_terminal(row.status)
                and seen.reason != row.status_reason
            ):
                changes = {"status_reason": seen.reason}  # what it waits for
            # Of what has ended nothing changes: whoever saw the end, and its ETag, has seen all of it.
            if seen.started_at is not None and row.started_at is None and not states.is_terminal(row.status):
                changes["started_at"] = seen.started_at
            if seen.image_digest is not None and row.image_digest is None:
                changes["image_digest"] = seen.image_digest
            over = states.is_terminal(changes.get("status", row.status))
            running_count = None if over else seen.running_count
            if running_count != row.running_count:
                changes["running_count"] = running_count
            if not changes:
                return row, False
            queries.set_run_state(connection, run_id, **changes)
            return _existing(connection, run_id), True

        # One at a time: a thousand runs may have news at once, and who submits another must not wait for all.
        async with self._recording:
            row, changed = await self._catalog.write(apply)
        if changed:
            bells.changed.ring()
        return row

    # --- steps -------------------------------------------------------------------------------------------

    async def _to_the_end(self, run_id: int, bells: live.Live) -> base.Observation:
        """Start the run's job where that was not done, and follow it."""
        known: tuple[object, ...] | None = None

        async def report(seen: base.Observation) -> None:
            nonlocal known
            # All that `record` looks at of a run that goes on.
            told = (seen.status, seen.reason, seen.started_at, seen.running_count, seen.image_digest)
            if told != known:
                try:
                    await self.record(run_id, seen, bells)
                    known = told
                except errors.Problem as problem:  # the next report says it, too, and no job ends by it
                    logger.warning("run %d: what becomes of it is not kept: %s", run_id, problem.message)
            bells.log_grew(seen.log_size)

        row = await self._row(run_id)
        try:
            if row.status == "Pending" and (late := await self._start_unless_known(row)) is not None:
                return late
            # Canceled before, or while, it was started.
            if (await self._row(run_id)).status == "Canceled":
                await self._engine.cancel(run_id, row.status_reason or "Canceled by user")
            return await self._engine.follow(run_id, report)
        except base.OutOfReach as why:
            return await self._outlast(run_id, str(why), bells)
        except base.NeverStarted:
            reason = "the run was never started" if row.status == "Pending" else "the engine lost the run"
        except errors.Problem as problem:
            reason = problem.message
        return _given_up(row, "Failed", reason)

    async def _outlast(self, run_id: int, why: str, bells: live.Live) -> base.Observation:
        """Have a run say why nothing becomes of it, until its time is over; what is then its end."""
        while True:
            news = bells.changed.next()
            row = await self._row(run_id)
            left = (job_of(row).deadline - units.to_micros(clock.now())) / 1e6
            if row.status == "Pending" and left <= 0:
                return _given_up(row, "Canceled", f"{TIMED_OUT_PENDING}: {why}")
            if left <= 0 or (row.status == "Canceled" and not await self._engine.knows(run_id)):
                return _given_up(row, "Failed", f"nobody knows how it ended: {why}")
            status: Literal["Pending", "Running"] = "Pending" if row.status == "Pending" else "Running"
            await self.record(run_id, base.Observation(status=status, reason=why), bells)
            with trio.move_on_after(left):
                await news.wait()

    async def _start_unless_known(self, row: queries.RunRow) -> base.Observation | None:
        """Start it, unless its time is over before that; what became of it then."""
        if await self._engine.knows(row.id):
            return None
        job = job_of(row)
        left = (job.deadline - units.to_micros(clock.now())) / 1e6
        with trio.move_on_after(max(0.0, left)) as time:
            await trio.lowlevel.checkpoint()  # where nothing is left, nothing is begun
            await self._engine.start(job)
        if not time.cancelled_caught:
            return None
        if await self._engine.knows(row.id):  # cut in the middle: it is followed to its end
            await self._engine.cancel(row.id, TIMED_OUT_PENDING)
            return None
        return _given_up(row, "Canceled", TIMED_OUT_PENDING)

    async def _fail_outputs(self, row: queries.RunRow, end: base.Observation) -> errors.Problem | None:
        """No output of a failed run passes for whole; a transfer that is still open ends by itself.

        Returns why a store could not be told: it is told later, and the run's end is not held up.
        """
        job = job_of(row)
        if row.status == "Succeeded":  # recorded before a restart
            return None
        trouble: errors.Problem | None = None
        for name in end.incomplete:
            buffer = job.buffers.get(name)
            if buffer is not None and not self._transfers.writing(buffer):
                try:
                    store = await self._buffers.locate(buffer)
                    await store.mark_failed(buffer, end.reason or "the run left it unfinished")
                except errors.Problem as problem:
                    if problem.kind is not errors.NOT_FOUND:
                        trouble = problem
        return trouble

    async def _put_away(self, row: queries.RunRow) -> None:
        """Archive the log and let the engine forget."""
        if row.logs_archived_at is None:
            await self._archive(row.id)
        await self._engine.remove(row.id)
        await self._catalog.write(queries.set_run_state, row.id, final=True)

    async def _archive(self, run_id: int) -> None:
        source = self._engine.log_path(run_id)
        try:
            await trio.to_thread.run_sync(
                lambda: logs.archive(source, self._log_directory, run_id, sync=self._sync)
            )
        except OSError as error:
            raise errors.Problem(
                errors.IO_ERROR, f"cannot archive its log in {self._log_directory}: {error.strerror}"
            ) from error
        now = units.to_micros(clock.now())
        await self._catalog.write(queries.set_run_state, run_id, logs_archived_at=now)

    async def _row(self, run_id: int) -> queries.RunRow:
        return await self._catalog.read(_existing, run_id)


def make_log_directory(state: str) -> str:
    """The directory of archived logs."""
    path = os.path.join(state, "logs")
    os.makedirs(path, mode=0o700, exist_ok=True)
    return path


def job_of(row: queries.RunRow) -> base.Job:
    """What an engine is to execute for a run."""
    run: model.Run = resource.decode(row)
    worker = None
    if run.worker is not None:
        worker = base.Worker(
            codespec=resource.worker_codespec_of(run.worker),
            replicas=run.worker.replicas,
            node_pool=run.worker.node_pool,
        )
    access_ttl = resource.span(run.buffer_access_ttl, "$.bufferAccessTtl") or resource.DEFAULT_ACCESS_TTL
    return base.Job(
        run=row.id,
        codespec=resource.codespec_of(run),
        buffers=run.job.buffers or {},
        created_at=row.created_at,
        timeout_seconds=resource.DEFAULT_TIMEOUT if run.timeout_seconds is None else run.timeout_seconds,
        replicas=1 if run.job.replicas is None else run.job.replicas,
        worker=worker,
        engine=row.engine,
        system=run.kind == "system",
        node_pool=run.job.node_pool,
        access_ttl=access_ttl.total_seconds(),
    )


def _given_up(row: queries.RunRow, status: Literal["Failed", "Canceled"], reason: str) -> base.Observation:
    """The end of a run that no engine tells of."""
    now = units.to_micros(clock.now())
    outputs = tuple(job_of(row).outputs)
    return base.Observation(status=status, reason=reason, finished_at=now, incomplete=outputs)


def _why(row: queries.RunRow) -> str:
    """Why a run did not succeed, for those who read or write its ephemeral buffers."""
    reason = f" ({row.status_reason})" if row.status_reason else ""
    return f"the run ended with status {row.status}{reason}"


def _existing(connection: sa.Connection, run_id: int) -> queries.RunRow:
    row = queries.get_run(connection, run_id)
    if row is None:
        raise LookupError(f"run {run_id} is not in the catalog")
    return row

"""The runs service: everything the API asks about runs. Each run that is not final has a caretaker's task.

What a daemon was doing for a run when it was killed, the next one does again.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec
import sqlalchemy as sa
import trio

from tyger import errors, model, units
from tygerd import clock, events
from tygerd.buffers import service as buffers_service
from tygerd.catalog import db, pages
from tygerd.catalog import runs as queries
from tygerd.codespecs import service as codespecs_service
from tygerd.engines import base, several
from tygerd.runs import creation, live, logs, records, resource, states, supervise
from tygerd.streams import relays, transfers

CANCELED_BY_USER = "Canceled by user"

logger = logging.getLogger(__name__)

SendRun = Callable[[model.Run], Awaitable[None]]


class Page(NamedTuple):
    """A page of a list. `last` is where the next one continues, None on the last page."""

    items: list[model.Run]
    last: tuple[int, int] | None


class Chosen(NamedTuple):
    """Which runs a query is about: created strictly after `since`, in one of `statuses`, with all `tags`."""

    since: datetime | None = None
    statuses: Sequence[str] = ()
    tags: Mapping[str, str] = {}


class Runs:
    """All runs of this daemon. Methods raise `Problem` in the contract's words (rest-api.md section 6).

    With `sync` an archived log survives a loss of power, as what the engine keeps of it is removed then.
    """

    def __init__(
        self,
        catalog: db.Catalog,
        engines: several.Engines,
        *,
        buffers: buffers_service.Buffers,
        codespecs: codespecs_service.Codespecs,
        transfer_service: transfers.Transfers,
        relay_service: relays.Relays,
        state: str,
        sync: bool = False,
        retry: float = supervise.RETRY,
        announce: events.Announce = events.nobody,
    ) -> None:
        self._catalog = catalog
        self._engines = engines
        self._buffers = buffers
        self._codespecs = codespecs
        self._log_directory = supervise.make_log_directory(state)
        self._relays = relay_service
        self._caretaker = supervise.Caretaker(
            catalog, engines, buffers, transfer_service, relay_service, self._log_directory, retry, sync=sync
        )
        self._creator = creation.Creator(catalog, engines, buffers, codespecs, self._look_after)
        self._announce = announce
        self._live: dict[int, live.Live] = {}
        self._taken_up = live.Bell()
        self._nursery: trio.Nursery  # since `run`

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the engine and take up the runs that the last daemon left. Cancelled, jobs go on without us."""
        async with trio.open_nursery() as self._nursery:
            await self._nursery.start(self._engines.run)
            for row in await self._catalog.read(queries.unfinished_runs):
                self._look_after(row)
            task_status.started()
            await trio.sleep_forever()

    async def traits(self) -> base.Traits:
        """What can be run at present."""
        return await self._engines.traits()

    async def engines(self) -> list[dict[str, str | None]]:
        """Where it can be run; see `several.Engines.state`."""
        return await self._engines.state()

    def unfinished(self) -> int:
        """Runs that are looked after: the daemon must not leave by itself."""
        return len(self._live)

    # --- creating ----------------------------------------------------------------------------------------

    async def create(
        self,
        wanted: model.Run,
        owner_uid: int,
        key: str | None = None,
        wish: creation.Wish = creation.NO_WISH,
    ) -> creation.Created:
        """See `creation.Creator.create`."""
        return await self._creator.create(wanted, owner_uid, key, wish)

    async def follow_fetches(self, key: str, send: Callable[[str], Awaitable[None]]) -> None:
        """See `fetching.Fetches.follow`: of the run that is created with this key."""
        await self._creator.fetches.follow(key, send)

    async def create_system(
        self, codespec: model.JobCodespec, owner_uid: int, timeout_seconds: int
    ) -> model.Run:
        """See `creation.Creator.create_system`."""
        return await self._creator.create_system(codespec, owner_uid, timeout_seconds)

    def _look_after(self, row: queries.RunRow) -> None:
        run_id, job = row.id, supervise.job_of(row)
        self._relays.expect(run_id, job.buffers, job.inputs)
        bells = self._live[run_id] = live.Live(lambda: self._announce("run", str(run_id)))
        bells.changed.ring()
        self._taken_up.ring()
        self._nursery.start_soon(self._caretaker_task, run_id, bells)

    async def _caretaker_task(self, run_id: int, bells: live.Live) -> None:
        try:
            await self._caretaker.look_after(run_id, bells)
        finally:
            del self._live[run_id]

    # --- looking -----------------------------------------------------------------------------------------

    async def get(self, run_id: int) -> model.Run:
        """The run; NOT_FOUND."""
        return resource.shown(await self._row(run_id))

    async def page(self, chosen: Chosen, *, limit: int, after: tuple[int, int] | None) -> Page:
        """Newest first; fewer than `limit` where they are huge (`pages`)."""

        async def read(count: int, place: tuple[int, int] | None) -> list[queries.RunRow]:
            return await self._catalog.read(
                queries.list_runs,
                limit=count,
                since=_micros(chosen.since),
                statuses=chosen.statuses,
                tags=chosen.tags,
                after=place,
            )

        rows, more = await pages.collect(read, limit=limit, after=after, place=_place, size=_size)
        last = _place(rows[-1]) if more and rows else None
        return Page([resource.shown(row) for row in rows], last)

    async def counts(self, chosen: Chosen) -> dict[str, int]:
        """How many runs are in each status; one without runs is absent."""
        return await self._catalog.read(queries.count_runs, since=_micros(chosen.since), tags=chosen.tags)

    async def watch(self, run_id: int, send: SendRun) -> None:
        """Send the run now and whenever it has changed, until it has ended.

        Raises:
            Problem: NOT_FOUND, before anything is sent.
        """
        last: model.Run | None = None
        await self._settled(run_id)
        while True:
            bells = self._live.get(run_id)
            news = bells.changed.next() if bells else None
            run = await self.get(run_id)
            if run != last:
                await send(run)
                last = run
            if run.status is None or states.is_terminal(run.status) or news is None:
                return
            await news.wait()

    # --- changing ----------------------------------------------------------------------------------------

    async def update(self, run_id: int, tags: Mapping[str, str], if_match: str | None) -> model.Run:
        """Replace all tags; allowed in every status. They are not validated (rest-api.md 2.1)."""

        def apply(connection: sa.Connection) -> queries.RunRow:
            row = queries.get_run(connection, run_id)
            if row is None:
                raise errors.not_found()
            if if_match not in {None, "", "*", resource.etag(row)}:
                raise errors.Problem(errors.PRECONDITION_FAILED, "ETag does not match")
            queries.set_tags(connection, run_id, tags)
            return _existing(connection, run_id)

        row = await self._catalog.write(apply)
        if bells := self._live.get(run_id):
            bells.changed.ring()
        else:
            self._announce("run", str(run_id))
        return resource.shown(row)

    async def cancel(self, run_id: int) -> model.Run:
        """Cancel a run: its status says so at once, its job has a grace. An end is never changed.

        Where the disk has no room for the status, a job that was started ends all the same: its engine keeps
        that, and the status follows once there is room.

        Raises:
            Problem: NOT_FOUND; STORAGE_FULL, and it was not started.
        """
        # Whole seconds, as the original has it.
        now = clock.now().replace(microsecond=0)

        def apply(connection: sa.Connection) -> tuple[queries.RunRow, bool]:
            row = queries.get_run(connection, run_id)
            if row is None:
                raise errors.not_found()
            if not states.may_follow("Canceled", row.status):
                return row, False
            queries.set_run_state(
                connection,
                run_id,
                status="Canceled",
                status_reason=CANCELED_BY_USER,
                finished_at=units.to_micros(now),
                running_count=None,
            )
            return _existing(connection, run_id), True

        try:
            row, changed = await self._catalog.write(apply)
        except errors.Problem as problem:
            if problem.kind is not errors.STORAGE_FULL or not await self._engines.knows(run_id):
                raise
            row = await self._row(run_id)
            changed = not states.is_terminal(row.status)
            if changed:
                row = _canceled(row, now)
        if changed:
            if bells := self._live.get(run_id):
                bells.changed.ring()
            # Not in the request's own task: it is done even if the client leaves now.
            self._nursery.start_soon(self._engines.cancel, run_id, CANCELED_BY_USER)
        return resource.shown(row)

    # --- logs --------------------------------------------------------------------------------------------

    async def require(self, run_id: int) -> None:
        """Raises Problem: NOT_FOUND."""
        await self._row(run_id)

    async def logs(self, run_id: int, options: records.Options, sink: logs.Send, *, follow: bool) -> None:
        """Send the lines of a run's log; with `follow`, until it has ended.

        Raises:
            Problem: NOT_FOUND, before anything is sent.
        """
        row = await self._settled(run_id)
        run = resource.decode(row)
        # Where there are several programs, the supervisor has put their names before the lines.
        prefix = records.PREFIX if run.job.buffers and not resource.is_wide(run) else b""
        if row.logs_archived_at is None:
            bells = self._live.get(run_id)
            try:
                await logs.send(
                    lambda: self._engines.log_path(run_id), options, prefix, sink, bells if follow else None
                )
            except FileNotFoundError:
                # Nothing was logged yet, or it was archived just now.
                row = await self._row(run_id)
            else:
                return
        if row.logs_archived_at is not None:
            path = logs.archive_path(self._log_directory, run_id)
            try:
                await logs.send(lambda: path, options, prefix, sink, None)
            except FileNotFoundError:
                logger.warning("run %d: its log is gone: %s", run_id, path)
            except errors.Problem as problem:
                logger.warning("run %d: %s", run_id, problem.message)
                raise

    async def _settled(self, run_id: int) -> queries.RunRow:
        """The row, once its run is looked after or put away: it is there an instant earlier.

        Raises:
            Problem: NOT_FOUND.
        """
        while True:
            news = self._taken_up.next()
            looked_after = run_id in self._live
            row = await self._row(run_id)
            # It may have been put away since the row was read, or taken up.
            if looked_after or row.final or run_id in self._live:
                return row
            await news.wait()

    async def _row(self, run_id: int) -> queries.RunRow:
        row = await self._catalog.read(queries.get_run, run_id)
        if row is None:
            raise errors.not_found()
        return row


def _canceled(row: queries.RunRow, at: datetime) -> queries.RunRow:
    """The row as it will be."""
    micros = units.to_micros(at)
    return msgspec.structs.replace(
        row, status="Canceled", status_reason=CANCELED_BY_USER, finished_at=micros, running_count=None
    )


def _existing(connection: sa.Connection, run_id: int) -> queries.RunRow:
    row = queries.get_run(connection, run_id)
    if row is None:
        raise LookupError(f"run {run_id} vanished inside its own transaction")
    return row


def _place(row: queries.RunRow) -> tuple[int, int]:
    return row.created_at, row.id


def _size(row: queries.RunRow) -> int:
    return len(row.body) + sum(len(key) + len(value) for key, value in row.tags.items())


def _micros(moment: datetime | None) -> int | None:
    return None if moment is None else units.to_micros(moment)

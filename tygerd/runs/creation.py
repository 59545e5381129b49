"""Creating runs, contract rest-api.md 6.2: everything is checked before anything is made.

A row is written before anything is started, in one transaction with its tags and its idempotency key. Images
are fetched before that, as a run whose image cannot be had is none; how far that has come can be followed by
the key.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import NamedTuple

import sqlalchemy as sa
import trio

from tyger import errors, model, units
from tygerd import clock
from tygerd.buffers import service as buffers_service
from tygerd.catalog import db
from tygerd.catalog import runs as queries
from tygerd.codespecs import service as codespecs_service
from tygerd.engines import base, several
from tygerd.runs import choice, fetching, resource, submit


class Wish(NamedTuple):
    """What is asked of a run beside its body: the name of an engine, and to `pull` its images in any case."""

    engine: str | None = None
    pull: bool = False


NO_WISH = Wish()


class Created(NamedTuple):
    """A run, and why its engine was chosen where nobody has named one."""

    run: model.Run
    engine: str
    reason: str | None = None


class Creator:
    """Makes runs. `take_up` is called with the row of each, in the instant in which there is one."""

    def __init__(
        self,
        catalog: db.Catalog,
        engines: several.Engines,
        buffers: buffers_service.Buffers,
        codespecs: codespecs_service.Codespecs,
        take_up: Callable[[queries.RunRow], None],
    ) -> None:
        self._catalog = catalog
        self._engines = engines
        self._buffers = buffers
        self._codespecs = codespecs
        self._take_up = take_up
        self._turns: dict[str, trio.Lock] = {}
        self.fetches = fetching.Fetches()

    async def create(
        self, wanted: model.Run, owner_uid: int, key: str | None = None, wish: Wish = NO_WISH
    ) -> Created:
        """Create a run and start it; the same `key` again gives the run that it made first.

        Cancelled before there is a row, it leaves at worst buffers that nobody knows of.
        """
        codespecs_service.check(wanted.job.codespec, "$.job.codespec")
        if wanted.worker is not None:
            codespecs_service.check(wanted.worker.codespec, "$.worker.codespec")
        submit.check_form(wanted)
        if not key:
            return await self._create(wanted, owner_uid, None, wish)
        with self.fetches.of(key):
            async with self._turn(key):
                known = await self._catalog.read(_created_with, key)
                if known is not None:
                    return Created(resource.shown(known), known.engine)
                return await self._create(wanted, owner_uid, key, wish)

    async def create_system(
        self, codespec: model.JobCodespec, owner_uid: int, timeout_seconds: int
    ) -> model.Run:
        """Create a run of the system's own; nothing of it is checked."""
        run = model.Run(
            kind="system",
            job=model.JobTarget(codespec=codespec, replicas=1),
            timeout_seconds=timeout_seconds,
        )
        return await self._insert(run, run, owner_uid, None)

    @asynccontextmanager
    async def _turn(self, key: str) -> AsyncIterator[None]:
        """Requests with one key come one after the other; others do not wait for them."""
        lock = self._turns.setdefault(key, trio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.locked() and self._turns.get(key) is lock:
                del self._turns[key]

    async def _create(self, wanted: model.Run, owner_uid: int, key: str | None, wish: Wish) -> Created:
        candidates = choice.Candidates(self._engines.offered(wish.engine))
        candidates.require(lambda traits: submit.check(wanted, traits))
        if wish.pull:
            candidates.require(submit.check_pull)
        codespec = submit.job_codespec(await self._codespecs.resolve(wanted.job.codespec))
        worker = None
        if wanted.worker is not None:
            worker = submit.worker_codespec(await self._codespecs.resolve(wanted.worker.codespec))
        submit.check_replicas(wanted, codespec)
        candidates.require(lambda traits: submit.check_codespecs(codespec, worker, traits))
        candidates.require(lambda traits: submit.check_pools(wanted, codespec, worker, traits))

        async def check(engine: base.Engine) -> None:
            await engine.check(codespec, worker, pull=wish.pull)

        chosen = await candidates.first(check)
        stored = [buffer for buffer in (wanted.job.buffers or {}).values() if buffer != submit.EPHEMERAL]
        if stored:
            await self._buffers.require_active(stored)
        given, missing = submit.arguments(wanted, codespec)
        submit.check_access(wanted, with_buffers=bool(given or missing))
        images = dict.fromkeys([codespec.image, *([worker.image] if worker else [])])

        async def prepare(progress: base.Progress) -> None:
            for image in images:
                await chosen.engine.prepare(image, progress, pull=wish.pull)

        while True:
            try:
                await self.fetches.fetch(key, prepare)
            except fetching.GivenUp:
                raise
            except errors.Problem as problem:  # the image cannot be had: another may do without
                chosen = await candidates.instead(chosen.engine, problem, check)
            else:
                break
        made: dict[str, str] = {}
        if missing:
            tags = [{**(wanted.job.tags or {}), "bufferName": name} for name in missing]
            ttl = resource.span(wanted.job.buffer_ttl, "$.job.bufferTtl")
            expires_at = None if ttl is None else _after(ttl)
            new = await self._buffers.create_many(tags, owner_uid, expires_at)
            made = {name: str(buffer.id) for name, buffer in zip(missing, new, strict=True)}
        traits = chosen.engine.traits
        cluster = traits.site.cluster(wanted.cluster) if traits.site is not None else None
        run = resource.normalized(wanted, codespec, {**submit.started(given), **made}, worker, cluster)
        engine = traits.name
        return Created(await self._insert(run, wanted, owner_uid, key, engine), engine, chosen.reason)

    async def _insert(
        self, run: model.Run, wanted: model.Run, owner_uid: int, key: str | None, engine: str = ""
    ) -> model.Run:
        def apply(connection: sa.Connection) -> queries.RunRow:
            # Read here, so that runs are as old as they are numbered: who asks for those that are newer than
            # the newest that he has seen must miss none.
            now = units.to_micros(clock.now())
            run_id = queries.insert_run(
                connection,
                resource.encode(run),
                wanted.tags or {},
                owner_uid,
                now,
                owner=self._catalog.installation,
                engine=engine or resource.PROCESS,
            )
            named = resource.named(run, run_id)
            if named != run:
                queries.set_run_state(connection, run_id, body=resource.encode(named))
            if key is not None:
                queries.remember_key(connection, key, run_id, now)
            row = queries.get_run(connection, run_id)
            if row is None:
                raise LookupError(f"run {run_id} vanished inside its own transaction")
            return row

        with trio.CancelScope(shield=True):  # once there is a row, somebody looks after it
            row = await self._catalog.write(apply)
            self._take_up(row)
        return resource.shown(row, resource.named(run, row.id))


def _created_with(connection: sa.Connection, key: str) -> queries.RunRow | None:
    run_id = queries.run_for_key(connection, key)
    return None if run_id is None else queries.get_run(connection, run_id)


def _after(ttl: timedelta) -> datetime:
    try:
        return clock.now() + ttl
    except OverflowError:
        raise errors.Problem(
            errors.INVALID_INPUT, f"bufferTtl {units.format_timespan(ttl)} is out of the calendar"
        ) from None

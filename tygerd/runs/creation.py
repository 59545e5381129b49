"""Creating runs, contract rest-api.md 6.2: everything is checked before anything is made.

A row is written before anything is started, in one transaction with its tags and its idempotency key.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import sqlalchemy as sa
import trio

from tyger import errors, model, units
from tygerd import clock
from tygerd.buffers import service as buffers_service
from tygerd.catalog import db
from tygerd.catalog import runs as queries
from tygerd.codespecs import service as codespecs_service
from tygerd.engines import base
from tygerd.runs import resource, submit


class Creator:
    """Makes runs. `take_up` is called with the id of each, in the instant in which there is its row."""

    def __init__(
        self,
        catalog: db.Catalog,
        engine: base.Engine,
        buffers: buffers_service.Buffers,
        codespecs: codespecs_service.Codespecs,
        take_up: Callable[[int], None],
    ) -> None:
        self._catalog = catalog
        self._engine = engine
        self._buffers = buffers
        self._codespecs = codespecs
        self._take_up = take_up
        self._turns: dict[str, trio.Lock] = {}

    async def create(self, wanted: model.Run, owner_uid: int, key: str | None = None) -> model.Run:
        """Create a run and start it; the same `key` again gives the run that it made first.

        Cancelled before there is a row, it leaves at worst buffers that nobody knows of.
        """
        codespecs_service.check(wanted.job.codespec, "$.job.codespec")
        if wanted.worker is not None:
            codespecs_service.check(wanted.worker.codespec, "$.worker.codespec")
        submit.check_form(wanted)
        if not key:
            return await self._create(wanted, owner_uid, None)
        async with self._turn(key):
            known = await self._catalog.read(_created_with, key)
            return await self._create(wanted, owner_uid, key) if known is None else resource.shown(known)

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

    async def _create(self, wanted: model.Run, owner_uid: int, key: str | None) -> model.Run:
        traits = self._engine.traits
        submit.check(wanted, traits)
        codespec = submit.job_codespec(await self._codespecs.resolve(wanted.job.codespec), traits)
        await self._engine.check(codespec)
        stored = [buffer for buffer in (wanted.job.buffers or {}).values() if buffer != submit.EPHEMERAL]
        if stored:
            await self._buffers.require_active(stored)
        given, missing = submit.arguments(wanted, codespec)
        submit.check_access(wanted, with_buffers=bool(given or missing))
        made: dict[str, str] = {}
        if missing:
            tags = [{**(wanted.job.tags or {}), "bufferName": name} for name in missing]
            ttl = resource.span(wanted.job.buffer_ttl, "$.job.bufferTtl")
            expires_at = None if ttl is None else _after(ttl)
            new = await self._buffers.create_many(tags, owner_uid, expires_at)
            made = {name: str(buffer.id) for name, buffer in zip(missing, new, strict=True)}
        run = resource.normalized(wanted, codespec, {**submit.started(given), **made})
        return await self._insert(run, wanted, owner_uid, key)

    async def _insert(self, run: model.Run, wanted: model.Run, owner_uid: int, key: str | None) -> model.Run:
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
            self._take_up(row.id)
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

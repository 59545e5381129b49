"""The catalog's database: opening, upgrading, and running queries in worker threads.

`Catalog` is the only way to the database. A query is a plain function of a Connection (see the modules
beside this one); `read` runs several at a time, each on a snapshot; `write` runs one at a time, each in a
transaction that commits when the function returns and rolls back when it raises. Checks that a change
depends on (ETags, states) therefore belong inside the function handed to `write`.

Nothing here decides; nothing here knows buffers or runs.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import os
import secrets
import sqlite3
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa
import sqlalchemy.exc
import sqlalchemy.pool
import trio

from tyger import errors
from tygerd.catalog import schema
from tygerd.osutil import durable

logger = logging.getLogger(__name__)
logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells of its plugins as soon as it is imported

P = ParamSpec("P")
T = TypeVar("T")

READERS = 4  # answers wait for the disk, not for each other; more would only cost memory
BUSY_SECONDS = 10  # another process has the file only while a person looks into it with sqlite3


class Catalog:
    """An open catalog. `installation` names this state directory for ever, over restarts and upgrades.

    `read` and `write` are for trio tasks; neither can be cancelled once its thread has begun, so that a
    caller always learns whether a change was made. `open` and `close` block.
    """

    def __init__(
        self, engine: sa.Engine, installation: str, make_room: Callable[[], bool] = lambda: False
    ) -> None:
        self._reading = engine
        self._writing = engine.execution_options(begin="BEGIN IMMEDIATE")
        self._readers = trio.CapacityLimiter(READERS)
        self._writer = trio.CapacityLimiter(1)
        self._make_room = make_room
        self.installation = installation

    @classmethod
    def open(cls, path: str, *, sync: bool = False, make_room: Callable[[], bool] = lambda: False) -> Catalog:
        """Open the catalog at `path`, making or upgrading it first.

        An upgrade is one transaction: whatever interrupts it, the next `open` begins with it again. Before,
        the catalog is copied to `path.<revision>`, with which the version that made it can be used again.

        With `sync` a write that has returned also survives the loss of power; without, the death of any
        process. `make_room` is called in a worker thread when a write finds the disk full; where it returns
        True, that write is tried once more.

        Raises Problem: CONFIG when it was written by a newer version or cannot be opened, STORAGE_FULL,
        CORRUPT. The caller holds the lock of the state directory: two daemons must not upgrade at once.
        """
        engine = _engine(path, sync=sync)
        try:
            with engine.begin() as connection:
                found = _revision(connection, path)
            if found not in {None, schema.REVISION}:
                _keep_copy(engine, f"{path}.{found}")
            with engine.execution_options(begin="BEGIN IMMEDIATE").begin() as connection:
                _bring_up_to_date(connection, found)
                installation = _installation(connection)
        except sa.exc.DBAPIError as error:
            engine.dispose()
            problem = _problem(error)
            raise errors.Problem(problem.kind, f"{problem} ({path})") from error
        except OSError as error:
            engine.dispose()
            kind = errors.STORAGE_FULL if error.errno == errno.ENOSPC else errors.IO_ERROR
            why = os.strerror(error.errno or 0)
            raise errors.Problem(kind, f"cannot copy the catalog {path} before its upgrade: {why}") from error
        except BaseException:
            engine.dispose()
            raise
        return cls(engine, installation, make_room)

    async def read(
        self, fn: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """`fn(connection, ...)` on a snapshot, in a worker thread. `fn` must not change anything."""

        def call() -> T:
            try:
                with self._reading.begin() as connection:
                    return fn(connection, *args, **kwargs)
            except sa.exc.DBAPIError as error:
                raise _problem(error) from error

        return await trio.to_thread.run_sync(call, limiter=self._readers, thread_name="catalog-read")

    async def write(
        self, fn: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """`fn(connection, ...)` in one transaction, in a worker thread, alone.

        The transaction is over, committed or rolled back, when this returns or raises.
        """

        def attempt() -> T:
            try:
                with self._writing.begin() as connection:
                    return fn(connection, *args, **kwargs)
            except sa.exc.DBAPIError as error:
                raise _problem(error) from error

        def call() -> T:
            try:
                return attempt()
            except errors.Problem as problem:
                if problem.kind is not errors.STORAGE_FULL or not self._make_room():
                    raise
            return attempt()

        return await trio.to_thread.run_sync(call, limiter=self._writer, thread_name="catalog-write")

    def close(self) -> None:
        """Close all connections. No read or write may be under way. The last one folds the WAL away."""
        self._reading.dispose()


def _engine(path: str, *, sync: bool) -> sa.Engine:
    url = sa.URL.create("sqlite", database=path)
    engine = sa.create_engine(
        url,
        poolclass=sa.pool.QueuePool,
        pool_size=READERS + 1,
        max_overflow=0,
        connect_args={"check_same_thread": False, "timeout": BUSY_SECONDS},
    )
    sa.event.listen(engine, "connect", functools.partial(_on_connect, sync=sync))
    sa.event.listen(engine, "begin", _on_begin)
    return engine


def _on_connect(dbapi: sqlite3.Connection, _record: object, *, sync: bool) -> None:
    # Transactions are begun by _on_begin: the driver's own rules begin none before a SELECT or before DDL.
    dbapi.isolation_level = None
    for pragma in (
        "journal_mode=WAL",  # readers never wait for the writer
        f"synchronous={'FULL' if sync else 'NORMAL'}",  # whether each commit waits for the disk
        "foreign_keys=ON",
        "cache_size=-2000",  # KiB a connection: a bound on the daemon's memory
        "case_sensitive_like=ON",  # as everywhere but in SQLite
    ):
        dbapi.execute(f"PRAGMA {pragma}").close()


def _on_begin(connection: sa.Connection) -> None:
    statement = connection.get_execution_options().get("begin", "BEGIN")
    if statement is not None:
        connection.exec_driver_sql(statement)


def _revision(connection: sa.Connection, path: str) -> str | None:
    """The revision of the catalog, None while it is empty. Refuses what this version does not know."""
    tables = set(sa.inspect(connection).get_table_names())
    if not tables:
        return None
    found = None
    if schema.alembic_version.name in tables:
        found = connection.scalar(sa.select(schema.alembic_version.c.version_num))
    if found == schema.REVISION:
        return schema.REVISION
    # Alembic costs 10 MiB and 0.2 s: it is imported only when there is something to upgrade.
    from tygerd.catalog import migrate

    if found is None or found not in migrate.REVISIONS:
        raise errors.Problem(
            errors.CONFIG,
            f"cannot use the catalog {path}: it was made by another version of tygerd"
            f" (its revision is {found}, this version knows up to {schema.REVISION});"
            " start the version that made it, or give --state another directory",
        )
    return str(found)


def _keep_copy(engine: sa.Engine, copy: str) -> None:
    """Copy the catalog, so that there is the whole copy or none of this name."""
    unfinished = f"{copy}.unfinished"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(unfinished)
    with engine.execution_options(begin=None).connect() as connection:  # not possible in a transaction
        connection.exec_driver_sql("VACUUM INTO ?", (unfinished,))
    durable.sync_path(unfinished)
    os.replace(unfinished, copy)
    durable.sync_path(os.path.dirname(copy) or ".")


def _bring_up_to_date(connection: sa.Connection, found: str | None) -> None:
    if found is None:
        schema.metadata.create_all(connection)
        connection.execute(sa.insert(schema.alembic_version).values(version_num=schema.REVISION))
    elif found != schema.REVISION:
        from tygerd.catalog import migrate

        migrate.upgrade(connection, found)
        logger.info("the catalog was upgraded from revision %s to %s", found, schema.REVISION)


def _installation(connection: sa.Connection) -> str:
    query = sa.select(schema.settings.c.value).where(schema.settings.c.key == "installation")
    known = connection.scalar(query)
    if isinstance(known, str):
        return known
    fresh = secrets.token_hex(16)
    connection.execute(sa.insert(schema.settings).values(key="installation", value=fresh))
    return fresh


def _problem(error: sa.exc.DBAPIError) -> errors.Problem:
    """What a failure of the database means, in its own words."""
    text = str(error.orig)
    code = getattr(error.orig, "sqlite_errorcode", None)
    primary = code & 0xFF if isinstance(code, int) else None  # the extended code's low byte is the kind
    if primary == sqlite3.SQLITE_FULL:
        return errors.Problem(errors.STORAGE_FULL, f"cannot write the catalog: {text}")
    if primary in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return errors.Problem(errors.CORRUPT, f"cannot use the catalog: {text}")
    if primary in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}:
        return errors.Problem(errors.CONFIG, f"cannot open the catalog: {text}")
    if primary == sqlite3.SQLITE_IOERR:
        return errors.Problem(errors.IO_ERROR, f"cannot read or write the catalog: {text}")
    if primary in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return errors.Problem(errors.TRY_AGAIN, f"the catalog is in use by another program: {text}")
    raise error

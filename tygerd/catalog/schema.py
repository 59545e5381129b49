"""The tables of the catalog, as the newest revision has them.

Terms: a timestamp is an integer of microseconds since 1970 UTC; `owner` is the installation id of the
daemon that looks after a row and `epoch` counts how often that responsibility was taken (today always by
the one daemon of this state directory); `owner_uid` is the Unix user who asked. Text is compared by bytes.

A change here needs a new module in `migrations/`, listed in `migrate.py`, and a new `REVISION`; a test
proves that a fresh catalog and a migrated one are the same.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

REVISION = "0004"

metadata = sa.MetaData()


def _partial(
    name: str,
    *columns: sa.ColumnElement[Any],
    where: sa.ColumnElement[bool],
    on_sqlite: sa.ColumnElement[bool] | None = None,
) -> None:
    """An index of the rows of which `where` is true, which SQLite is told in other words if there are any.

    PostgreSQL is told when tables are made there: an option of its own would load its dialect, which is a
    tenth of each start of the daemon.
    """
    index = sa.Index(name, *columns, sqlite_where=where if on_sqlite is None else on_sqlite)

    @sa.event.listens_for(index.table, "before_create")
    def tell(_table: sa.Table, connection: sa.Connection, **_: object) -> None:
        if connection.dialect.name == "postgresql":
            index.dialect_kwargs["postgresql_where"] = where


# SQLite numbers rows by itself only for a column declared INTEGER; elsewhere ids are 64 bits wide.
RowId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

buffers = sa.Table(
    "buffers",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("location", sa.Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("is_soft_deleted", sa.Boolean, nullable=False),
    sa.Column("expires_at", sa.BigInteger),
    # False while its directory is being made (nobody has been told the id yet) or removed.
    sa.Column("is_ready", sa.Boolean, nullable=False),
    sa.Column("owner_uid", sa.Integer, nullable=False),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("epoch", sa.Integer, nullable=False),
    # Which store holds it: a storage account's name, or "local".
    sa.Column("account", sa.Text, nullable=False, server_default="local"),
)
_partial(
    "buffers_by_age",
    buffers.c.is_soft_deleted,
    buffers.c.created_at.desc(),
    buffers.c.id.desc(),
    where=buffers.c.is_ready,
    on_sqlite=sa.literal_column("is_ready = 1"),  # as queries have it, or it does not see that they agree
)
_partial("buffers_by_expiry", buffers.c.expires_at, where=buffers.c.expires_at.is_not(None))

buffer_tags = sa.Table(
    "buffer_tags",
    metadata,
    sa.Column("buffer_id", sa.Text, sa.ForeignKey("buffers.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
    # The buffer's own, which never changes: so that what has a tag can be read in the order of a list.
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
sa.Index(
    "buffer_tags_by_age",
    buffer_tags.c.key,
    buffer_tags.c.value,
    buffer_tags.c.created_at.desc(),
    buffer_tags.c.buffer_id.desc(),
)

codespecs = sa.Table(
    "codespecs",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("owner_uid", sa.Integer, nullable=False),
    # JSON without name, version and createdAt.
    sa.Column("body", sa.Text, nullable=False),
)

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("id", RowId, primary_key=True),
    # JSON as it was submitted and resolved; what changes later stands in the columns below and in run_tags.
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("status_reason", sa.Text),
    sa.Column("running_count", sa.Integer),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("started_at", sa.BigInteger),
    sa.Column("finished_at", sa.BigInteger),
    sa.Column("logs_archived_at", sa.BigInteger),
    # True when nothing more will be done for the run: terminal, logs archived, directories gone.
    sa.Column("final", sa.Boolean, nullable=False),
    sa.Column("owner_uid", sa.Integer, nullable=False),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("epoch", sa.Integer, nullable=False),
    # The name of the engine that executes it; of a run of the system's own it says nothing.
    sa.Column("engine", sa.Text, nullable=False, server_default="process"),
    # What the image of its job was, where the engine can tell: `sha256:...`.
    sa.Column("image_digest", sa.Text),
    sqlite_autoincrement=True,  # an id is never given twice, even after its row is gone
)
sa.Index("runs_by_age", runs.c.created_at.desc(), runs.c.id.desc())
sa.Index("runs_by_status", runs.c.status, runs.c.created_at.desc(), runs.c.id.desc())
_partial("runs_unfinished", runs.c.id, where=sa.not_(runs.c.final))

run_tags = sa.Table(
    "run_tags",
    metadata,
    sa.Column("run_id", sa.BigInteger, sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
    # As of a buffer's tags.
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
sa.Index(
    "run_tags_by_age",
    run_tags.c.key,
    run_tags.c.value,
    run_tags.c.created_at.desc(),
    run_tags.c.run_id.desc(),
)

idempotency_keys = sa.Table(
    "idempotency_keys",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("run_id", sa.BigInteger, sa.ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
)

transfers = sa.Table(
    "transfers",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    # No foreign key: a transfer's history outlives its buffer, and a run's.
    sa.Column("buffer", sa.Text, nullable=False),
    sa.Column("run", sa.BigInteger),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("block_size", sa.Integer, nullable=False),
    sa.Column("flush_interval", sa.Float, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("blocks", sa.BigInteger, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("finished_at", sa.BigInteger),
    sa.Column("owner_uid", sa.Integer, nullable=False),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("epoch", sa.Integer, nullable=False),
    # The store that it writes to: its container is then a spool, unless it is "local".
    sa.Column("account", sa.Text, nullable=False, server_default="local"),
    sa.Column("paused", sa.Boolean, nullable=False, server_default=sa.false()),
    # Why shipping gave up until somebody resumes it.
    sa.Column("stalled", sa.Text),
    sa.Column("priority", sa.Text, nullable=False, server_default="live"),
    # Bytes that the store has accepted, as last written here.
    sa.Column("shipped", sa.BigInteger, nullable=False, server_default="0"),
    # Code of the failure in `tyger.errors`, where `reason` has its words.
    sa.Column("code", sa.Text),
)
sa.Index("transfers_by_age", transfers.c.created_at.desc(), transfers.c.id.desc())
_partial("transfers_unfinished", transfers.c.id, where=transfers.c.finished_at.is_(None))

settings = sa.Table(
    "settings",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

# Alembic's own table, in its own layout, so that a fresh catalog can be stamped without importing Alembic.
alembic_version = sa.Table(
    "alembic_version",
    metadata,
    sa.Column("version_num", sa.String(32), primary_key=True),
)


def tagged(column: sa.Column[Any]) -> sa.Table:
    """The table whose rows carry the tags that `column` (`buffer_tags.c.buffer_id`, say) refers to."""
    (key,) = column.foreign_keys
    table = key.column.table
    if not isinstance(table, sa.Table):
        raise TypeError(f"{column} refers to no table")
    return table

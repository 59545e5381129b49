"""Revision 0001: the first tables."""

from __future__ import annotations

import alembic.operations
import sqlalchemy as sa


def upgrade(op: alembic.operations.Operations) -> None:
    """From an empty database."""
    _buffers(op)
    _codespecs(op)
    _runs(op)
    _transfers(op)
    op.create_table(
        "settings",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_table("alembic_version", sa.Column("version_num", sa.String(32), primary_key=True))


def _buffers(op: alembic.operations.Operations) -> None:
    op.create_table(
        "buffers",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("location", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("is_soft_deleted", sa.Boolean, nullable=False),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("is_ready", sa.Boolean, nullable=False),
        sa.Column("owner_uid", sa.Integer, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
    )
    op.create_index(
        "buffers_by_age", "buffers", ["is_soft_deleted", sa.text("created_at DESC"), sa.text("id DESC")]
    )
    op.create_index(
        "buffers_by_expiry",
        "buffers",
        ["expires_at"],
        sqlite_where=sa.text("expires_at IS NOT NULL"),
        postgresql_where=sa.text("expires_at IS NOT NULL"),
    )
    op.create_table(
        "buffer_tags",
        sa.Column("buffer_id", sa.Text, sa.ForeignKey("buffers.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_index("buffer_tags_by_value", "buffer_tags", ["key", "value", "buffer_id"])


def _codespecs(op: alembic.operations.Operations) -> None:
    op.create_table(
        "codespecs",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("owner_uid", sa.Integer, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )


def _runs(op: alembic.operations.Operations) -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("status_reason", sa.Text),
        sa.Column("running_count", sa.Integer),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("started_at", sa.BigInteger),
        sa.Column("finished_at", sa.BigInteger),
        sa.Column("logs_archived_at", sa.BigInteger),
        sa.Column("final", sa.Boolean, nullable=False),
        sa.Column("owner_uid", sa.Integer, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("runs_by_age", "runs", [sa.text("created_at DESC"), sa.text("id DESC")])
    op.create_index("runs_by_status", "runs", ["status", sa.text("created_at DESC"), sa.text("id DESC")])
    op.create_index(
        "runs_unfinished",
        "runs",
        ["id"],
        sqlite_where=sa.text("final = 0"),
        postgresql_where=sa.text("NOT final"),
    )
    op.create_table(
        "run_tags",
        sa.Column("run_id", sa.BigInteger, sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_index("run_tags_by_value", "run_tags", ["key", "value", "run_id"])
    op.create_table(
        "idempotency_keys",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("run_id", sa.BigInteger, sa.ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )


def _transfers(op: alembic.operations.Operations) -> None:
    op.create_table(
        "transfers",
        sa.Column("id", sa.Text, primary_key=True),
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
    )
    op.create_index("transfers_by_age", "transfers", [sa.text("created_at DESC"), sa.text("id DESC")])
    op.create_index(
        "transfers_unfinished",
        "transfers",
        ["id"],
        sqlite_where=sa.text("finished_at IS NULL"),
        postgresql_where=sa.text("finished_at IS NULL"),
    )

"""Revision 0003: a tag knows the age of what carries it, so that its index is in the order of a list."""

from __future__ import annotations

from typing import Any

import alembic.operations
import sqlalchemy as sa


def upgrade(op: alembic.operations.Operations) -> None:
    """From 0002: both tables of tags are made anew, as their rows are kept in another way, too."""
    _retag(op, "buffer_tags", "buffer_id", sa.Text(), "buffers")
    _retag(op, "run_tags", "run_id", sa.BigInteger(), "runs")
    op.drop_index("buffers_by_age", "buffers")
    op.create_index(
        "buffers_by_age",
        "buffers",
        ["is_soft_deleted", sa.text("created_at DESC"), sa.text("id DESC")],
        sqlite_where=sa.text("is_ready = 1"),
        postgresql_where=sa.text("is_ready"),
    )


def _retag(
    op: alembic.operations.Operations, table: str, column: str, kind: sa.types.TypeEngine[Any], owners: str
) -> None:
    op.drop_index(f"{table}_by_value", table)
    op.rename_table(table, f"{table}_0002")
    op.create_table(
        table,
        sa.Column(column, kind, sa.ForeignKey(f"{owners}.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.execute(
        f"INSERT INTO {table} ({column}, key, value, created_at)"  # noqa: S608 - names of ours
        f" SELECT {column}, key, value, created_at FROM {table}_0002 JOIN {owners} ON {owners}.id = {column}"
    )
    op.drop_table(f"{table}_0002")
    op.create_index(
        f"{table}_by_age", table, ["key", "value", sa.text("created_at DESC"), sa.text(f"{column} DESC")]
    )

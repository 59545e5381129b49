"""Revision 0004: a run remembers which engine executes it, and which image its own named."""

from __future__ import annotations

import alembic.operations
import sqlalchemy as sa


def upgrade(op: alembic.operations.Operations) -> None:
    """From 0003. What was there was executed by the process engine, or is the system's own."""
    op.add_column("runs", sa.Column("engine", sa.Text, nullable=False, server_default="process"))
    op.add_column("runs", sa.Column("image_digest", sa.Text))

"""Revision 0002: buffers in storage accounts, and what is known about shipping to them."""

from __future__ import annotations

import alembic.operations
import sqlalchemy as sa


def upgrade(op: alembic.operations.Operations) -> None:
    """From 0001: everything there is was kept locally."""
    op.add_column("buffers", sa.Column("account", sa.Text, nullable=False, server_default="local"))
    for column in (
        sa.Column("account", sa.Text, nullable=False, server_default="local"),
        sa.Column("paused", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("stalled", sa.Text),
        sa.Column("priority", sa.Text, nullable=False, server_default="live"),
        sa.Column("shipped", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("code", sa.Text),
    ):
        op.add_column("transfers", column)

"""Upgrades of an older catalog, step by step, with Alembic's operations. Imported only when needed.

The steps are ordinary modules, named here: a frozen bundle has no directory of scripts to search.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import alembic.migration
import alembic.operations
import sqlalchemy as sa

from tygerd.catalog import schema
from tygerd.catalog.migrations import r0001, r0002, r0003, r0004


class Step(NamedTuple):
    """What leads to `revision` from the one before it in `STEPS` (from an empty database for the first)."""

    revision: str
    upgrade: Callable[[alembic.operations.Operations], None]


STEPS: tuple[Step, ...] = (
    Step("0001", r0001.upgrade),
    Step("0002", r0002.upgrade),
    Step("0003", r0003.upgrade),
    Step("0004", r0004.upgrade),
)
REVISIONS: tuple[str, ...] = tuple(step.revision for step in STEPS)


def upgrade(connection: sa.Connection, found: str | None, steps: tuple[Step, ...] = STEPS) -> None:
    """Bring the catalog from revision `found` (None: an empty database) to the newest.

    In the transaction of `connection`: all of it or nothing.
    """
    operations = alembic.operations.Operations(alembic.migration.MigrationContext.configure(connection))
    known = [step.revision for step in steps]
    following = steps if found is None else steps[known.index(found) + 1 :]
    for step in following:
        step.upgrade(operations)
    connection.execute(sa.delete(schema.alembic_version))
    connection.execute(sa.insert(schema.alembic_version).values(version_num=known[-1]))

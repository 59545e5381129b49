import alembic.migration
import alembic.operations
import sqlalchemy as sa

from tygerd.catalog.migrations import r0001


def test_it_starts_from_nothing():
    engine = sa.create_engine("sqlite://")
    with engine.begin() as connection:
        r0001.upgrade(alembic.operations.Operations(alembic.migration.MigrationContext.configure(connection)))
        names = sa.inspect(connection).get_table_names()
    engine.dispose()
    assert set(names) >= {"buffers", "codespecs", "runs", "transfers", "settings", "alembic_version"}

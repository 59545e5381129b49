import alembic.migration
import alembic.operations
import sqlalchemy as sa

from tygerd.catalog import migrate


def test_older_runs_were_executed_by_the_process_engine(tmp_path):
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'c'}")
    with engine.begin() as connection:
        op = alembic.operations.Operations(alembic.migration.MigrationContext.configure(connection))
        for step in migrate.STEPS[:3]:
            step.upgrade(op)
        execute = connection.exec_driver_sql
        execute("INSERT INTO runs VALUES (3, '{}', 'Failed', NULL, NULL, 6, NULL, NULL, NULL, 1, 7, 'o', 1)")
        migrate.STEPS[3].upgrade(op)
        assert execute("SELECT engine, image_digest FROM runs").all() == [("process", None)]
    engine.dispose()

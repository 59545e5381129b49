import alembic.migration
import alembic.operations
import sqlalchemy as sa

from tygerd.catalog.migrations import r0001, r0002, r0003


def test_tags_learn_the_age_of_what_carries_them(tmp_path):
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'c'}")
    with engine.begin() as connection:
        op = alembic.operations.Operations(alembic.migration.MigrationContext.configure(connection))
        r0001.upgrade(op)
        r0002.upgrade(op)
        execute = connection.exec_driver_sql
        execute("INSERT INTO buffers VALUES ('b', 'local', 5, 0, NULL, 1, 7, 'o', 1, 'local')")
        execute("INSERT INTO buffer_tags VALUES ('b', 'k', 'v'), ('b', 'l', '')")
        execute("INSERT INTO runs VALUES (3, '{}', 'Failed', NULL, NULL, 6, NULL, NULL, NULL, 1, 7, 'o', 1)")
        execute("INSERT INTO run_tags VALUES (3, 'k', 'v')")
        r0003.upgrade(op)
        buffers = execute("SELECT * FROM buffer_tags ORDER BY key").all()
        runs = execute("SELECT * FROM run_tags").all()
        execute("DELETE FROM runs")
    engine.dispose()
    assert buffers == [("b", "k", "v", 5), ("b", "l", "", 5)]
    assert runs == [(3, "k", "v", 6)]

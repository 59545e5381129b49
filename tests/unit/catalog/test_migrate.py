import sqlite3

import pytest
import sqlalchemy as sa

from tygerd.catalog import db, migrate, schema


def tables(path):
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY type, name").fetchall()
    connection.close()
    return [(kind, name, " ".join((sql or "").split())) for kind, name, sql in rows]


@pytest.fixture
def engine(tmp_path):
    made = sa.create_engine(f"sqlite:///{tmp_path / 'catalog'}")
    yield made
    made.dispose()


def revision(connection):
    return connection.scalar(sa.select(schema.alembic_version.c.version_num))


def test_fresh_and_migrated_catalogs_have_one_schema(tmp_path, engine):
    db.Catalog.open(str(tmp_path / "fresh")).close()
    with engine.begin() as connection:
        migrate.upgrade(connection, None)
        assert revision(connection) == schema.REVISION
    assert tables(tmp_path / "fresh") == tables(tmp_path / "catalog")


def test_revisions_are_ordered_and_end_with_the_schema():
    assert list(migrate.REVISIONS) == sorted(set(migrate.REVISIONS))
    assert migrate.REVISIONS[-1] == schema.REVISION


def test_upgrade_runs_only_the_steps_that_follow(engine):
    done = []

    def step(op):
        op.execute("CREATE TABLE more (x)")
        done.append(op)

    steps = (*migrate.STEPS, migrate.Step("9999", step))
    with engine.begin() as connection:
        migrate.upgrade(connection, None)
    with engine.begin() as connection:
        migrate.upgrade(connection, schema.REVISION, steps)
        assert revision(connection) == "9999"
    assert len(done) == 1

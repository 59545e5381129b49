import sqlite3

import pytest
import sqlalchemy as sa

from tygerd.catalog import buffers, db, migrate, schema, transfers


def tables(path):
    """Columns, keys and indexes; not the text of CREATE TABLE, to which ALTER TABLE appends."""
    connection = sqlite3.connect(path)
    found = {}
    rows = connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY type, name").fetchall()
    for kind, name, sql in rows:
        if kind == "table":
            found[name] = [
                connection.execute(f"PRAGMA {what}({name})").fetchall()
                for what in ("table_xinfo", "foreign_key_list")
            ]
            found[name].append("AUTOINCREMENT" in sql)
        else:
            found[name] = " ".join((sql or "").split())
    connection.close()
    return found


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


def test_what_was_there_before_there_were_accounts_is_local(engine):
    with engine.begin() as connection:
        migrate.upgrade(connection, None, migrate.STEPS[:1])
        connection.exec_driver_sql("INSERT INTO buffers VALUES ('b', 'local', 1, 0, NULL, 1, 7, 'o', 1)")
        connection.exec_driver_sql("INSERT INTO buffer_tags VALUES ('b', 'k', 'v')")
        connection.exec_driver_sql(
            "INSERT INTO transfers VALUES ('t', 'b', NULL, 'running', NULL, 4, 1.0, 0, 0, 1, NULL, 7, 'o', 1)"
        )
        migrate.upgrade(connection, "0001")
        assert buffers.get(connection, "b").account == "local"
        assert buffers.get(connection, "b").tags == {"k": "v"}
        found = transfers.get(connection, "t")
    assert (found.account, found.paused, found.stalled, found.priority) == ("local", False, None, "live")
    assert (found.shipped, found.code) == (0, None)


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

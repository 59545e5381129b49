import sqlite3
import threading

import pytest
import sqlalchemy as sa
import trio

from tests.support import oldstate
from tyger import errors
from tygerd.catalog import db, schema


def test_newer_schema_is_refused(tmp_path):
    path = str(tmp_path / "c")
    db.Catalog.open(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(errors.Problem, match=rf"9999.*up to {schema.REVISION}") as caught:
        db.Catalog.open(path)
    assert caught.value.kind is errors.CONFIG


def test_a_file_that_is_no_catalog_is_refused(tmp_path):
    path = tmp_path / "c"
    path.write_bytes(b"these are not the rows you are looking for" * 100)
    with pytest.raises(errors.Problem, match="not a database") as caught:
        db.Catalog.open(str(path))
    assert caught.value.kind is errors.CORRUPT


def test_another_programs_database_is_refused(tmp_path):
    path = str(tmp_path / "c")
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(errors.Problem, match="made by another version"):
        db.Catalog.open(path)


def test_a_missing_directory_is_refused(tmp_path):
    with pytest.raises(errors.Problem, match="cannot open the catalog") as caught:
        db.Catalog.open(str(tmp_path / "no" / "c"))
    assert caught.value.kind is errors.CONFIG


def test_the_installation_id_stays(tmp_path):
    path = str(tmp_path / "c")
    first = db.Catalog.open(path)
    first.close()
    second = db.Catalog.open(path)
    second.close()
    assert first.installation == second.installation
    assert len(first.installation) == 32


@pytest.mark.parametrize(("sync", "level"), [(False, 1), (True, 2)])
async def test_what_a_commit_waits_for(tmp_path, sync, level):
    opened = db.Catalog.open(str(tmp_path / "c"), sync=sync)

    def pragmas(connection):
        names = ("synchronous", "journal_mode", "foreign_keys")
        return [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]

    assert await opened.read(pragmas) == [level, "wal", 1]
    opened.close()


def put(connection, key, value):
    connection.execute(sa.insert(schema.settings).values(key=key, value=value))


def get(connection, key):
    return connection.scalar(sa.select(schema.settings.c.value).where(schema.settings.c.key == key))


async def test_a_write_that_raises_changes_nothing(catalog):
    def half(connection):
        put(connection, "k", "v")
        raise LookupError

    with pytest.raises(LookupError):
        await catalog.write(half)
    assert await catalog.read(get, "k") is None


async def test_readers_see_a_snapshot_while_a_writer_writes(catalog):
    await catalog.write(put, "k", "old")
    wrote, read = trio.Event(), trio.Event()

    def slow(connection):
        connection.execute(sa.update(schema.settings).where(schema.settings.c.key == "k").values(value="new"))
        trio.from_thread.run_sync(wrote.set)
        trio.from_thread.run(read.wait)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(catalog.write, slow)
        await wrote.wait()
        assert await catalog.read(get, "k") == "old"
        read.set()
    assert await catalog.read(get, "k") == "new"


async def test_writers_take_turns_so_no_update_is_lost(catalog):
    await catalog.write(put, "n", "0")

    def increment(connection):
        value = str(int(get(connection, "n")) + 1)
        connection.execute(sa.update(schema.settings).where(schema.settings.c.key == "n").values(value=value))

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(catalog.write, increment)
    assert await catalog.read(get, "n") == "20"


async def test_a_cancelled_write_still_commits_and_is_waited_for(catalog):
    begun = trio.Event()

    def fn(connection):
        trio.from_thread.run_sync(begun.set)
        put(connection, "k", "v")

    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(catalog.write, fn)
            await begun.wait()
            scope.cancel()
    assert await catalog.read(get, "k") == "v"


async def test_a_full_disk_is_said_so(tmp_path):
    path = str(tmp_path / "c")
    catalog = db.Catalog.open(path)

    def fill(connection):
        connection.exec_driver_sql("PRAGMA max_page_count=1")
        put(connection, "k", "v" * 1_000_000)

    with pytest.raises(errors.Problem) as caught:
        await catalog.write(fill)
    catalog.close()
    assert caught.value.kind is errors.STORAGE_FULL


async def test_a_write_is_tried_again_when_room_was_made(tmp_path):
    pages = ["PRAGMA max_page_count=1", "PRAGMA max_page_count=100000"]
    asked = []

    def make_room():
        asked.append(threading.current_thread() is threading.main_thread())
        return True

    def fill(connection):
        connection.exec_driver_sql(pages.pop(0))
        put(connection, "k", "v" * 1_000_000)

    catalog = db.Catalog.open(str(tmp_path / "c"), make_room=make_room)
    await catalog.write(fill)
    assert len(await catalog.read(get, "k")) == 1_000_000
    assert asked == [False]
    catalog.close()


def test_what_was_there_is_copied_before_an_upgrade(tmp_path):
    path = tmp_path / "c"
    oldstate.catalog("0001", path)
    (tmp_path / "c.0001.unfinished").write_text("left by a crash")
    db.Catalog.open(str(path)).close()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["c", "c.0001"]
    with sqlite3.connect(tmp_path / "c.0001") as copy:
        assert copy.execute("SELECT version_num FROM alembic_version").fetchall() == [("0001",)]
        assert copy.execute("SELECT count(*) FROM runs").fetchall() == [(3,)]
    copy.close()


def test_without_a_copy_there_is_no_upgrade(tmp_path):
    path = tmp_path / "c"
    oldstate.catalog("0001", path)
    (tmp_path / "c.0001.unfinished").mkdir()
    with pytest.raises(
        errors.Problem, match=r"cannot copy the catalog .*c before its upgrade: Is a dir"
    ) as caught:
        db.Catalog.open(str(path))
    assert caught.value.kind is errors.IO_ERROR
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("0001",)]
    connection.close()

import pytest

from tygerd.catalog import accounts, buffers, db


@pytest.fixture
def catalog(tmp_path):
    made = db.Catalog.open(str(tmp_path / "catalog.sqlite3"))
    yield made
    made.close()


def row(name, created_at, account="first", tags=(), *, is_soft_deleted=False):
    return buffers.BufferRow(
        id=name, location="here", created_at=created_at, is_soft_deleted=is_soft_deleted, expires_at=None,
        owner_uid=0, owner="", epoch=1, tags=dict(tags), account=account,
    )  # fmt: skip


async def test_oldest_first_and_only_of_the_account(catalog):
    rows = [
        row("c", 3, tags={"a": "b"}),
        row("a", 1, tags={"a": "b", "c": "d"}),
        row("b", 3, is_soft_deleted=True, tags={"a": "b"}),
        row("d", 2, "second", tags={"a": "b"}),
        row("e", 4),
    ]

    def fill(connection):
        for one in rows:
            buffers.insert(connection, one, ready=True)
        buffers.insert(connection, row("half-made", 1, tags={"a": "b"}))

    await catalog.write(fill)
    found = await catalog.read(accounts.oldest, "first", tags={"a": "b"}, limit=2)
    assert [one.id for one in found] == ["a", "b"]
    rest = await catalog.read(accounts.oldest, "first", tags={"a": "b"}, limit=2, after=(3, "b"))
    assert rest == [rows[0]]


async def test_what_is_known_is_left_alone(catalog):
    await catalog.write(accounts.insert_unknown, [row("a", 1, tags={"mine": "x"})])
    new = await catalog.write(accounts.insert_unknown, [row("a", 5), row("b", 5)])
    assert new == ["b"]
    assert (await catalog.read(buffers.get, "a")).tags == {"mine": "x"}

import dataclasses

import pytest
import sqlalchemy as sa

from tygerd.catalog import buffers

ROW = buffers.BufferRow(
    id="a",
    location="local",
    created_at=1,
    is_soft_deleted=False,
    expires_at=None,
    owner_uid=7,
    owner="o",
    epoch=1,
    tags={"k": "v"},
)
ANY = buffers.Filter()


async def add(catalog, *, ready=True, **changes):
    row = dataclasses.replace(ROW, **changes)
    await catalog.write(buffers.insert, row)
    if ready:
        await catalog.write(buffers.set_ready, [row.id])
    return row


async def test_a_row_shows_when_it_is_ready(catalog):
    row = await add(catalog, ready=False)
    assert await catalog.read(buffers.get, "a") is None
    assert await catalog.read(buffers.unready) == [("a", "local")]
    assert await catalog.read(buffers.page, limit=9, soft_deleted=False, chosen=ANY) == []
    assert await catalog.read(buffers.count, soft_deleted=None, chosen=ANY, now=0) == 0
    assert await catalog.read(buffers.usable, ["a"], 0) == set()
    await catalog.write(buffers.set_ready, ["a"])
    assert await catalog.read(buffers.get, "a") == row
    assert await catalog.read(buffers.unready) == []
    await catalog.write(buffers.forget, ["a"])
    assert await catalog.read(buffers.get, "a") is None


async def test_what_has_expired_is_claimed_once(catalog):
    await add(catalog, id="late", is_soft_deleted=True, expires_at=9)
    await add(catalog, id="early", is_soft_deleted=True, expires_at=8)
    await add(catalog, id="future", is_soft_deleted=True, expires_at=11)
    await add(catalog, id="active", expires_at=7)
    assert await catalog.read(buffers.next_expiry) == 7
    claimed = await catalog.write(buffers.claim_purgeable, now=10, limit=1)
    claimed += await catalog.write(buffers.claim_purgeable, now=10, limit=9)
    assert sorted(claimed) == [("early", "local"), ("late", "local")]
    assert await catalog.read(buffers.get, "late") is None
    assert sorted(await catalog.read(buffers.unready)) == sorted(claimed)
    assert await catalog.write(buffers.soft_delete_expired, now=10, expires_at=20) == 1
    moved = await catalog.read(buffers.get, "active")
    assert (moved.is_soft_deleted, moved.expires_at) == (True, 20)
    assert await catalog.read(buffers.next_expiry) == 11


@pytest.mark.parametrize(
    ("query", "arguments"),
    [
        (buffers.page, {"limit": 21, "soft_deleted": False, "chosen": ANY}),
        (buffers.page, {"limit": 21, "soft_deleted": False, "chosen": ANY, "after": (5, "x")}),
        (buffers.page, {"limit": 21, "soft_deleted": True, "chosen": buffers.Filter({"a": "b"}, {"c": "d"})}),
        (buffers.next_expiry, {}),
        (buffers.claim_purgeable, {"now": 5, "limit": 9}),
        (buffers.soft_delete_expired, {"now": 5, "expires_at": 9}),
    ],
)
async def test_no_query_scans_or_sorts_the_whole_table(catalog, query, arguments):
    await add(catalog)

    def plan(connection):
        statements = []

        def note(_connection, _cursor, statement, parameters, _context, _many):
            statements.append((statement, parameters))

        sa.event.listen(connection, "before_cursor_execute", note)
        query(connection, **arguments)
        sa.event.remove(connection, "before_cursor_execute", note)
        return [
            row[-1]
            for statement, parameters in statements
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]

    steps = await catalog.write(plan)
    assert steps
    assert not [step for step in steps if step == "SCAN buffers" or "TEMP B-TREE" in step]


async def test_the_account_of_a_buffer(catalog):
    await add(catalog, account="first", is_soft_deleted=True, expires_at=1)
    assert await catalog.read(buffers.account, "a") == "first"
    assert (await catalog.read(buffers.get, "a")).account == "first"
    assert await catalog.read(buffers.account, "b") is None
    assert await catalog.write(buffers.claim_purgeable, now=2, limit=9) == [("a", "first")]
    assert await catalog.read(buffers.account, "a") is None

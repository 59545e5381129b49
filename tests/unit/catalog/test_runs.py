import pytest

from tygerd.catalog import runs


async def add(catalog, now=1, tags=None, status="Pending", body="{}"):
    return await catalog.write(runs.insert_run, body, tags or {}, 7, now, owner="o", status=status)


async def test_insert_and_get(catalog):
    run_id = await add(catalog, 5, {"b": "2", "a": "1"}, body='{"job":1}')
    row = await catalog.read(runs.get_run, run_id)
    assert row == runs.RunRow(
        run_id,
        '{"job":1}',
        "Pending",
        None,
        None,
        5,
        None,
        None,
        None,
        False,
        7,
        "o",
        1,
        "process",
        None,
        {"a": "1", "b": "2"},
    )
    assert list(row.tags) == ["a", "b"]
    assert await catalog.read(runs.get_run, run_id + 1) is None


async def test_ids_count_from_one_and_are_never_reused(catalog):
    assert [await add(catalog), await add(catalog)] == [1, 2]
    await catalog.write(lambda connection: connection.exec_driver_sql("DELETE FROM runs"))
    assert await add(catalog) == 3


async def test_state(catalog):
    run_id = await add(catalog)
    assert await catalog.write(runs.set_run_state, run_id, status="Running", started_at=9, running_count=1)
    row = await catalog.read(runs.get_run, run_id)
    assert (row.status, row.started_at, row.running_count, row.final) == ("Running", 9, 1, False)
    assert await catalog.write(runs.set_run_state, run_id, final=True, logs_archived_at=10)
    row = await catalog.read(runs.get_run, run_id)
    assert (row.status, row.final, row.logs_archived_at) == ("Running", True, 10)
    assert not await catalog.write(runs.set_run_state, 99, status="Running")


async def test_unfinished(catalog):
    first, second, third = [await add(catalog) for _ in range(3)]
    await catalog.write(runs.set_run_state, second, final=True)
    assert [row.id for row in await catalog.read(runs.unfinished_runs)] == [first, third]


async def test_pages_newest_first_with_ties(catalog):
    ids = [await add(catalog, now) for now in (1, 2, 2, 2, 3)]
    seen, after = [], None
    while page := await catalog.read(runs.list_runs, limit=2, after=after):
        seen += [row.id for row in page]
        after = (page[-1].created_at, page[-1].id)
    assert seen == ids[::-1]


@pytest.mark.parametrize(
    ("criteria", "found"),
    [
        ({}, [3, 2, 1]),
        ({"since": 1}, [3, 2]),
        ({"statuses": ["Running", "Failed"]}, [3, 2]),
        ({"tags": {"a": "1"}}, [2, 1]),
        ({"tags": {"a": "1", "b": "2"}}, [2]),
        ({"tags": {"a": "A"}}, []),
        ({"tags": {"unknown": ""}}, []),
        ({"limit": 0}, []),
    ],
)
async def test_filters(catalog, criteria, found):
    await add(catalog, 1, {"a": "1"})
    await add(catalog, 2, {"a": "1", "b": "2"}, "Running")
    await add(catalog, 3, {"A": "1"}, "Failed")
    rows = await catalog.read(runs.list_runs, **{"limit": 10, **criteria})
    assert [row.id for row in rows] == found


async def test_counts(catalog):
    for now, status in enumerate(("Running", "Running", "Failed")):
        await add(catalog, now, {"n": str(now)}, status)
    assert await catalog.read(runs.count_runs) == {"Running": 2, "Failed": 1}
    assert await catalog.read(runs.count_runs, since=0) == {"Running": 1, "Failed": 1}
    assert await catalog.read(runs.count_runs, tags={"n": "2"}) == {"Failed": 1}
    assert await catalog.read(runs.count_runs, since=9) == {}


async def test_tags_are_replaced(catalog):
    run_id = await add(catalog, tags={"a": "1", "b": "2"})
    await catalog.write(runs.set_tags, run_id, {"b": "3"})
    assert (await catalog.read(runs.get_run, run_id)).tags == {"b": "3"}
    await catalog.write(runs.set_tags, run_id, {})
    assert (await catalog.read(runs.get_run, run_id)).tags == {}


async def test_idempotency_keys(catalog):
    run_id = await add(catalog)
    assert await catalog.read(runs.run_for_key, "k") is None
    await catalog.write(runs.remember_key, "k", run_id, 1)
    assert await catalog.read(runs.run_for_key, "k") == run_id

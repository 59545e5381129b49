import random

import pytest
import sqlalchemy as sa

from tygerd.catalog import newest, runs, schema

TAGS = {"a": "12", "b": "123", "c": "1", "rare": "x"}
STATUSES = ("Running", "Succeeded", "Failed")


@pytest.fixture
async def rows(catalog):
    """Two hundred runs with tags and statuses of all kinds, several of one age, newest first."""
    chance = random.Random(5)

    def fill(connection):
        for number in range(200):
            tags = {key: chance.choice(values) for key, values in TAGS.items() if chance.random() < 0.6}
            if number % 50:
                tags.pop("rare", None)
            status = chance.choice(STATUSES)
            runs.insert_run(connection, "{}", tags, 7, number // 3, owner="o", status=status)
        return runs.list_runs(connection, limit=1000)

    return await catalog.write(fill)


def plain(rows, choice_statuses, tags, exclude, after, since, limit):
    """What a list is, in the plainest words."""
    found = [
        row
        for row in rows
        if (not choice_statuses or row.status in choice_statuses)
        and tags.items() <= row.tags.items()
        and not exclude.items() & row.tags.items()
        and (after is None or (row.created_at, row.id) < after)
        and (since is None or row.created_at > since)
    ]
    return [row.id for row in found[:limit]]


def choose(statuses, after=None, since=None):
    values = {f"s{number}": status for number, status in enumerate(statuses)}
    return newest.Choice([f"status = :{name}" for name in values], values, after, since)


@pytest.mark.parametrize("few", [0, 20, 1000])
async def test_every_way_finds_the_same(catalog, rows, few):
    chance = random.Random(few)

    def some():
        return {key: chance.choice(values) for key, values in TAGS.items() if chance.random() < 0.3}

    def compare(connection):
        for _ in range(150):
            statuses = chance.sample(STATUSES, chance.randrange(3))
            tags, exclude = some(), some()
            after = (chance.randrange(70), chance.randrange(250)) if chance.random() < 0.5 else None
            since = chance.randrange(70) if chance.random() < 0.3 else None
            limit = chance.choice([0, 1, 7, 1000])
            found = newest.ids(
                connection,
                schema.run_tags.c.run_id,
                choose(statuses, after, since),
                tags=tags,
                exclude=exclude,
                limit=limit,
                few=few,
            )
            assert found == plain(rows, statuses, tags, exclude, after, since, limit)

    await catalog.read(compare)


@pytest.mark.parametrize("few", [0, 1000])
async def test_more_filters_than_are_merged(catalog, rows, few):
    many = {f"no{number}": "x" for number in range(900)}

    def ask(connection, tags, exclude):
        return newest.ids(
            connection,
            schema.run_tags.c.run_id,
            choose(["Failed"]),
            tags=tags,
            exclude=exclude,
            limit=5,
            few=few,
        )

    assert await catalog.read(ask, {"a": "1", **many}, {}) == []
    assert await catalog.read(ask, {"a": "1"}, {"b": "2", **many}) == plain(
        rows, ["Failed"], {"a": "1"}, {"b": "2"}, None, None, 5
    )


def plan(connection, query, *arguments, **named):
    """What SQLite does for all statements of a query."""
    statements = []

    def note(_connection, _cursor, statement, parameters, _context, _many):
        statements.append((statement, parameters))

    sa.event.listen(connection, "before_cursor_execute", note)
    query(connection, *arguments, **named)
    sa.event.remove(connection, "before_cursor_execute", note)
    return [
        row[-1]
        for statement, parameters in statements
        for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
    ]


@pytest.mark.parametrize("few", [0, 1000])
@pytest.mark.parametrize("statuses", [[], ["Failed"], ["Failed", "Running"]])
@pytest.mark.parametrize("after", [None, (30, 9)])
async def test_nothing_is_sorted_and_no_index_is_left_out(catalog, rows, few, statuses, after):
    steps = await catalog.read(
        plan,
        newest.ids,
        schema.run_tags.c.run_id,
        choose(statuses, after, 3),
        tags={"a": "1", "c": "1"},
        exclude={"b": "1"},
        limit=9,
        few=few,
    )
    assert not [step for step in steps if "TEMP B-TREE" in step or step == "SCAN runs"]
    searched = [step for step in steps if step.startswith("SEARCH")]
    assert all("INDEX" in step or "PRIMARY KEY" in step for step in searched)
    ranges = [step for step in searched if "created_at" in step]
    assert len(ranges) == (1 if few else 3 + max(1, len(statuses)))

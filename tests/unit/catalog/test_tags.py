import pytest
import sqlalchemy as sa

from tygerd.catalog import runs, schema, tags

RUN = schema.run_tags.c.run_id


async def add(catalog, given):
    return await catalog.write(runs.insert_run, "{}", given, 0, 1, owner="o")


async def test_tags_of_several_rows_in_key_order(catalog):
    first, second, third = await add(catalog, {"b": "2", "B": "1", "a": ""}), await add(catalog, {}), 99
    found = await catalog.read(tags.of, RUN, [second, first, third])
    assert found == {second: {}, first: {"B": "1", "a": "", "b": "2"}, third: {}}
    assert list(found[first]) == ["B", "a", "b"]
    assert await catalog.read(tags.of, RUN, []) == {}


async def test_tags_go_with_their_row(catalog):
    run_id = await add(catalog, {"a": "1"})
    await catalog.write(lambda connection: connection.exec_driver_sql("DELETE FROM runs"))
    assert await catalog.read(tags.of, RUN, [run_id]) == {run_id: {}}


@pytest.mark.parametrize("more", [0, 5, 995])
async def test_filters(catalog, more):
    """All of some tags, none of others; also more than SQLite takes conditions."""
    kept = {f"k{number}": "x" for number in range(more)}
    ids = [await add(catalog, {**kept, "a": value}) for value in "123"]

    def chosen(connection, wanted, unwanted):
        conditions = tags.filters(schema.runs.c.id, RUN, tags=wanted, exclude=unwanted)
        return sorted(connection.scalars(sa.select(schema.runs.c.id).where(*conditions)))

    unwanted = {f"n{number}": "x" for number in range(more)}
    assert await catalog.read(chosen, {**kept, "a": "2"}, {}) == [ids[1]]
    assert await catalog.read(chosen, kept, {**unwanted, "a": "2"}) == [ids[0], ids[2]]
    assert await catalog.read(chosen, {**kept, "k1": "y"}, {}) == []
    assert await catalog.read(chosen, {"a": "3"}, {**unwanted, "k0": "x"}) == ([] if more else [ids[2]])

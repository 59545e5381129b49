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

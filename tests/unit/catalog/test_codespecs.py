from tygerd.catalog import codespecs


async def add(catalog, name, version):
    row = codespecs.CodespecRow(name, version, 1, 7, '{"n":1}')
    await catalog.write(codespecs.insert, row)
    return row


async def test_versions(catalog):
    rows = [await add(catalog, "a", version) for version in (1, 2, 10)]
    assert await catalog.read(codespecs.latest, "a") == rows[2]
    assert await catalog.read(codespecs.get, "a", 2) == rows[1]
    assert await catalog.read(codespecs.get, "a", 3) is None
    assert await catalog.read(codespecs.latest, "b") is None


async def test_pages_are_in_byte_order_and_show_the_newest(catalog):
    for name, version in (("b", 1), ("a", 1), ("a", 2), ("a_b", 1), ("a-b", 1)):
        await add(catalog, name, version)
    rows = await catalog.read(codespecs.page, limit=9)
    assert [(row.name, row.version) for row in rows] == [("a", 2), ("a-b", 1), ("a_b", 1), ("b", 1)]
    rows = await catalog.read(codespecs.page, limit=1, after="a-b")
    assert [row.name for row in rows] == ["a_b"]
    rows = await catalog.read(codespecs.page, limit=9, prefix="a_")
    assert [row.name for row in rows] == ["a-b", "a_b"]
    assert await catalog.read(codespecs.page, limit=9, prefix="A") == []

import pytest

from tests.unit.copying.conftest import fill
from tyger import errors
from tygerd.buffers import ids
from tygerd.catalog import buffers
from tygerd.copying import importing, marks, orders
from tygerd.stores import retrying


@pytest.fixture
def importer(shop):
    def make(announced=None, **options):
        return importing.Importer(
            shop.catalog,
            shop.stores,
            shop.log,
            retrying.Policy(deadline=60),
            announce=lambda kind, name: announced is not None and announced.append((kind, name)),
            **options,
        )

    return make


async def test_what_was_exported_and_is_unknown(shop, importer, target_server):
    whole, known, unfinished = ids.new(), ids.new(), ids.new()
    hashed = "a" * 52
    for name in (whole, known, unfinished, hashed, "logs", "run-1"):
        fill(target_server, name, [b"x"])
        shop.target.metadata[name] = marks.labels({"of": name})
    shop.target.metadata[unfinished] = {}
    await shop.add(known, {"mine": "yes"})
    announced = []
    await importer(announced).run(orders.Import("second", 7))

    def look(connection):
        return {name: buffers.get(connection, name) for name in target_server.containers}

    found = await shop.catalog.read(look)
    assert {name for name, row in found.items() if row} == {whole, known, hashed}
    row = found[whole]
    assert (row.tags, row.account, row.location, row.owner_uid) == ({"of": whole}, "second", "there", 7)
    assert (row.is_soft_deleted, row.expires_at) == (False, None)
    assert found[known].tags == {"mine": "yes"}
    assert sorted(announced) == sorted([("buffer", whole), ("buffer", hashed)])
    batches = [line for line in shop.lines if line["message"] == "Inserted batch"]
    assert len(batches) == 3  # the test's account lists two at a time
    assert sum(line["newBuffers"] for line in batches) == batches[-1]["totalCount"] == 2
    assert (shop.lines[-1]["message"], shop.lines[-1]["totalCount"]) == ("Import complete", 2)


async def test_the_catalog_is_held_for_few_at_a_time(shop, importer, target_server):
    made = [ids.new() for _ in range(4)]
    for name in made:
        fill(target_server, name, [b"x"])
        shop.target.metadata[name] = marks.labels({})
    announced = []
    await importer(announced, at_once=1).run(orders.Import("second"))
    assert sorted(announced) == sorted(("buffer", name) for name in made)
    batches = [line["newBuffers"] for line in shop.lines if line["message"] == "Inserted batch"]
    assert batches == [2, 2]
    assert shop.lines[-1]["totalCount"] == 4


async def test_an_empty_account(shop, importer):
    await importer().run(orders.Import("second"))
    assert shop.lines[-1]["totalCount"] == 0


async def test_from_the_embedded_store_there_is_no_import(importer):
    with pytest.raises(errors.Problem, match="'local' is not a storage account"):
        await importer().run(orders.Import("local"))

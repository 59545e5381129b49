import pytest

from tests.support import blobserver
from tests.unit.copying.conftest import bare, fill
from tyger import errors
from tygerd.copying import export, marks, orders
from tygerd.stores import retrying


@pytest.fixture
def exporter(shop):
    return lambda **options: export.Exporter(
        shop.catalog, shop.stores, shop.remotes, shop.log, retrying.Policy(deadline=60), **options
    )


def exports(**more):
    return orders.Export("first", "second", **more)


async def test_what_has_the_tags_is_copied(shop, exporter, source_server, target_server):
    for number, series in enumerate("aab"):
        fill(source_server, f"b{number}", [bytes([number]) * 100])
        await shop.add(f"b{number}", {"series": series, "n": str(number)}, created_at=number)
    await shop.add("elsewhere", {"series": "a"}, account="second")
    await exporter().run(exports(filters={"series": "a"}))
    assert sorted(target_server.containers) == ["b0", "b1"]
    for name in ("b0", "b1"):
        assert bare(target_server.containers[name]) == bare(source_server.containers[name])
    assert shop.target.metadata["b1"] == marks.labels({"series": "a", "n": "1"})
    assert (shop.lines[-1]["message"], shop.lines[-1]["exported"]) == ("Export complete", 2)


async def test_more_than_a_page(shop, exporter, source_server, target_server):
    for number in range(10):
        fill(source_server, f"b{number}", [b"x"])
        await shop.add(f"b{number}", created_at=number // 4)
    await exporter(page=3).run(exports())
    assert len(target_server.containers) == 10


async def test_what_is_finished_is_skipped_and_what_is_not_is_finished(
    shop, exporter, source_server, target_server
):
    for name in ("done", "begun"):
        fill(source_server, name, [b"one", b"two"])
        await shop.add(name)
    target_server.containers["done"] = {}
    shop.target.metadata["done"] = marks.labels({})
    fill(target_server, "begun", [b"one"], end=None)
    await exporter().run(exports())
    assert target_server.containers["done"] == {}
    assert bare(target_server.containers["begun"]) == bare(source_server.containers["begun"])
    assert (shop.lines[-1]["exported"], shop.lines[-1]["skipped"]) == (1, 1)


async def test_hashed_ids(shop, exporter, source_server, target_server):
    fill(source_server, "b", [b"x"])
    await shop.add("b")
    await exporter().run(exports(hash_ids=True))
    assert list(target_server.containers) == ["hyr6qfqahfmuum4jj5swjynrgsf326qardkcyswlopxk5vm4acoq"]
    assert export.hashed("b") in target_server.containers


async def test_one_that_cannot_be_copied_does_not_hold_up_the_others(
    shop, exporter, source_server, target_server
):
    for name in ("bad", "good", "gone", "open"):
        fill(source_server, name, [b"x"], end=b"?" if name == "bad" else None if name == "open" else b"")
        await shop.add(name)
    fill(source_server, "good", [b"x"])
    del source_server.containers["gone"]
    with pytest.raises(errors.Problem, match="1 of 4 buffers could not be exported; the run's log says why"):
        await exporter().run(exports())
    last = shop.lines[-1]
    assert [last[kind] for kind in ("exported", "failed", "missing", "unfinished")] == [1, 1, 1, 1]
    said = {line["buffer"]: (line["level"], line["message"]) for line in shop.lines if "buffer" in line}
    assert said == {
        "bad": ("error", "Failed to export buffer"),
        "good": ("info", "Exported buffer"),
        "gone": ("warn", "Buffer is not there any more"),
        "open": ("warn", "Buffer skipped"),
    }
    # No containers are left behind for what there was nothing of.
    assert set(target_server.containers) <= {"good", "bad"}


async def test_a_copy_that_fails_is_not_called_exported(shop, exporter, source_server, target_server):
    fill(source_server, "b", [b"x"])
    await shop.add("b")
    target_server.fault("PUT", "00/000", blobserver.Refusal(403, "AuthorizationPermissionMismatch"))
    with pytest.raises(errors.Problem):
        await exporter().run(exports())
    assert "b" not in shop.target.metadata


async def test_an_account_that_was_taken_away(exporter):
    with pytest.raises(errors.Problem, match="not in the configuration any more"):
        await exporter().run(orders.Export("first", "third"))


async def test_to_the_embedded_store_there_is_no_export(exporter):
    with pytest.raises(errors.Problem, match="'local' is not a storage account"):
        await exporter().run(orders.Export("first", "local"))

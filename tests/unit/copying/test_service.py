import trio

from tests.unit.copying.conftest import fill
from tygerd.buffers import ids
from tygerd.copying import orders, service


async def test_both_ways(shop, source_server, target_server):
    copying = service.Copying(shop.catalog, shop.stores, shop.remotes, deadline=60)
    buffer = ids.new()
    fill(source_server, buffer, [b"x"])
    await shop.add(buffer)
    await copying.perform(orders.Export("first", "second"), shop.log)
    assert ".bufferend" in target_server.containers[buffer]
    await copying.perform(orders.Import("second"), shop.log)
    assert shop.lines[-1]["totalCount"] == 0  # it is known already


async def test_few_exports_at_once(shop, source_server, target_server):
    """Each has many connections to this daemon itself, and a user must be left some."""
    copying = service.Copying(shop.catalog, shop.stores, shop.remotes, deadline=60)
    fill(source_server, "b", [b"x"])
    await shop.add("b")
    async with trio.open_nursery() as nursery:
        for _ in range(service.EXPORTS + 1):
            nursery.start_soon(copying.perform, orders.Export("first", "second"), shop.log)
    said = [line["message"] for line in shop.lines]
    assert said.count("Waiting for other exports to end") == 1
    assert said.count("Export complete") == service.EXPORTS + 1
    assert (
        said.index("Export complete")
        < [at for at, message in enumerate(said) if message == "Starting export"][-1]
    )

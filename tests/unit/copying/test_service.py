from tests.unit.copying.conftest import fill
from tygerd.buffers import ids
from tygerd.copying import orders, service


async def test_both_ways(shop, source_server, target_server):
    copying = service.Copying(shop.catalog, shop.stores, shop.remotes, deadline=5)
    buffer = ids.new()
    fill(source_server, buffer, [b"x"])
    await shop.add(buffer)
    await copying.perform(orders.Export("first", "second"), shop.log)
    assert ".bufferend" in target_server.containers[buffer]
    await copying.perform(orders.Import("second"), shop.log)
    assert shop.lines[-1]["totalCount"] == 0  # it is known already

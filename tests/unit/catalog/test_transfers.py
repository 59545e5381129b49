import dataclasses

from tygerd.catalog import transfers

ROW = transfers.TransferRow(
    id="t1",
    buffer="b",
    run=None,
    state="running",
    reason=None,
    block_size=4 << 20,
    flush_interval=0.005,
    bytes=0,
    blocks=0,
    created_at=1,
    finished_at=None,
    owner_uid=1000,
    owner="o",
    epoch=1,
)


async def test_a_transfer_is_kept_and_changed(catalog):
    await catalog.write(transfers.insert, ROW)
    assert await catalog.read(transfers.get, "t1") == ROW
    assert await catalog.write(transfers.update, "t1", state="complete", bytes=1 << 40, finished_at=2)
    changed = dataclasses.replace(ROW, state="complete", bytes=1 << 40, finished_at=2)
    assert await catalog.read(transfers.get, "t1") == changed
    assert not await catalog.write(transfers.update, "t2", state="complete")
    assert await catalog.read(transfers.get, "t2") is None


async def test_lists(catalog):
    rows = [
        dataclasses.replace(ROW, id=f"t{n}", created_at=n, finished_at=n if n % 2 else None) for n in range(4)
    ]
    for row in rows:
        await catalog.write(transfers.insert, row)
    assert [row.id for row in await catalog.read(transfers.newest, 3)] == ["t3", "t2", "t1"]
    assert [row.id for row in await catalog.read(transfers.unfinished)] == ["t0", "t2"]


async def test_what_is_kept_of_shipping(catalog):
    remote = dataclasses.replace(ROW, account="first", priority="bulk")
    await catalog.write(transfers.insert, remote)
    changes = {
        "paused": True,
        "stalled": "no answer",
        "priority": "live",
        "shipped": 1 << 40,
        "code": "NotFound",
    }
    assert await catalog.write(transfers.update, "t1", **changes)
    assert await catalog.read(transfers.get, "t1") == dataclasses.replace(remote, **changes)

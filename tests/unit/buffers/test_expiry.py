from datetime import timedelta

import pytest
import trio

from tests.support import memorystore
from tyger import errors, model, units
from tygerd import clock, config
from tygerd.buffers import expiry, service, states
from tygerd.catalog import buffers as queries
from tygerd.stores import places

LIFETIMES = states.Lifetimes(active=timedelta(0), soft_deleted=timedelta(days=1))
PAST = "2020-01-01T00:00:00Z"


@pytest.fixture
def memory():
    return memorystore.MemoryStore("local", "local", embedded=True)


@pytest.fixture
def buffers(catalog, memory):
    return service.Buffers(catalog, places.Places(memory), config.Buffers())


@pytest.fixture
def reaper(catalog, memory):
    return expiry.Reaper(catalog, places.Places(memory), LIFETIMES)


async def make(buffers, expires_at=None):
    return (await buffers.create(model.Buffer(expires_at=expires_at), 0)).id


async def test_an_expired_active_buffer_becomes_soft_deleted(buffers, reaper, memory):
    kept, expired = await make(buffers), await make(buffers, PAST)
    assert await reaper.work()
    shown = await buffers.get(expired, soft_deleted=True)
    left = units.parse_timestamp(shown.expires_at) - clock.now()
    assert timedelta(hours=23) < left <= timedelta(days=1)
    assert await buffers.get(kept)
    assert memory.names == {kept, expired}


async def test_an_expired_active_buffer_can_be_revived_for_a_while(buffers, reaper, monkeypatch):
    """In that time operations do not find it, as in the contract's table."""
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now)
    just = units.format_timestamp(now - expiry.REVIVAL + timedelta(seconds=5))
    buffer = await make(buffers, just)
    assert await reaper.work()
    assert (await buffers.get(buffer)).expires_at == just
    for operation in ("delete", "restore", "purge"):
        with pytest.raises(errors.Problem, match="not found"):
            await buffers.move(operation, buffer)
    assert await reaper._pause() == 5
    await buffers.update(buffer, model.BufferUpdate(expires_at="2999-01-01T00:00:00Z"))
    assert await reaper._pause() == expiry.LONGEST_SLEEP


async def test_what_was_not_revived_is_soft_deleted_in_time(buffers, memory):
    just = units.format_timestamp(clock.now() - expiry.REVIVAL + timedelta(milliseconds=50))
    buffer = await make(buffers, just)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(buffers.run)
        with trio.fail_after(60):
            while await buffers.count(soft_deleted=True, chosen=service.Filter()) == 0:
                pass
        nursery.cancel_scope.cancel()
    assert (await buffers.get(buffer, soft_deleted=True)).id == buffer


async def test_an_expired_soft_deleted_buffer_is_removed(buffers, reaper, memory, catalog):
    kept, purged = await make(buffers), await make(buffers)
    await buffers.move("delete", kept)
    await buffers.move("delete", purged, timedelta(0))
    assert await reaper.work()
    assert memory.names == {kept}
    with pytest.raises(errors.Problem, match="not found"):
        await buffers.get(purged, soft_deleted=True)
    assert await catalog.read(queries.unready) == []
    assert await buffers.get(kept, soft_deleted=True)


async def test_what_cannot_be_removed_does_not_show_and_is_tried_again(buffers, reaper, memory, catalog):
    ids = {await make(buffers) for _ in range(3)}
    stuck = max(ids)
    memory.stuck = {stuck}
    await buffers.move_all("delete", service.Filter(), timedelta(0))
    assert not await reaper.work()
    assert memory.names == {stuck}
    assert await catalog.read(queries.unready) == [(stuck, "local")]
    memory.stuck = set()
    assert await reaper.work()
    assert memory.names == set()
    assert await catalog.read(queries.unready) == []


async def removed(store):
    with trio.fail_after(60):
        await store.removed.wait()


async def test_what_a_crash_interrupted_is_removed_after_the_next_start(buffers, memory, catalog):
    kept, half_made = await make(buffers), await make(buffers)

    def undo(connection):
        connection.exec_driver_sql("UPDATE buffers SET is_ready = 0 WHERE id = ?", (half_made,))

    await catalog.write(undo)
    with pytest.raises(errors.Problem, match="not found"):
        await buffers.get(half_made)
    restarted = service.Buffers(catalog, places.Places(memory), config.Buffers())
    await restarted.start()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(restarted.run)
        await removed(memory)
        nursery.cancel_scope.cancel()
    assert memory.names == {kept}


async def test_what_could_not_be_made_here_leaves_nothing(buffers, memory, catalog):
    memory.problem = errors.Problem(errors.STORAGE_FULL, "No space left on device")
    with pytest.raises(errors.Problem, match="No space left"):
        await make(buffers)
    assert await catalog.read(queries.unready) == []
    assert await buffers.count(soft_deleted=None, chosen=service.Filter()) == 0
    memory.problem = None
    await memory.create(next(iter(buffers._reaper._doomed)))  # as if the last of several had failed
    assert await buffers._reaper.work()
    assert memory.names == set()


async def test_what_could_not_be_made_elsewhere_is_removed(both, remote, catalog):
    remote.problem = errors.Problem(errors.UNAVAILABLE, "no route to host")
    with pytest.raises(errors.Problem, match="no route"):
        await both.create(model.Buffer(location=remote.traits.location), 0)
    assert len(await catalog.read(queries.unready)) == 1
    remote.problem = None
    assert await both._reaper.work()
    assert await catalog.read(queries.unready) == []


async def test_more_than_one_page(buffers, reaper, memory, catalog):
    await buffers.create_many([{}] * 3, 0)
    await buffers.move_all("delete", service.Filter(), timedelta(0))
    now = units.to_micros(clock.now())
    first = await catalog.write(queries.claim_purgeable, now=now, limit=2)
    assert len(first) == 2
    assert await reaper.work()
    assert memory.names == {kept.id for kept in first}


async def test_running_waits_for_the_next_expiry_and_is_woken(buffers, memory):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(buffers.run)
        buffer = await make(buffers)
        await buffers.move("delete", buffer, timedelta(milliseconds=20))
        await removed(memory)
        nursery.cancel_scope.cancel()


async def test_running_outlives_a_failure(buffers, memory, caplog):
    buffer = await make(buffers)
    memory.stuck = {buffer}
    await buffers.move("delete", buffer, timedelta(0))
    other = await make(buffers)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(buffers.run)
        await buffers.move("delete", other, timedelta(0))
        await removed(memory)
        nursery.cancel_scope.cancel()
    assert memory.names == {buffer}
    assert f"cannot remove buffer {buffer}: cannot remove it" in caplog.text


@pytest.fixture
def remote():
    return memorystore.MemoryStore("account", "west")


@pytest.fixture
def both(catalog, memory, remote):
    return service.Buffers(catalog, places.Places(memory, [remote]), config.Buffers())


async def made(buffers, location, count):
    return {item.id for item in await buffers.create_many([{}] * count, 0, None, location)}


async def test_a_buffer_is_removed_where_it_is(both, memory, remote):
    local, far = await made(both, "local", 2), await made(both, "west", 3)
    assert (memory.names, remote.names) == (local, far)
    await both.move_all("delete", service.Filter(), timedelta(0))
    assert await both._reaper.work()
    assert (memory.names, remote.names) == (set(), set())


async def test_a_store_that_is_away_delays_only_its_own(both, memory, remote, caplog):
    await made(both, "local", 2)
    far = await made(both, "west", 50)
    await both.move_all("delete", service.Filter(), timedelta(0))
    remote.problem = errors.Problem(errors.UNAVAILABLE, "no route to host")
    remote.calls = 0
    for _ in range(3):
        assert not await both._reaper.work()
    assert (memory.names, remote.names) == (set(), far)
    assert remote.calls == 3 * expiry.PARALLEL
    lines = [record.message for record in caplog.records]
    assert lines == [f"cannot remove 50 buffers, such as {min(far)}: no route to host"]
    remote.problem = None
    assert await both._reaper.work()
    assert remote.names == set()


async def test_an_account_that_is_not_configured_any_more(both, memory, catalog, caplog):
    (far,) = await made(both, "west", 1)
    restarted = service.Buffers(catalog, places.Places(memory), config.Buffers())
    await restarted.move("delete", far, timedelta(0))
    assert not await restarted._reaper.work()
    assert "the storage account account is not in the configuration any more" in caplog.text
    assert await catalog.read(queries.unready) == [(far, "account")]

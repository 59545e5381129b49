import os
from datetime import timedelta

import pytest
import trio

from tests.support import memorystore
from tyger import errors, model, units
from tygerd import clock, config
from tygerd.buffers import service
from tygerd.catalog import pages
from tygerd.stores import places

UID = 1000
ANY = service.Filter()


async def create(buffers, tags=None, expires_at=None):
    return await buffers.create(model.Buffer(tags=tags, expires_at=expires_at), UID)


async def refused(call, *args, **kwargs):
    with pytest.raises(errors.Problem) as caught:
        await call(*args, **kwargs)
    return caught.value.kind, caught.value.message


NOT_FOUND = (errors.NOT_FOUND, "The resource was not found")


async def test_create_and_get_agree(buffers, store):
    made = await create(buffers, {"b": "2", "a": "1"}, "2100-01-02T03:04:05.123456789+01:00")
    assert made.location == "local"
    assert made.expires_at == "2100-01-02T02:04:05.123456+00:00"
    assert list(made.tags) == ["a", "b"]
    assert await buffers.get(made.id) == made
    assert await store.exists(made.id)


async def test_what_a_client_may_not_choose(buffers):
    wanted = model.Buffer(id="x", created_at="then", e_tag="1", is_soft_deleted=True, location="LOCAL")
    made = await buffers.create(wanted, UID)
    assert (len(made.id), made.tags, made.is_soft_deleted) == (26, None, False)
    assert made.e_tag != "1"
    assert await buffers.get(made.id) == made


async def test_create_refuses(buffers):
    elsewhere = model.Buffer(location="westus")
    assert await refused(buffers.create, elsewhere, UID) == (
        errors.INVALID_INPUT,
        "Buffer location can only be 'local.",
    )
    assert (await refused(create, buffers, {"a b": ""}))[0] is errors.INVALID_INPUT
    kind, message = await refused(create, buffers, None, "tomorrow")
    assert kind is errors.INVALID_INPUT
    assert message.startswith("Error deserializing input: invalid timestamp 'tomorrow'")
    assert message.endswith(" Path: $.expiresAt")
    assert await buffers.count(soft_deleted=None, chosen=ANY) == 0


async def test_a_store_that_fails_makes_no_buffer(buffers, tmp_path):
    os.rmdir(tmp_path / "containers")
    (tmp_path / "containers").touch()
    assert (await refused(create, buffers))[0] is errors.IO_ERROR
    assert await buffers.count(soft_deleted=None, chosen=ANY) == 0


async def test_soft_deleted_decides_which_state_is_looked_up(buffers):
    made = await create(buffers)
    assert await refused(buffers.get, made.id, soft_deleted=True) == NOT_FOUND
    deleted = await buffers.move("delete", made.id)
    assert deleted.is_soft_deleted
    assert await refused(buffers.get, made.id) == NOT_FOUND
    assert await buffers.get(made.id, soft_deleted=True) == deleted
    assert deleted.e_tag != made.e_tag


async def test_delete_restore_purge(buffers):
    made = await create(buffers, {"a": "1"})
    deleted = await buffers.move("delete", made.id)
    left = units.parse_timestamp(deleted.expires_at) - clock.now()
    assert timedelta(hours=23) < left <= timedelta(days=1)
    assert (await refused(buffers.move, "delete", made.id))[0] is errors.PRECONDITION_FAILED
    assert await buffers.move("restore", made.id) == made
    assert (await refused(buffers.move, "restore", made.id))[0] is errors.PRECONDITION_FAILED
    await buffers.move("delete", made.id)
    await buffers.move("purge", made.id, timedelta(0))
    for operation in ("delete", "restore", "purge"):
        assert await refused(buffers.move, operation, made.id) == NOT_FOUND
    assert await refused(buffers.move, "delete", "unknown") == NOT_FOUND


async def test_restore_with_an_active_lifetime(catalog, store):
    settings = config.Buffers(active_lifetime=config.Lifetime(3600))
    buffers = service.Buffers(catalog, places.Places(store), settings)
    made = await create(buffers)
    assert made.expires_at is None
    await buffers.move("delete", made.id)
    restored = await buffers.move("restore", made.id)
    left = units.parse_timestamp(restored.expires_at) - clock.now()
    assert timedelta(minutes=59) < left <= timedelta(hours=1)


async def test_update_replaces_tags_and_keeps_the_expiry(buffers):
    made = await create(buffers, {"a": "1", "b": "2"}, "2100-01-01T00:00:00Z")
    changed = await buffers.update(made.id, model.BufferUpdate(tags={"c": "not valid elsewhere"}))
    assert (changed.tags, changed.expires_at) == ({"c": "not valid elsewhere"}, made.expires_at)
    assert await buffers.get(made.id) == changed
    changed = await buffers.update(made.id, model.BufferUpdate(expires_at="2101-01-01T00:00:00Z"))
    assert (changed.tags, changed.expires_at) == (None, "2101-01-01T00:00:00+00:00")
    assert (await buffers.update(made.id, model.BufferUpdate(tags={}))).tags == {}


async def test_update_refuses(buffers):
    made = await create(buffers)
    other = model.BufferUpdate(id=made.id.upper())
    assert (await refused(buffers.update, made.id, other))[0] is errors.BAD_REQUEST
    update = model.BufferUpdate(id=made.id)
    assert await refused(buffers.update, made.id, update, soft_deleted=True) == NOT_FOUND
    assert await refused(buffers.update, "unknown", model.BufferUpdate()) == NOT_FOUND


async def test_if_match(buffers):
    made = await create(buffers, {"n": "0"})
    change = model.BufferUpdate(tags={"n": "1"})
    for wrong in ("1", f'"{made.e_tag}"', f"{made.e_tag}, 1", f" {made.e_tag}"):
        outcome = await refused(buffers.update, made.id, change, if_match=wrong)
        assert outcome == (errors.PRECONDITION_FAILED, "ETag does not match")
    assert await buffers.get(made.id) == made
    changed = await buffers.update(made.id, change, if_match=made.e_tag)
    assert changed.e_tag != made.e_tag
    for unconditional in (None, "", "*"):
        await buffers.update(made.id, change, if_match=unconditional)


async def test_no_update_that_checks_the_etag_is_lost(buffers):
    made = await create(buffers, {"n": "0"})

    async def increment(times):
        while times:
            seen = await buffers.get(made.id)
            change = model.BufferUpdate(tags={"n": str(int(seen.tags["n"]) + 1)})
            try:
                await buffers.update(made.id, change, if_match=seen.e_tag)
            except errors.Problem as problem:
                assert problem.kind is errors.PRECONDITION_FAILED  # noqa: PT017 - it may also succeed
            else:
                times -= 1

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(increment, 5)
    assert (await buffers.get(made.id)).tags == {"n": "20"}


async def listed(buffers, *, limit=100, soft_deleted=False, tags=None, exclude=None):
    chosen = service.Filter(tags or {}, exclude or {})
    found, after = [], None
    while True:
        page = await buffers.page(limit=limit, soft_deleted=soft_deleted, chosen=chosen, after=after)
        found += page.items
        after = page.last
        if after is None:
            return found
        assert len(page.items) == limit


async def test_lists_newest_first_in_pages(buffers):
    made = await buffers.create_many([{"n": str(n)} for n in range(3)], UID)
    made += [await create(buffers)]
    oldest_first = sorted(made, key=lambda buffer: (units.parse_timestamp(buffer.created_at), buffer.id))
    for limit in (1, 2, 3, 4, 5):
        items = await listed(buffers, limit=limit)
        assert [item.id for item in items] == [buffer.id for buffer in reversed(oldest_first)]
    assert {item.id: item.e_tag for item in items} == {buffer.id: buffer.e_tag for buffer in made}
    assert next(item.tags for item in items if item.id == made[-1].id) == {}


async def test_a_page_of_huge_tags_is_shorter(buffers, monkeypatch):
    monkeypatch.setattr(pages, "MOST_BYTES", 1000)
    made = await buffers.create_many([{"a": "x" * 200, "b": "y" * 200}] * 5, UID)
    wanted = sorted((one.id for one in made), reverse=True)
    page = await buffers.page(limit=5, soft_deleted=False, chosen=ANY, after=None)
    assert [one.id for one in page.items] == wanted[:2]
    page = await buffers.page(limit=5, soft_deleted=False, chosen=ANY, after=page.last)
    assert [one.id for one in page.items] == wanted[2:4]
    page = await buffers.page(limit=5, soft_deleted=False, chosen=ANY, after=page.last)
    assert ([one.id for one in page.items], page.last) == (wanted[4:], None)


async def test_a_limit_of_zero(buffers):
    await create(buffers)
    assert await buffers.page(limit=0, soft_deleted=False, chosen=ANY, after=None) == ([], None)


@pytest.mark.parametrize(
    ("tags", "exclude", "found"),
    [
        ({"a": "1"}, {}, "xy"),
        ({"a": "1", "b": "2"}, {}, "y"),
        ({"A": "1"}, {}, ""),
        ({"unknown": ""}, {}, ""),
        ({}, {"a": "1"}, "z"),
        ({}, {"b": "2", "c": "3"}, "x"),
        ({}, {"unknown": "1"}, "xyz"),
        ({"a": "1"}, {"b": "2"}, "x"),
    ],
)
async def test_filters(buffers, tags, exclude, found):
    sets = {"x": {"a": "1"}, "y": {"a": "1", "b": "2"}, "z": {"c": "3"}}
    made = dict(zip(sets, await buffers.create_many(list(sets.values()), UID), strict=True))
    ids = {item.id for item in await listed(buffers, tags=tags, exclude=exclude)}
    assert ids == {made[name].id for name in found}
    assert await buffers.count(soft_deleted=False, chosen=service.Filter(tags, exclude)) == len(found)


async def test_expired_buffers_are_listed_but_not_counted(buffers):
    made = await create(buffers, None, "2020-01-01T00:00:00Z")
    assert [item.id for item in await listed(buffers)] == [made.id]
    assert await buffers.get(made.id) == made
    assert await buffers.count(soft_deleted=None, chosen=ANY) == 0


async def test_bulk(buffers):
    made = await buffers.create_many([{"a": "1"}, {"a": "1"}, {"b": "2"}], UID)
    chosen = service.Filter({"a": "1"})
    assert await buffers.move_all("purge", chosen) == 0
    assert await buffers.move_all("delete", chosen) == 2
    assert await buffers.move_all("delete", chosen) == 0
    assert await buffers.count(soft_deleted=True, chosen=ANY) == 2
    assert await buffers.count(soft_deleted=None, chosen=ANY) == 3
    assert await buffers.move_all("restore", ANY) == 2
    assert await buffers.get(made[0].id) == made[0]
    assert await buffers.move_all("delete", ANY, timedelta(0)) == 3
    assert await buffers.move_all("restore", ANY) == 0


async def test_require_active(buffers):
    good, deleted, expired = await buffers.create_many([{}, {}, {}], UID)
    await buffers.move("delete", deleted.id)
    await buffers.update(expired.id, model.BufferUpdate(expires_at="2020-01-01T00:00:00Z"))
    await buffers.require_active([])
    await buffers.require_active([good.id])
    for bad in (deleted.id, expired.id, "unknown"):
        outcome = await refused(buffers.require_active, [good.id, bad])
        assert outcome == (errors.INVALID_INPUT, f"The buffer '{bad}' was not found")


async def test_access(buffers):
    made = await create(buffers)
    assert f":/containers/{made.id}?" in await buffers.access_url(made.id, writeable=True)
    await buffers.move("delete", made.id, timedelta(0))
    assert await buffers.access_url(made.id, writeable=False)
    assert await buffers.access_url("temp-abc", writeable=False) == "temporary"
    assert (await refused(buffers.access_url, "run-1-temp-a", writeable=False))[0] is errors.INVALID_INPUT
    for unknown in ("a-b", "unknown"):
        assert await refused(buffers.access_url, unknown, writeable=False) == NOT_FOUND


async def test_access_to_ephemeral_buffers(catalog, store):
    asked = []

    def relayed(*given):
        asked.append(given)
        return "the URL"

    buffers = service.Buffers(catalog, places.Places(store), config.Buffers(), relayed=relayed)
    assert await buffers.access_url("run-1-temp-a", writeable=True) == "the URL"
    assert asked == [("run-1-temp-a", timedelta(hours=1), True)]
    too_long = await refused(buffers.access_url, "run-1-temp-a", writeable=True, ttl=timedelta(hours=2))
    assert too_long[0] is errors.INVALID_INPUT


async def test_storage_accounts(buffers):
    assert buffers.storage_accounts() == [
        model.StorageAccount(name="local", location="local", endpoint="http+unix:///run/tyger/tyger.sock:/")
    ]


async def test_several_locations(catalog, store):
    one, two = memorystore.MemoryStore("one", "West"), memorystore.MemoryStore("two", "West")
    buffers = service.Buffers(catalog, places.Places(store, [one, two]), config.Buffers())
    made = [await buffers.create(model.Buffer(location="WEST"), UID), await create(buffers)]
    assert [buffer.location for buffer in made] == ["West", "West"]
    assert ({made[0].id}, {made[1].id}) == (one.names, two.names)
    local = await buffers.create(model.Buffer(location="Local"), UID)
    for buffer, expected in zip([*made, local], [one, two, store], strict=True):
        assert await buffers.locate(buffer.id) is expected
    assert await refused(buffers.create, model.Buffer(location="x"), UID) == (
        errors.INVALID_INPUT,
        "No storage accounts configured for location 'x'",
    )
    assert [account.name for account in buffers.storage_accounts()] == ["local", "one", "two"]
    url = await buffers.access_url(made[1].id, writeable=True, ttl=timedelta(seconds=30))
    assert url == f"https://two.example/{made[1].id}?sp=rc&seconds=30"
    await buffers.move("delete", made[0].id)
    assert await buffers.locate(made[0].id) is one
    assert await refused(buffers.locate, "unknown") == NOT_FOUND


async def test_a_store_that_says_no_says_it_to_the_user(catalog, store):
    far = memorystore.MemoryStore()
    far.problem = errors.Problem(errors.TRY_AGAIN, "no route to host")
    buffers = service.Buffers(catalog, places.Places(store, [far]), config.Buffers())
    assert await refused(create, buffers) == (errors.TRY_AGAIN, "no route to host")
    assert await buffers.count(soft_deleted=None, chosen=ANY) == 0

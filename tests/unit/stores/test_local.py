"""The embedded store beyond what every store does (tests/conformance): trash, one object, refusals."""

import gc
import os
from datetime import timedelta

import pytest

from tyger import errors
from tygerd.identity import keys
from tygerd.stores import base, local, localurls

ID = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture
async def store(tmp_path):
    made = local.LocalStore(str(tmp_path))
    await made.start()
    return made


async def test_it_is_a_store(store):
    kept: base.Store = store
    assert kept.traits == base.Traits(name="local", location="local", endpoint="", embedded=True)


async def test_all_who_open_a_container_share_it_while_they_hold_it(store):
    await store.create(ID)
    one, other = await store.open(ID), await store.open(ID)
    assert one is other
    del one, other
    gc.collect()
    assert ID not in store._open


async def test_creating_and_deleting_twice(store):
    await store.create(ID)
    await store.create(ID)
    assert await store.ids() == [ID]
    await store.delete(ID)
    await store.delete(ID)
    assert await store.ids() == []
    with pytest.raises(errors.Problem, match="not found"):
        await store.open(ID)


async def test_who_holds_a_deleted_container_is_told(store, tmp_path):
    await store.create(ID)
    held = await store.open(ID)
    event = held.feed.next()
    await store.delete(ID)
    assert held.deleted
    assert event.is_set()
    assert os.listdir(tmp_path / "trash") == []


class Slow(local.LocalStore):
    """Between seeing a container and opening it, something else happens."""

    between = None

    async def exists(self, id):  # noqa: A002
        found = await super().exists(id)
        if self.between is not None:
            happening, self.between = self.between, None
            await happening()
        return found


async def test_a_container_that_is_deleted_while_it_is_opened_is_not_there(tmp_path):
    """It would stand there as an empty one, to whose end readers look forward in vain."""
    store = Slow(str(tmp_path))
    await store.start()
    await store.create("gone")

    async def delete():
        await store.delete("gone")

    store.between = delete
    with pytest.raises(errors.Problem, match="not found"):
        await store.open("gone")
    assert not store._open


async def test_a_container_that_is_opened_while_another_is_deleted(tmp_path):
    store = Slow(str(tmp_path))
    await store.start()
    await store.create("kept")
    await store.create("gone")

    async def delete():
        await store.delete("gone")

    store.between = delete
    assert (await store.open("kept")).path == str(tmp_path / "containers/kept")


async def test_trash_of_a_crash_is_removed_at_the_start(store, tmp_path):
    (tmp_path / "trash" / "left").mkdir()
    (tmp_path / "trash" / "left" / "block").write_bytes(b"x")
    await store.start()
    assert os.listdir(tmp_path / "trash") == []


@pytest.mark.parametrize("name", ["", "..", "a/b", "../x", "a" * 64, "ab", "a-b-c"])
async def test_a_name_that_is_no_id_is_not_found_and_never_a_path(store, name):
    for ask in (store.create, store.exists, store.open, store.delete):
        with pytest.raises(errors.Problem, match="not found"):
            await ask(name)


async def test_marking_a_container_that_is_gone_does_nothing(store):
    await store.mark_failed(ID, "why")
    await store.create(ID)
    await store.mark_failed(ID, "why")
    assert (await store.open(ID)).end() == "failed"


@pytest.mark.parametrize(
    ("number", "kind"), [(28, errors.STORAGE_FULL), (122, errors.STORAGE_FULL), (30, errors.IO_ERROR)]
)
def test_the_systems_refusals_are_named(number, kind):
    with pytest.raises(errors.Problem, match=r"the store cannot use /x: ") as caught, local.disk_problems():
        raise OSError(number, os.strerror(number), "/x")
    assert caught.value.kind is kind


async def test_a_spool_is_a_store_beside_the_buffers(store, tmp_path):
    spool = local.LocalStore(str(tmp_path), "spool")
    await spool.start()
    await spool.create(ID)
    assert (await spool.ids(), await store.ids()) == ([ID], [])
    await spool.delete(ID)
    assert sorted(os.listdir(tmp_path)) == ["containers", "spool", "trash"]
    with pytest.raises(LookupError, match="no data plane"):
        await spool.url(ID, writeable=False, ttl=timedelta(hours=1))


async def test_its_urls(tmp_path):
    urls = localurls.LocalUrls(keys.load_or_create(str(tmp_path / "keys")), "/s")
    store = local.LocalStore(str(tmp_path), urls=urls)
    assert store.traits.endpoint == "http+unix:///s:/"
    url = await store.url(ID, writeable=False, ttl=timedelta(hours=1))
    assert url.startswith(f"http+unix:///s:/containers/{ID}?")
    access = await store.access(ID, writeable=True)
    assert (access.url.socket, access.url.path, access.renewable) == ("/s", f"/containers/{ID}", True)
    assert "sp=cr" in access.url.query
    assert access.renew(0)

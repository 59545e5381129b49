"""Many who change one thing at the same moment: each change is made on what its maker saw, or is refused."""

import pytest
import trio

from tests.support import memorystore
from tyger import errors, model
from tygerd import config
from tygerd.buffers import service as buffers_service
from tygerd.codespecs import service as codespecs_service
from tygerd.stores import places

MANY = 24


@pytest.fixture
def buffers(catalog):
    store = memorystore.MemoryStore("local", "local", embedded=True)
    return buffers_service.Buffers(catalog, places.Places(store), config.Buffers())


async def together(*actions):
    """What each of these gave, or was refused with; all are under way before one is over."""
    results = [None] * len(actions)
    ready = trio.Event()

    async def act(number, action):
        await ready.wait()
        try:
            results[number] = await action()
        except errors.Problem as problem:
            results[number] = problem

    async with trio.open_nursery() as nursery:
        for number, action in enumerate(actions):
            nursery.start_soon(act, number, action)
        ready.set()
    return results


def refusals(results):
    return [result.kind for result in results if isinstance(result, errors.Problem)]


async def test_one_of_many_with_the_same_etag_wins(buffers):
    made = await buffers.create(model.Buffer(), 0)

    def change(number):
        wanted = model.BufferUpdate(tags={"n": str(number)})
        return lambda: buffers.update(made.id, wanted, if_match=made.e_tag)

    results = await together(*(change(number) for number in range(MANY)))
    assert refusals(results) == [errors.PRECONDITION_FAILED] * (MANY - 1)
    (winner,) = (result for result in results if not isinstance(result, errors.Problem))
    assert (await buffers.get(made.id)).tags == winner.tags


async def test_no_update_is_lost(buffers):
    made = await buffers.create(model.Buffer(tags={"n": "0"}), 0)

    async def increment():
        while True:
            seen = await buffers.get(made.id)
            wanted = model.BufferUpdate(tags={"n": str(int(seen.tags["n"]) + 1)})
            try:
                return await buffers.update(made.id, wanted, if_match=seen.e_tag)
            except errors.Problem as problem:
                if problem.kind is not errors.PRECONDITION_FAILED:
                    raise

    await together(*[increment] * MANY)
    assert (await buffers.get(made.id)).tags == {"n": str(MANY)}


async def test_one_of_many_deletes(buffers):
    made = await buffers.create(model.Buffer(), 0)
    results = await together(*[lambda: buffers.move("delete", made.id)] * MANY)
    assert refusals(results) == [errors.PRECONDITION_FAILED] * (MANY - 1)


async def test_a_change_and_a_deletion_are_one_after_the_other(buffers):
    wanted = model.BufferUpdate(tags={"late": "1"})
    for _ in range(MANY):
        made = await buffers.create(model.Buffer(), 0)
        changed, deleted = await together(
            lambda made=made: buffers.update(made.id, wanted, if_match=made.e_tag),
            lambda made=made: buffers.move("delete", made.id),
        )
        now = await buffers.get(made.id, soft_deleted=True)
        assert now.e_tag == deleted.e_tag
        assert (now.tags or {}) == ({} if isinstance(changed, errors.Problem) else {"late": "1"})


async def test_versions_of_a_codespec_have_no_gap_and_no_double(catalog):
    codespecs = codespecs_service.Codespecs(catalog)

    def put(number):
        wanted = model.JobCodespec(image=f"image{number % 8}", command=["x"])
        return lambda: codespecs.put("one", wanted, 0)

    made = await together(*(put(number) for number in range(MANY)))
    latest = (await codespecs.latest("one")).version
    versions = {}
    for result in made:
        assert versions.setdefault(result.version, result.image) == result.image
    assert sorted(versions) == list(range(1, latest + 1))
    for version, image in versions.items():
        assert (await codespecs.get("one", version)).image == image

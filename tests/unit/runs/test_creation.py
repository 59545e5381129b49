"""Keys, ephemeral buffers and moments: what creating a run promises beyond the run."""

from __future__ import annotations

import re

import pytest
import trio
import trio.testing

from tests.unit.runs.conftest import wanted
from tyger import errors, model
from tygerd.engines import base
from tygerd.runs import service
from tygerd.streams import relay


async def test_one_run_for_one_key(runs, shop):
    made = []

    async def create(seconds):
        made.append((await runs.create(wanted(timeout_seconds=seconds), 0, "key")).run.id)

    async with trio.open_nursery() as nursery:
        for seconds in range(5):
            nursery.start_soon(create, seconds)
    assert made == [1] * 5
    assert (await runs.create(wanted(), 0, "other")).run.id == 2


async def test_a_failed_attempt_leaves_its_key_free(runs, shop):
    shop.engine.refused_images.add("x")
    with pytest.raises(errors.Problem):
        await runs.create(wanted(), 0, "key")
    shop.engine.refused_images.clear()
    assert (await runs.create(wanted(), 0, "key")).run.id == 1


async def test_a_key_of_nothing_is_no_key(runs):
    assert [(await runs.create(wanted(), 0, "")).run.id for _ in range(2)] == [1, 2]


async def test_what_is_wrong_is_told_also_with_a_known_key(runs):
    await runs.create(wanted(), 0, "key")
    for wrong in (wanted(tags={"a b": ""}), model.Run(job=model.JobTarget(codespec="N"))):
        with pytest.raises(errors.Problem):
            await runs.create(wrong, 0, "key")
    # What depends on the state of the world is not asked again.
    assert (await runs.create(model.Run(job=model.JobTarget(codespec="none")), 0, "key")).run.id == 1


async def test_one_key_does_not_hold_another_up(runs, shop):
    """A buffer that is long in the making, in a store far away."""
    made, going, left = [], trio.Event(), trio.Event()

    async def slow(_tags, *_more):
        going.set()
        await left.wait()
        return [model.Buffer(id="b" * 26)]

    shop.buffers.create_many = slow

    async def create(key, **more):
        made.append((key, (await runs.create(wanted(**more), 0, key)).run.id))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: create("a", outputs=["out"]))
        await going.wait()
        nursery.start_soon(create, "a")
        await trio.testing.wait_all_tasks_blocked()
        await create("b")
        left.set()
    assert made == [("b", 1), ("a", 2), ("a", 2)]
    assert not runs._creator._turns  # nothing is kept of a key whose turn is over


async def test_one_that_gives_up_waiting_leaves_the_turn_to_the_next(runs, shop):
    shop.engine.refused_images.add("x")  # the first attempt fails
    going, left = trio.Event(), trio.Event()
    resolve = shop.codespecs.resolve

    async def slow(*given):
        going.set()
        await left.wait()
        return await resolve(*given)

    shop.codespecs.resolve = slow

    async def fail():
        with pytest.raises(errors.Problem):
            await runs.create(wanted(), 0, "key")
        shop.engine.refused_images.clear()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail)
        await going.wait()
        with trio.move_on_after(0.01):
            await runs.create(wanted(), 0, "key")
        nursery.start_soon(runs.create, wanted(), 0, "key")
        await trio.testing.wait_all_tasks_blocked()
        left.set()
    assert (await runs.create(wanted(), 0, "key")).run.id == 1
    assert not runs._creator._turns


async def test_ephemeral_buffers_where_the_engine_has_them(runs, shop):
    asked = wanted(inputs=["in"], outputs=["out"], buffers={"in": "_"})
    with pytest.raises(errors.Problem, match="ephemeral buffers are not supported by the fake engine"):
        await runs.create(asked, 0)
    shop.engine.traits = base.Traits("fake", ephemeral_buffers=True)
    run = (await runs.create(asked, 0)).run
    assert re.fullmatch(f"run-{run.id}-temp-[a-z2-7]{{26}}", run.job.buffers["in"])
    assert re.fullmatch("[a-z2-7]{26}", run.job.buffers["out"])
    assert (await runs.get(run.id)).job.buffers == run.job.buffers
    await shop.engine.wait_started(run.id)
    assert shop.engine.jobs[run.id].buffers == run.job.buffers
    # One that its end leaves unfinished is in no store that could be told.
    shop.engine.end(run.id, "Failed", incomplete=("in", "out"))
    with trio.fail_after(120):
        while runs.unfinished():
            await trio.lowlevel.checkpoint()
    assert (await runs.get(run.id)).status == "Failed"


async def test_an_ephemeral_buffer_is_there_from_its_runs_beginning_to_its_end(runs, shop):
    shop.engine.traits = base.Traits("fake", ephemeral_buffers=True)
    run = (await runs.create(wanted(inputs=["in"], outputs=["out"], buffers={"in": "_", "out": "_"}), 0)).run
    relays = {name: shop.relays.find(buffer) for name, buffer in run.job.buffers.items()}
    assert {name: it.direction for name, it in relays.items()} == {"in": "input", "out": "output"}
    assert not relays["in"].over.is_set()
    await shop.engine.wait_started(run.id)
    shop.engine.end(run.id, "Failed", reason="it crashed")
    with trio.fail_after(120):
        for it in relays.values():
            await it.over.wait()
            assert it.reason == "the run ended with status Failed (it crashed)"


async def test_ephemeral_buffers_of_a_run_that_another_daemon_made(shop):
    shop.engine.traits = base.Traits("fake", ephemeral_buffers=True)
    async with shop.open() as runs:
        run = (await runs.create(wanted(inputs=["in"], buffers={"in": "_"}), 0)).run
        await shop.engine.wait_started(run.id)
    async with shop.open() as runs:
        found = shop.relays.find(run.job.buffers["in"])
        shop.engine.end(run.id)
        with trio.fail_after(120):
            await found.over.wait()
        assert found.reason == relay.NEVER_OPENED


async def test_runs_that_come_at_once_are_as_old_as_they_are_numbered(runs):
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(runs.create, wanted(), 0)
    listed = (await runs.page(service.Chosen(), limit=99, after=None)).items
    assert [run.id for run in listed] == list(range(20, 0, -1))
    assert len({run.created_at for run in listed}) == 20

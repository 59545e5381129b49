"""The service: what a caller of the API gets."""

from __future__ import annotations

import os

import pytest
import trio
import trio.testing

from tests.unit.runs.conftest import ended, wanted
from tyger import errors, model, units
from tygerd import clock
from tygerd.catalog import runs as queries
from tygerd.runs import records, resource, service


async def refusal(runs, run):
    with pytest.raises(errors.Problem) as caught:
        await runs.create(run, 0)
    return caught.value.message


async def test_a_run_from_beginning_to_end(runs, shop):
    run = (await runs.create(wanted(tags={"a": "b"}), 1000)).run
    assert (run.id, run.status, run.tags) == (1, "Pending", {"a": "b"})
    await shop.engine.wait_started(1)
    assert runs.unfinished() == 1
    shop.engine.begin(1)
    shop.engine.log(1, "2024-01-25T18:20:49.000000000Z O hello")
    shop.engine.end(1)
    last = await ended(runs, 1, "Succeeded")
    assert (last.started_at, last.finished_at) == (
        "1970-01-01T00:00:01+00:00",
        "1970-01-01T00:00:02+00:00",
    )
    assert shop.engine.removed == [1]
    assert await lines(runs, 1) == b"hello\n"
    assert await lines(runs, 1, follow=True, timestamps=True) == b"2024-01-25T18:20:49.000000000Z hello\n"


async def lines(runs, run_id, *, follow=False, **options):
    sent = []

    async def sink(data):
        sent.append(data)

    await runs.logs(run_id, records.Options(**options), sink, follow=follow)
    return b"".join(sent)


async def test_buffers_are_made_for_parameters_that_have_none(runs, shop):
    given = await shop.buffers.create(model.Buffer(), 0)
    asked = wanted(
        inputs=["in"],
        outputs=["out", "more"],
        buffers={"in": given.id},
        job={"tags": {"x": "y"}, "buffer_ttl": "1"},
    )
    run = (await runs.create(asked, 1000)).run
    assert list(run.job.buffers) == ["in", "out", "more"]
    assert run.job.buffers["in"] == given.id
    made = await shop.buffers.get(run.job.buffers["out"])
    assert made.tags == {"x": "y", "bufferName": "out"}
    assert made.expires_at is not None


async def test_what_the_job_is_told(runs, shop):
    named = model.JobCodespec(image="x", args=["a"], buffers=model.BufferParameters(inputs=["in"]))
    await shop.codespecs.put("cs", named, 0)
    run = (await runs.create(model.Run(job=model.JobTarget(codespec="cs"), timeout_seconds=7), 0)).run
    assert (run.job.codespec.name, run.job.codespec.version) == ("cs", 1)
    await shop.engine.wait_started(run.id)
    job = shop.engine.jobs[run.id]
    assert (job.inputs, job.outputs, job.timeout_seconds) == (["in"], [], 7)
    assert dict(job.buffers) == run.job.buffers
    assert (await runs.get(run.id)).job.codespec.name is None


async def test_refusals_make_nothing(runs, shop):
    shop.engine.refused_images.add("x")
    assert await refusal(runs, wanted(outputs=["out"])) == "cannot run x"
    shop.engine.refused_images.clear()
    missing = "a" * 26
    assert (
        await refusal(runs, wanted(inputs=["in"], buffers={"in": missing}))
        == f"The buffer '{missing}' was not found"
    )
    there = (await shop.buffers.create(model.Buffer(), 0)).id
    assert "does not correspond" in await refusal(runs, wanted(outputs=["out"], buffers={"other": there}))
    assert "was not found" in await refusal(runs, wanted(outputs=["out"], buffers={"other": missing}))
    assert "Tag keys" in await refusal(runs, wanted(tags={"ä": ""}))
    for ttl in ("x", "9999999.00:00"):
        assert "bufferTtl" in await refusal(runs, wanted(outputs=["out"], job={"buffer_ttl": ttl}))
    assert "was not found" in await refusal(runs, model.Run(job=model.JobTarget(codespec="none")))
    assert "Tag values" in await refusal(runs, wanted(outputs=["out"], job={"tags": {"a": "ü"}}))
    assert "No more than 100" in await refusal(
        runs, wanted(outputs=["out"], job={"tags": {f"t{n}": "" for n in range(100)}})
    )
    assert "Access TTL" in await refusal(runs, wanted(outputs=["out"], buffer_access_ttl="0:00"))
    assert (await runs.page(service.Chosen(), limit=10, after=None)).items == []
    assert await shop.buffers.count(soft_deleted=None, chosen=service.buffers_service.Filter()) == 1


async def test_a_job_that_cannot_be_started(runs, shop):
    shop.engine.start_problem = errors.Problem(errors.IO_ERROR, "no more processes")
    run = (await runs.create(wanted(outputs=["out"]), 0)).run
    last = await ended(runs, run.id, "Failed")
    assert last.status_reason == "no more processes"
    container = await shop.store.open(run.job.buffers["out"])
    assert (container.end(), container.failure()) == ("failed", "no more processes")


async def test_outputs_that_a_run_leaves_unfinished_are_failed(runs, shop):
    run = (await runs.create(wanted(outputs=["a", "b"]), 0)).run
    await shop.engine.wait_started(run.id)
    shop.engine.end(run.id, "Failed", reason="Main exited with code 1", incomplete=("b",))
    await ended(runs, run.id, "Failed")
    ends = [(await shop.store.open(run.job.buffers[name])).end() for name in ("a", "b")]
    assert ends == [None, "failed"]


async def test_cancelling(runs, shop):
    run = (await runs.create(wanted(outputs=["out"]), 0)).run
    await shop.engine.wait_started(run.id)
    shop.engine.begin(run.id)
    cancelled = await runs.cancel(run.id)
    assert (cancelled.status, cancelled.status_reason) == ("Canceled", "Canceled by user")
    assert "." not in cancelled.finished_at
    last = await ended(runs, run.id, "Canceled")
    assert (last.status_reason, last.finished_at) == ("Canceled by user", cancelled.finished_at)
    # Once or twice: who cancels and who follows the run may both find that it has to end.
    assert set(shop.engine.cancelled) == {(run.id, "Canceled by user")}
    assert (await shop.store.open(run.job.buffers["out"])).end() == "failed"
    assert await runs.cancel(run.id) == last


async def test_cancelling_what_is_being_started(runs, shop):
    shop.engine.hold_start = trio.Event()
    run = (await runs.create(wanted(), 0)).run
    await runs.cancel(run.id)
    await trio.testing.wait_all_tasks_blocked()
    shop.engine.hold_start.set()
    assert (await ended(runs, run.id, "Canceled")).status_reason == "Canceled by user"
    assert shop.engine.removed == [run.id]


async def test_nothing_of_an_end_changes_any_more(runs, shop):
    """Not even by a start that is heard of later: a watcher has seen the end, and its ETag."""
    run = (await runs.create(wanted(), 0)).run
    await shop.engine.wait_started(run.id)
    cancelled = await runs.cancel(run.id)
    assert await ended(runs, run.id, "Canceled") == cancelled
    assert cancelled.started_at is None


async def test_an_end_is_never_changed(runs, shop):
    run = (await runs.create(wanted(), 0)).run
    await shop.engine.wait_started(run.id)
    shop.engine.end(run.id)
    await ended(runs, run.id, "Succeeded")
    assert (await runs.cancel(run.id)).status == "Succeeded"


async def test_watching(runs, shop):
    run = (await runs.create(wanted(), 0)).run
    seen = []

    async def note(snapshot):
        seen.append((snapshot.status, snapshot.tags))
        match seen[-1]:
            case ("Pending", None):
                await shop.engine.wait_started(run.id)
                shop.engine.begin(run.id)
            case ("Running", None):
                await runs.update(run.id, {"a": "b"}, None)
            case ("Running", _):
                shop.engine.end(run.id)

    with trio.fail_after(120):
        await runs.watch(run.id, note)
    assert seen == [("Pending", None), ("Running", None), ("Running", {"a": "b"}), ("Succeeded", {"a": "b"})]
    seen.clear()
    await runs.watch(run.id, note)
    assert seen == [("Succeeded", {"a": "b"})]


NOW = units.to_micros(clock.now())


async def test_watching_and_following_a_run_in_the_instant_of_its_creation(runs, shop):
    """Its row is there before it is looked after, and other requests may see that."""
    body = resource.encode(resource.normalized(wanted(), wanted().job.codespec, {}))
    run_id = await shop.catalog.write(
        lambda connection: queries.insert_run(
            connection, body, {}, 0, NOW, owner=shop.catalog.installation, engine="fake"
        )
    )
    seen = []

    async def note(run):
        seen.append(run.status)

    async def follow():
        seen.append(await lines(runs, run_id, follow=True))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(runs.watch, run_id, note)
        nursery.start_soon(follow)
        await trio.testing.wait_all_tasks_blocked(0.01)
        runs._look_after(await runs._row(run_id))
        await shop.engine.wait_started(run_id)
        shop.engine.log(run_id, "2024-01-25T18:20:49.000000000Z O hello")
        shop.engine.end(run_id)
    # How much of what went before a watcher sees, and which of the two ends first, is chance.
    seen.remove(b"hello\n")
    assert seen[-1] == "Succeeded"
    assert set(seen) <= {"Pending", "Running", "Succeeded"}


async def test_a_log_that_is_archived_before_its_follower_has_opened_it(runs, shop):
    run = (await runs.create(wanted(), 0)).run
    await shop.engine.wait_started(run.id)
    shop.engine.log(run.id, "2024-01-25T18:20:49.000000000Z O hello")
    row, bells = await runs._row(run.id), runs._live[run.id]
    shop.engine.end(run.id)
    while runs.unfinished():
        await trio.lowlevel.checkpoint()

    async def just_before(_run_id):
        runs._live[run.id] = bells
        await trio.lowlevel.checkpoint()
        return row

    runs._settled = just_before
    try:
        assert await lines(runs, run.id, follow=True) == b"hello\n"
    finally:
        del runs._live[run.id]


async def test_a_run_that_is_put_away_while_it_is_looked_up(runs, shop):
    """Nobody waits then for it to be taken up, which it will not be again."""
    run = (await runs.create(wanted(), 0)).run
    await shop.engine.wait_started(run.id)
    shop.engine.log(run.id, "2024-01-25T18:20:49.000000000Z O hello")
    look_up = runs._row

    async def late(run_id):
        row = await look_up(run_id)
        shop.engine.end(run_id)
        while runs.unfinished():
            await trio.lowlevel.checkpoint()
        return row

    runs._row = late
    with trio.fail_after(120):
        assert await lines(runs, run.id, follow=True) == b"hello\n"


async def test_a_log_that_somebody_removed_is_empty(runs, shop):
    run = (await runs.create(wanted(), 0)).run
    await shop.engine.wait_started(run.id)
    shop.engine.log(run.id, "2024-01-25T18:20:49.000000000Z O hello")
    shop.engine.end(run.id)
    await ended(runs, run.id)
    os.unlink(os.path.join(shop.path, "logs", f"{run.id}.gz"))
    assert await lines(runs, run.id) == b""


async def test_following_a_log_that_grows(runs, shop):
    run = (await runs.create(wanted(inputs=["in"]), 0)).run
    await shop.engine.wait_started(run.id)
    sent = []

    async def sink(data):
        sent.append(data)
        if len(sent) < 3:
            shop.engine.log(run.id, f"2024-01-25T18:20:49.00000000{len(sent)}Z O {len(sent)}")
        else:
            shop.engine.end(run.id)

    shop.engine.log(run.id, "2024-01-25T18:20:49.000000000Z O 0")
    with trio.fail_after(120):
        await runs.logs(run.id, records.Options(), sink, follow=True)
    assert b"".join(sent) == b"[main] 0\n[main] 1\n[main] 2\n"


async def test_tags_are_replaced_if_the_etag_matches(runs):
    run = (await runs.create(wanted(tags={"a": "b"}), 0)).run
    with pytest.raises(errors.Problem) as caught:
        await runs.update(run.id, {}, "1")
    assert caught.value.kind is errors.PRECONDITION_FAILED
    current = await runs.get(run.id)
    changed = await runs.update(run.id, {"c": "d"}, current.e_tag)
    assert changed.tags == {"c": "d"}
    assert (await runs.update(run.id, {}, "*")).tags is None


async def test_lists_and_counts(runs, shop):
    for number in range(4):
        await runs.create(wanted(tags={"n": str(number % 2)}), 0)
        await shop.engine.wait_started(number + 1)
    shop.engine.end(2)
    await ended_one(runs, 2)
    first = await runs.page(service.Chosen(), limit=3, after=None)
    assert [run.id for run in first.items] == [4, 3, 2]
    rest = await runs.page(service.Chosen(), limit=3, after=first.last)
    assert ([run.id for run in rest.items], rest.last) == ([1], None)
    chosen = service.Chosen(statuses=["Succeeded"], tags={"n": "1"})
    assert [run.id for run in (await runs.page(chosen, limit=9, after=None)).items] == [2]
    assert await runs.counts(service.Chosen()) == {"Pending": 3, "Succeeded": 1}
    assert await runs.counts(service.Chosen(tags={"n": "0"})) == {"Pending": 2}


async def ended_one(runs, run_id):
    async def ignore(_run):
        pass

    with trio.fail_after(120):
        await runs.watch(run_id, ignore)


@pytest.mark.parametrize("name", ["get", "cancel", "require"])
async def test_a_run_that_is_not_there(runs, name):
    with pytest.raises(errors.Problem) as caught:
        await getattr(runs, name)(99)
    assert caught.value.kind is errors.NOT_FOUND

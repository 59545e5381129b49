"""Runs over restarts of the daemon: each step is taken up where the last daemon left it."""

from __future__ import annotations

import os
import threading

import pytest
import trio
import trio.testing

from tests.unit.runs.conftest import ended, wanted
from tyger import errors, model, units
from tygerd import clock
from tygerd.catalog import runs as queries
from tygerd.engines import base, site
from tygerd.runs import logs, supervise

NOW = units.to_micros(clock.now())


async def left_behind(shop, status="Pending", created_at=NOW, **columns) -> int:
    """A row as a killed daemon left it, with an output buffer."""
    (buffer,) = await shop.buffers.create_many([{}], 0)
    run = wanted(outputs=["out"], buffers={"out": buffer.id})

    def insert(connection):
        body = supervise.resource.encode(
            supervise.resource.normalized(run, run.job.codespec, run.job.buffers)
        )
        run_id = queries.insert_run(
            connection, body, {}, 0, created_at, owner="o", status=status, engine="fake"
        )
        if columns:
            queries.set_run_state(connection, run_id, **columns)
        return run_id

    return await shop.catalog.write(insert)


def job(run_id):
    codespec = wanted(outputs=["out"]).job.codespec
    return supervise.base.Job(run=run_id, codespec=codespec, buffers={}, created_at=0, timeout_seconds=1)


async def row(shop, run_id):
    return await shop.catalog.read(queries.get_run, run_id)


async def test_a_row_whose_job_was_never_started_is_started(shop):
    run_id = await left_behind(shop)
    async with shop.open() as runs:
        await shop.engine.wait_started(run_id)
        shop.engine.end(run_id)
        await ended(runs, run_id, "Succeeded")


async def test_a_job_that_was_started_is_not_started_again(shop):
    run_id = await left_behind(shop)
    shop.engine.jobs[run_id] = job(run_id)  # starting it twice fails the fake engine
    async with shop.open() as runs:
        shop.engine.begin(run_id)
        shop.engine.end(run_id)
        await ended(runs, run_id, "Succeeded")


async def test_runs_are_adopted_at_any_time(shop):
    async with shop.open() as runs:
        run = (await runs.create(wanted(), 0)).run
        await shop.engine.wait_started(run.id)
    async with shop.open():
        shop.engine.begin(run.id)
        await trio.testing.wait_all_tasks_blocked()
    async with shop.open() as runs:
        shop.engine.end(run.id, "Failed", reason="Main exited with code 2")
        assert (await ended(runs, run.id, "Failed")).status_reason == "Main exited with code 2"


async def test_a_running_job_that_the_engine_has_lost(shop):
    run_id = await left_behind(shop, "Running")
    async with shop.open() as runs:
        last = await ended(runs, run_id, "Failed")
    assert last.status_reason == "the engine lost the run"
    assert (await shop.store.open(last.job.buffers["out"])).end() == "failed"


@pytest.mark.parametrize("status", ["Pending", "Running"])
async def test_a_run_whose_engine_is_not_configured_waits_for_it(shop, status):
    run_id = await left_behind(shop, status)
    shop.engine.jobs[run_id] = job(run_id)
    shop.engine.out_of_reach = "its engine is not there"
    async with shop.open() as runs:
        assert await waiting(runs, run_id) == (status, "its engine is not there")
        assert (await shop.store.open((await runs.get(run_id)).job.buffers["out"])).end() is None
    shop.engine.out_of_reach = None
    async with shop.open() as runs:
        shop.engine.begin(run_id)
        with trio.fail_after(120):
            while (await row(shop, run_id)).status_reason is not None:
                await trio.lowlevel.checkpoint()
        shop.engine.end(run_id)
        await ended(runs, run_id, "Succeeded")


@pytest.mark.parametrize(
    ("status", "end", "reason"),
    [
        ("Pending", "Canceled", "Run exceeded its timeout while pending: its engine is not there"),
        ("Running", "Failed", "nobody knows how it ended: its engine is not there"),
    ],
)
async def test_a_run_whose_engine_does_not_come_back_in_its_time(shop, status, end, reason):
    run_id = await left_behind(shop, status, created_at=0)
    shop.engine.jobs[run_id] = job(run_id)
    shop.engine.out_of_reach = "its engine is not there"
    async with shop.open() as runs:
        last = await ended(runs, run_id, end)
    assert (last.status_reason, shop.engine.removed) == (reason, [run_id])
    assert (await shop.store.open(last.job.buffers["out"])).end() == "failed"


async def test_a_run_that_is_cancelled_while_its_engine_is_not_configured(shop):
    """One that was not started is over at once, another when the engine is back."""
    shop.engine.out_of_reach = "its engine is not there"
    unstarted, started = [await left_behind(shop, "Pending") for _ in range(2)]
    shop.engine.jobs[started] = job(started)
    async with shop.open() as runs:
        for run_id in (unstarted, started):
            await waiting(runs, run_id)
            await runs.cancel(run_id)
        with trio.fail_after(120):
            while not (await row(shop, unstarted)).final:
                await trio.lowlevel.checkpoint()
    assert (await row(shop, started)).final is False
    shop.engine.out_of_reach = None
    async with shop.open() as runs:
        await ended(runs, started, "Canceled")


async def test_news_for_which_the_disk_has_no_room_is_no_end_of_a_run(shop, monkeypatch, caplog):
    run_id = await left_behind(shop)
    shop.engine.jobs[run_id] = job(run_id)
    honest, refused = shop.catalog.write, trio.Event()

    async def write(*arguments, **more):
        if not refused.is_set():
            refused.set()
            raise errors.Problem(errors.STORAGE_FULL, "no room")
        return await honest(*arguments, **more)

    shop.engine.tell(run_id, "Pending", reason="old")
    monkeypatch.setattr(shop.catalog, "write", write)
    async with shop.open() as runs:
        with trio.fail_after(120):
            await refused.wait()
            shop.engine.tell(run_id, "Pending", reason="old")
            assert await waiting(runs, run_id) == ("Pending", "old")
    assert "what becomes of it is not kept: no room" in caplog.text


async def test_news_of_many_runs_keep_no_other_write_waiting(shop):
    several_runs = [await left_behind(shop) for _ in range(20)]
    shop.engine.jobs |= {run_id: job(run_id) for run_id in several_runs}
    held, release = threading.Event(), threading.Event()

    def hold(_):
        held.set()
        assert release.wait(60)

    def said(connection):
        return [queries.get_run(connection, run_id).status_reason for run_id in several_runs]

    def tell(reason):
        for run_id in several_runs:
            shop.engine.tell(run_id, "Pending", reason=reason)

    seen = []

    async def look():
        seen.extend(await shop.catalog.write(said))

    tell("old")
    async with shop.open(), trio.open_nursery() as nursery:
        with trio.fail_after(120):
            while set(await shop.catalog.read(said)) != {"old"}:
                await trio.lowlevel.checkpoint()
        nursery.start_soon(shop.catalog.write, hold)
        try:
            await trio.to_thread.run_sync(held.wait, 60)
            tell("news")
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(look)
            await trio.testing.wait_all_tasks_blocked()
        finally:
            release.set()
    assert seen.count("news") <= 1


async def waiting(runs, run_id):
    """The status and the reason of a run, once it says why nothing becomes of it."""
    with trio.fail_after(120):
        while (run := await runs.get(run_id)).status_reason is None:
            await trio.lowlevel.checkpoint()
    return run.status, run.status_reason


async def test_a_cancellation_that_never_reached_the_engine(shop):
    run_id = await left_behind(shop, "Canceled", status_reason="Canceled by user")
    shop.engine.jobs[run_id] = job(run_id)
    async with shop.open() as runs:
        await ended(runs, run_id, "Canceled")
    assert shop.engine.cancelled == [(run_id, "Canceled by user")]


async def test_an_archive_is_not_written_twice(shop):
    """Killed between the archive and the row's last mark: the engine may have forgotten the log already."""
    run_id = await left_behind(shop, "Succeeded", logs_archived_at=7)
    directory = supervise.make_log_directory(shop.path)
    with open(logs.archive_path(directory, run_id), "wb") as file:
        file.write(b"precious")
    async with shop.open() as runs:
        await ended(runs, run_id, "Succeeded")
    with open(logs.archive_path(directory, run_id), "rb") as file:
        assert file.read() == b"precious"
    assert (await row(shop, run_id)).final


async def test_outputs_of_a_run_that_succeeded_are_left_alone(shop):
    run_id = await left_behind(shop, "Succeeded")
    async with shop.open() as runs:
        last = await ended(runs, run_id, "Succeeded")
    assert (await shop.store.open(last.job.buffers["out"])).end() is None


async def test_a_final_run_is_left_alone(shop):
    await left_behind(shop, "Failed", final=True)
    async with shop.open() as runs:
        assert runs.unfinished() == 0


async def test_a_step_that_fails_is_tried_again(shop):
    async with shop.open() as runs:
        run = (await runs.create(wanted(), 0)).run
        await shop.engine.wait_started(run.id)
        archives = os.path.join(shop.path, "logs")
        os.rename(archives, archives + ".away")
        shop.engine.end(run.id)
        while (await runs.get(run.id)).status != "Succeeded":
            await trio.lowlevel.checkpoint()
        os.rename(archives + ".away", archives)
        await ended(runs, run.id, "Succeeded")
        assert (await row(shop, run.id)).final


async def test_a_run_whose_time_was_over_before_it_was_started(shop):
    """The daemon was away, say: nothing is started any more."""
    run_id = await left_behind(shop, created_at=NOW - 43_200_000_000)
    async with shop.open() as runs:
        run = await ended(runs, run_id, "Canceled")
    assert run.status_reason == "Run exceeded its timeout while pending"
    assert run.started_at is None
    assert run.finished_at is not None
    assert (shop.engine.jobs, shop.engine.removed) == ({}, [run_id])


@pytest.mark.parametrize("begun", [True, False])
async def test_a_run_whose_time_is_over_while_it_is_started(shop, begun):
    """An engine that hangs: whatever it has done by then is cancelled."""
    run_id = await left_behind(shop, created_at=units.to_micros(clock.now()) - 43_199_900_000)
    shop.engine.hold_start = trio.Event()
    if begun:
        shop.engine.knows = lambda run: knows(shop, run)

    async def knows(shop, run):
        asked.append(run)
        if len(asked) > 1:
            shop.engine.jobs[run] = job(run)
        return len(asked) > 1

    asked = []
    async with shop.open() as runs:
        run = await ended(runs, run_id, "Canceled")
    assert run.status_reason == "Run exceeded its timeout while pending"
    assert shop.engine.cancelled == ([(run_id, run.status_reason)] if begun else [])


async def test_what_is_learnt_of_image_and_replicas(shop):
    async with shop.open() as runs:
        made = (await runs.create(wanted(), 0)).run
        await shop.engine.wait_started(made.id)
        seen = []

        async def note(run):
            seen.append((run.status, run.running_count, run.image_digest))
            shop.engine.tell(made.id, "Running", running_count=len(seen), image_digest="sha256:1")
            if len(seen) == 3:
                shop.engine.end(made.id)

        with trio.fail_after(120):
            await runs.watch(made.id, note)
    assert seen == [
        ("Pending", None, None),
        ("Running", 1, "sha256:1"),
        ("Running", 2, "sha256:1"),
        ("Succeeded", None, "sha256:1"),
    ]


async def test_replicas_are_not_counted_in_a_run_that_is_cancelled(shop):
    """Nothing changes in what has ended, not even in its ETag."""
    async with shop.open() as runs:
        made = (await runs.create(wanted(), 0)).run
        await shop.engine.wait_started(made.id)

        async def note(run):
            if run.running_count is None:
                shop.engine.tell(made.id, "Running", running_count=3)
            else:
                told.append(await runs.cancel(made.id))

        told = []
        with trio.fail_after(120):
            await runs.watch(made.id, note)
        await ended(runs, made.id, "Canceled")
        assert [(run.status, run.running_count) for run in told] == [("Canceled", None)]
        assert (await runs.get(made.id)).e_tag == told[0].e_tag


async def test_a_pending_run_says_what_it_waits_for(shop):
    async with shop.open() as runs:
        made = (await runs.create(wanted(), 0)).run
        await shop.engine.wait_started(made.id)
        seen = []
        reasons = iter(["Unschedulable: no node", "Unschedulable: two nodes", None])

        async def note(run):
            seen.append((run.status, run.status_reason))
            if (reason := next(reasons, "")) != "":
                shop.engine.tell(made.id, "Pending" if reason else "Running", reason=reason)
            else:
                shop.engine.end(made.id)

        with trio.fail_after(120):
            await runs.watch(made.id, note)
    assert seen == [
        ("Pending", None),
        ("Pending", "Unschedulable: no node"),
        ("Pending", "Unschedulable: two nodes"),
        ("Running", None),
        ("Succeeded", None),
    ]


async def test_a_job_is_all_that_was_asked_for(shop):
    where = site.Site(("Lab",), (site.Pool("j", gpu=False), site.Pool("w", gpu=False)))
    shop.engine.traits = base.Traits("fake", workers=True, replicas=True, site=where)
    worker = model.WorkerTarget(
        codespec=model.WorkerCodespec(image="w", endpoints={"a": 1}), replicas=2, node_pool="w"
    )
    asked = {
        "cluster": "lab",
        "job": {"replicas": 3, "node_pool": "j"},
        "timeout_seconds": 7,
        "buffer_access_ttl": "00:02:00",
    }
    async with shop.open() as runs:
        made = (await runs.create(wanted(worker=worker, **asked), 0)).run
        await shop.engine.wait_started(made.id)
        found = shop.engine.jobs[made.id]
        shop.engine.end(made.id)
    assert (found.replicas, found.engine, found.timeout_seconds) == (3, "fake", 7)
    assert found.worker == base.Worker(codespec=worker.codespec, replicas=2, node_pool="w")
    assert (made.cluster, (await row(shop, made.id)).body.count('"cluster":"Lab"')) == ("Lab", 1)
    assert (found.node_pool, found.access_ttl) == ("j", 120.0)
    assert found.created_at == units.to_micros(units.parse_timestamp(made.created_at))

"""Runs over restarts of the daemon: each step is taken up where the last daemon left it."""

from __future__ import annotations

import os

import trio
import trio.testing

from tests.unit.runs.conftest import ended, wanted
from tygerd.catalog import runs as queries
from tygerd.runs import logs, supervise


async def left_behind(shop, status="Pending", **columns) -> int:
    """A row as a killed daemon left it, with an output buffer."""
    (buffer,) = await shop.buffers.create_many([{}], 0)
    run = wanted(outputs=["out"], buffers={"out": buffer.id})

    def insert(connection):
        body = supervise.resource.encode(
            supervise.resource.normalized(run, run.job.codespec, run.job.buffers)
        )
        run_id = queries.insert_run(connection, body, {}, 0, 5, owner="o", status=status)
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
        run = await runs.create(wanted(), 0)
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
        run = await runs.create(wanted(), 0)
        await shop.engine.wait_started(run.id)
        archives = os.path.join(shop.path, "logs")
        os.rename(archives, archives + ".away")
        shop.engine.end(run.id)
        while (await runs.get(run.id)).status != "Succeeded":
            await trio.lowlevel.checkpoint()
        os.rename(archives + ".away", archives)
        await ended(runs, run.id, "Succeeded")
        assert (await row(shop, run.id)).final

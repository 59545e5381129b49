"""The directories of runs: how they are made and removed. What is executed is the engines' own affair."""

from __future__ import annotations

import os

import pytest
import trio

from tyger import errors, model
from tygerd.engines import base
from tygerd.engines.supervised import engine, spawn
from tygerd.supervisor import spec

JOB = base.Job(run=1, codespec=model.JobCodespec(image="i"), buffers={}, created_at=0, timeout_seconds=1)


class Nothing(engine.SupervisedEngine):
    """Its runs consist of nothing; its supervisor says that it is ready."""

    def _spec(self, _directory, job):
        return spec.Spec(run=job.run, mains=(), daemon_socket="/s")


def make(tmp_path):
    return Nothing(str(tmp_path / "runs"), spawn.Supervisors(lambda _: ["echo", "ready"]))


async def test_a_run_is_known_by_its_directory(tmp_path):
    made = make(tmp_path)
    assert not made.has(1)
    async with trio.open_nursery() as nursery:
        await nursery.start(made.run)
        await made.start(JOB)
        nursery.cancel_scope.cancel()
    assert made.has(1)
    assert not await made.knows(1)
    assert made.log_path(1) == str(tmp_path / "runs" / "1" / "log")
    assert spec.read_spec(str(tmp_path / "runs" / "1")).run == 1
    (tmp_path / "runs" / "1" / spec.LOCK).touch()
    assert await made.knows(1)


async def test_what_is_removed_is_gone_whatever_its_modes(tmp_path):
    made = make(tmp_path)
    work = tmp_path / "runs" / "1" / "work"
    (work / "deep").mkdir(parents=True)
    (work / "deep" / "file").touch()
    (work / "deep").chmod(0)
    work.chmod(0)
    await made.remove(1)
    assert not (tmp_path / "runs" / "1").exists()
    await made.remove(1)


async def test_what_a_supervisor_complained_of_is_in_the_log_before_it_goes(tmp_path, caplog):
    made = make(tmp_path)
    run = tmp_path / "runs" / "1"
    for words in ("", "Traceback: 1"):
        run.mkdir(parents=True)
        (run / spec.ERRORS).write_text(words)
        await made.remove(1)
    run.mkdir()
    os.mkfifo(run / spec.ERRORS)  # by a job: nobody ever writes
    await made.remove(1)
    assert [record.message for record in caplog.records] == [
        "the supervisor of run 1 has met a defect of ours: Traceback: 1"
    ]


async def test_what_its_supervisor_takes_away_meanwhile_holds_nothing_up(tmp_path):
    made = make(tmp_path)
    run = tmp_path / "runs" / "1"
    run.mkdir(parents=True)
    files = [run / f"{number:04}" for number in range(2000)]
    for file in files:
        file.touch()

    def take_away():
        for file in files:
            file.unlink(missing_ok=True)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, take_away)
        await made.remove(1)
    assert not run.exists()


async def test_a_disk_that_takes_no_run(tmp_path):
    made = make(tmp_path)
    (tmp_path / "runs").touch()
    with pytest.raises(errors.Problem, match="cannot prepare the run"):
        await made.start(JOB)

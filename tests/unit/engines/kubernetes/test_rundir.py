"""What a run's directory remembers."""

from __future__ import annotations

import os

import msgspec
import pytest

from tests.unit.engines.kubernetes import pods
from tygerd.engines import base
from tygerd.engines.kubernetes import objects, rundir

END = base.Observation(status="Failed", reason="x", started_at=1, finished_at=2, incomplete=("out",))


@pytest.fixture(params=[False, True])
def directory(request, tmp_path):
    return rundir.RunDirectory(str(tmp_path / "7"), sync=request.param)


def record(**more):
    job = pods.job(**more)
    made = objects.compose(job, pods.place())
    return rundir.Record(namespace="ns", installation=pods.INSTALLATION, job=job, objects=made)


def test_a_run_is_remembered_as_it_was(directory):
    wanted = record(inputs=["in"], outputs=["out"], worker=pods.worker(2, endpoints={"a": 1}), env={"A": "b"})
    assert not directory.exists
    directory.start(wanted)
    assert (directory.exists, directory.was_started) == (True, True)
    assert directory.record() == wanted


def test_a_run_that_was_never_started(directory):
    with pytest.raises(base.NeverStarted):
        directory.record()
    directory.cancel("x")
    assert (directory.cancelled(), directory.end(), directory.exists) == (None, None, False)


def test_another_version_is_refused(directory, tmp_path):
    directory.start(msgspec.structs.replace(record(), version=2))
    with pytest.raises(ValueError, match="has version 2, and this daemon knows 1"):
        directory.record()


def test_the_first_reason_to_cancel_counts_and_none_after_the_end(directory):
    directory.start(record())
    directory.cancel("first")
    directory.cancel("second")
    assert directory.cancelled() == "first"


def test_what_has_ended_is_not_cancelled(directory):
    directory.start(record())
    directory.note_end(END)
    directory.cancel("late")
    assert (directory.cancelled(), directory.end()) == (None, END)


def test_verdicts_and_marks(directory):
    directory.start(record())
    assert (directory.verdict(), directory.was_begun, directory.was_created) == (None, False, False)
    directory.note_begun()
    assert directory.was_begun
    directory.note_verdict(END)
    directory.note_created()
    assert (directory.verdict(), directory.was_created, directory.end()) == (END, True, None)
    assert not directory.was_cleaned
    directory.note_cleaned()
    assert directory.was_cleaned


def test_who_is_killed_while_forgetting_begins_nothing_anew(directory, monkeypatch):
    directory.start(record())
    directory.note_end(END)
    states, unlink = [], os.unlink

    def watched(path):
        unlink(path)
        states.append((directory.was_started, directory.end()))

    monkeypatch.setattr(os, "unlink", watched)
    directory.remove()
    assert states[:2] == [(False, END), (False, None)]


def test_forgetting(directory):
    directory.remove()
    directory.start(record())
    directory.note_end(END)
    directory.remove()
    assert not directory.exists
    directory.note_cleaned()
    assert not directory.exists

"""What is refused before there is a run."""

from __future__ import annotations

import re

import pytest

from tests.unit.runs.conftest import wanted
from tyger import errors, model
from tygerd.engines import base
from tygerd.runs import submit

NOTHING = base.Traits(name="process")


def refusal(run: model.Run) -> str:
    with pytest.raises(errors.Problem) as caught:
        submit.check(run, NOTHING)
    assert caught.value.kind is errors.INVALID_INPUT
    return caught.value.message


def test_what_is_refused_by_name():
    worker = model.WorkerTarget(codespec="x")
    assert refusal(wanted(worker=worker)) == "Runs with workers are only supported on Kubernetes"
    assert "replicas" in refusal(wanted(job={"replicas": 2}))
    assert "'in' is '_'" in refusal(wanted(inputs=["in"], buffers={"in": "_"}))


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (wanted(kind="system"), "System runs cannot be created directly"),
        (wanted(tags={"a b": "c"}), "Tag keys must contain"),
        (wanted(job={"buffer_ttl": "x"}), "Error deserializing input: invalid time span 'x'"),
        (wanted(buffer_access_ttl="24:00"), "Error deserializing input: invalid time span '24:00'"),
    ],
)
def test_what_no_server_takes(run, message):
    with pytest.raises(errors.Problem) as caught:
        submit.check_form(run)
    assert caught.value.message.startswith(message)


def test_lives_of_access_urls():
    for good in (None, "00:00:30", "01:00"):
        submit.check_access(wanted(buffer_access_ttl=good), with_buffers=True)
    submit.check_access(wanted(buffer_access_ttl="1"), with_buffers=False)
    with pytest.raises(errors.Problem, match="Access TTL must be at least 30 seconds"):
        submit.check_access(wanted(buffer_access_ttl="00:00:29.9"), with_buffers=True)


def test_ephemeral_buffers_get_an_id():
    made = submit.started({"a": "_", "b": "_", "c": "id"})
    assert made["c"] == "id"
    assert made["a"] != made["b"]
    assert re.fullmatch("temp-[a-z2-7]{26}", made["a"])


def test_what_is_fine():
    submit.check(wanted(job={"replicas": 1}, tags={"a": "b"}, kind="user"), NOTHING)
    able = base.Traits("k", workers=True, sockets=True, gpu=True, replicas=True, ephemeral_buffers=True)
    worker = model.WorkerTarget(codespec="x")
    submit.check(wanted(worker=worker, job={"replicas": 2}, buffers={"in": "_"}, inputs=["in"]), able)


def job(**more):
    return model.JobCodespec(image="x", **more)


@pytest.mark.parametrize(
    ("codespec", "word"),
    [
        (model.WorkerCodespec(image="x"), "worker"),
        (job(sockets=[model.Socket(port=80)]), "sockets"),
        (job(resources=model.Resources(gpu="1")), "gpu"),
    ],
)
def test_codespecs_that_this_engine_cannot_run(codespec, word):
    with pytest.raises(errors.Problem, match=word):
        submit.job_codespec(codespec, NOTHING)


@pytest.mark.parametrize("gpu", [None, "0", 0])
def test_no_gpu_is_no_gpu(gpu):
    codespec = job(resources=model.Resources(gpu=gpu))
    assert submit.job_codespec(codespec, NOTHING) is codespec


def test_arguments():
    codespec = job(buffers=model.BufferParameters(inputs=["a", "b"], outputs=["c"]))
    given, missing = submit.arguments(wanted(buffers={"b": "id"}), codespec)
    assert (given, missing) == ({"b": "id"}, ["a", "c"])
    assert submit.arguments(wanted(), job()) == ({}, [])


def test_an_argument_without_a_parameter():
    with pytest.raises(errors.Problem) as caught:
        submit.arguments(wanted(buffers={"B": "id"}), job(buffers=model.BufferParameters(inputs=["b"])))
    text = "Buffer argument '[B, id]' does not correspond to a buffer parameter on the codespec"
    assert caught.value.message == text

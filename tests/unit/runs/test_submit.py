"""What is refused before there is a run."""

from __future__ import annotations

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
    assert refusal(wanted(kind="system")) == "System runs cannot be created directly"
    worker = model.WorkerTarget(codespec="x")
    assert refusal(wanted(worker=worker)) == "Runs with workers are only supported on Kubernetes"
    assert "replicas" in refusal(wanted(job={"replicas": 2}))
    assert "'in' is '_'" in refusal(wanted(inputs=["in"], buffers={"in": "_"}))
    assert "Tag keys" in refusal(wanted(tags={"a b": "c"}))
    assert "Tag values" in refusal(wanted(job={"tags": {"a": "ü"}}))


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

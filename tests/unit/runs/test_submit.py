"""What is refused before there is a run."""

from __future__ import annotations

import re

import pytest

from tests.unit.runs.conftest import wanted
from tyger import errors, model
from tygerd.engines import base, site
from tygerd.runs import submit

NOTHING = base.Traits(name="process")


def refusal(run: model.Run) -> str:
    with pytest.raises(errors.Problem) as caught:
        submit.check(run, NOTHING)
    assert caught.value.kind is errors.INVALID_INPUT
    return caught.value.message


SITE = site.Site(("lab",), (site.Pool("cpunp", gpu=False), site.Pool("gpunp", gpu=True)))


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ({"cluster": "x"}, "Unknown cluster 'x'. Valid options are: 'lab'."),
        ({"job": {"node_pool": "x"}}, "Unknown nodepool 'x'. Valid options are: 'cpunp', 'gpunp'."),
        ({"worker": "x"}, "Unknown nodepool 'x'. Valid options are: 'cpunp', 'gpunp'."),
    ],
)
def test_places_that_an_engine_does_not_have(where, said):
    if "worker" in where:
        target = model.WorkerTarget(codespec=model.WorkerCodespec(image="w"), node_pool=where["worker"])
        where = {"worker": target}
    run = wanted(**where)
    with pytest.raises(errors.Problem) as caught:
        submit.check(run, base.Traits("kubernetes", workers=True, site=SITE))
    assert caught.value.message == said
    submit.check(run, base.Traits("container", workers=True))


def test_a_pool_without_gpus():
    traits = base.Traits("kubernetes", gpu=True, site=SITE)
    codespec = model.JobCodespec(image="i", resources=model.Resources(gpu="1"))
    submit.check_pools(wanted(job={"node_pool": "GpuNP"}), codespec, None, traits)
    with pytest.raises(errors.Problem, match="Nodepool 'CPUnp' does not have GPUs"):
        submit.check_pools(wanted(job={"node_pool": "CPUnp"}), codespec, None, traits)
    submit.check_pools(wanted(job={"node_pool": "x"}), codespec, None, base.Traits("container"))


def test_what_is_refused_by_name():
    target = model.WorkerTarget(codespec="x")
    assert refusal(wanted(worker=target)) == "Runs with workers are only supported on Kubernetes"
    said = refusal(wanted(job={"replicas": 2}))
    assert said == "replicas: the process engine runs one replica of a job, not 2"
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
    target = model.WorkerTarget(codespec="x", replicas=3)
    submit.check(wanted(worker=target, job={"replicas": 2}, buffers={"in": "_"}, inputs=["in"]), able)


def job(**more):
    return model.JobCodespec(image="x", **more)


def worker(**more):
    return model.WorkerCodespec(image="x", **more)


GPU = model.Resources(gpu="1")


def limited(**amounts):
    return model.Resources(limits=model.Overcommittable(**amounts))


@pytest.mark.parametrize(
    ("codespec", "beside", "traits", "word"),
    [
        (job(sockets=[model.Socket(port=80)]), None, NOTHING, "sockets are not supported by the process"),
        (job(resources=GPU), None, NOTHING, "gpu: the process engine gives no GPU"),
        (job(), worker(resources=GPU), NOTHING, "gpu: the process engine gives no GPU"),
        (job(resources=GPU), None, base.Traits("c", docker=True), "does not have the NVIDIA runtime"),
        (
            job(resources=limited(cpu="1")),
            None,
            NOTHING,
            "limits: the process engine does not limit a job's cpu",
        ),
        (job(), worker(resources=limited(memory="1Gi")), NOTHING, "leave resources.limits.memory out"),
    ],
)
def test_codespecs_that_this_engine_cannot_run(codespec, beside, traits, word):
    with pytest.raises(errors.Problem, match=word):
        submit.check_codespecs(codespec, beside, traits)


@pytest.mark.parametrize("gpu", [None, "0", 0])
def test_no_gpu_is_no_gpu(gpu):
    submit.check_codespecs(job(resources=model.Resources(gpu=gpu)), None, NOTHING)
    submit.check_codespecs(job(), worker(resources=GPU), base.Traits("g", gpu=True))


@pytest.mark.parametrize("amounts", [{}, {"cpu": "0", "memory": 0}])
def test_no_limits_are_no_limits(amounts):
    submit.check_codespecs(job(resources=limited(**amounts)), None, NOTHING)
    asked = model.Resources(requests=model.Overcommittable(cpu="1", memory="1Gi"))
    submit.check_codespecs(job(resources=asked), worker(), NOTHING)
    submit.check_codespecs(job(resources=limited(cpu="1")), None, base.Traits("l", limits=True))


def test_a_codespec_is_of_the_kind_that_its_place_asks_for():
    assert (submit.job_codespec(job()), submit.worker_codespec(worker())) == (job(), worker())
    with pytest.raises(errors.Problem, match="of kind 'worker'; a job needs one of kind 'job'"):
        submit.job_codespec(worker())
    with pytest.raises(errors.Problem, match="of kind 'job'; a worker needs one of kind 'worker'"):
        submit.worker_codespec(job())


def test_images_that_could_be_pulled():
    submit.check_pull(base.Traits("c", pull=True))
    with pytest.raises(errors.Problem, match="the process engine has no images that could be pulled"):
        submit.check_pull(NOTHING)


@pytest.mark.parametrize("wrong", [0, -1, 101, 2**31 - 1])
def test_numbers_of_replicas_that_make_no_sense(wrong):
    for run in (
        wanted(job={"replicas": wrong}),
        wanted(worker=model.WorkerTarget(codespec="x", replicas=wrong)),
    ):
        with pytest.raises(errors.Problem, match=rf"replicas must be between 1 and 100, not {wrong}"):
            submit.check_form(run)


def test_buffers_that_several_replicas_cannot_share():
    def check(replicas, **more):
        run = wanted(job={"replicas": replicas}, **more)
        submit.check_replicas(run, run.job.codespec)

    check(1, outputs=["out"])
    check(2, inputs=["in"], buffers={"in": "id"})
    with pytest.raises(errors.Problem, match="all 2 replicas would write the output 'out', and only one"):
        check(2, outputs=["out"])
    with pytest.raises(errors.Problem, match="would read the ephemeral buffer 'in', which can be read once"):
        check(2, inputs=["in"], buffers={"in": "_"})
    with pytest.raises(errors.Problem, match="a job with sockets has one replica, not 3"):
        submit.check_replicas(wanted(job={"replicas": 3}), job(sockets=[model.Socket(port=80)]))


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

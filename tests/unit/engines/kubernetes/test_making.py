"""Creating a run's objects and taking them away, with trouble in between."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.engines.kubernetes import fakecluster, pods
from tyger import errors
from tygerd.engines.kubernetes import making, objects, refusals, rundir

JOB0, JOB1, SECRET, WORKER = (f"run-7-01234567-{part}" for part in ("job-0", "job-1", "job", "worker"))


def record(**more):
    job = pods.job(**more)
    made = objects.compose(job, pods.place())
    return rundir.Record(namespace="ns", installation=pods.INSTALLATION, job=job, objects=made)


async def urls(job):
    return {name: f"https://{name}" for name in (*job.inputs, *job.outputs)}


@pytest.fixture
def cluster():
    return fakecluster.FakeCluster()


def maker(cluster, run, urls=urls, *, ready=True):
    stop, workers_ready = trio.Event(), trio.Event()
    if ready:
        workers_ready.set()
    return making.Maker(cluster, run, urls, stop, workers_ready), stop, workers_ready


async def make(cluster, run):
    made, _, _ = maker(cluster, run)
    await made.make()
    return made


async def test_a_run_is_a_secret_that_owns_its_pods(cluster):
    made = await make(cluster, record(inputs=["in"], replicas=2))
    assert cluster.names("Secret") == [SECRET]
    assert cluster.names("Pod") == [JOB0, JOB1]
    secret = cluster.objects["Secret", SECRET]
    assert secret["stringData"] == {"in": "https://in"}
    for name in (JOB0, JOB1):
        (owner,) = cluster.objects["Pod", name]["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"]) == ("Secret", secret["metadata"]["uid"])
    assert (made.owner_is_there.is_set(), made.adopted) == (True, False)


async def test_a_jobs_pods_wait_for_its_workers(cluster, autojump_clock):
    run = record(worker=pods.worker(2))
    made, _, workers_ready = maker(cluster, run, ready=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.make)
        await trio.testing.wait_all_tasks_blocked()
        assert (cluster.names("Service"), cluster.names("StatefulSet")) == ([WORKER], [WORKER])
        assert cluster.names("Pod") == []
        workers_ready.set()
    assert cluster.names("Pod") == [JOB0]


async def test_what_is_not_wanted_any_more_is_not_created(cluster, autojump_clock):
    made, stop, _ = maker(cluster, record(worker=pods.worker()), ready=False)
    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:

            async def given_up():
                with pytest.raises(BaseExceptionGroup) as caught:
                    await made.make()
                assert isinstance(making.first(caught.value), making.GivenUp)

            nursery.start_soon(given_up)
            await trio.testing.wait_all_tasks_blocked()
            stop.set()
    assert cluster.names("Pod") == []


TROUBLE = st.lists(st.sampled_from(["", "before", "after"]), max_size=12)


@pods.PATIENT
@given(TROUBLE, st.integers(1, 3), st.integers(0, 2))
def test_trouble_makes_no_difference(trouble, replicas, workers):
    """Whatever fails, and whether or not it had its effect: each object is there once."""
    run = record(inputs=["in"], replicas=replicas, worker=pods.worker(workers) if workers else None)
    calm, rough = fakecluster.FakeCluster(), fakecluster.FakeCluster()

    async def both():
        await make(calm, run)
        made, _, _ = maker(rough, run)
        plan = iter(trouble)
        begin = rough._begin

        async def troubled(*call):
            step = next(plan, "")
            if step == "before":
                rough.trouble.append(refusals.Transient("away", status=503, retry_after=0.01))
            await begin(*call)
            if step == "after" and call[0] == "create":
                rough.later.append(refusals.Transient("cut"))

        rough._begin = troubled
        await made.make()

    trio.run(both, clock=trio.testing.MockClock(autojump_threshold=0))
    assert rough.objects.keys() == calm.objects.keys()


async def test_what_another_daemon_has_created_is_taken_over(cluster):
    run = record()
    await make(cluster, run)
    made = await make(cluster, run)
    assert made.adopted
    assert cluster.names("Pod") == [JOB0]


async def test_what_is_somebody_elses_is_refused_by_name(cluster):
    run = record()
    await cluster.create({**run.objects.secret, "metadata": {"name": SECRET, "labels": {"tyger-run": "7"}}})
    with pytest.raises(refusals.Refused, match=f"there is a Secret {SECRET} in the namespace ns already"):
        await make(cluster, run)


@pytest.mark.parametrize(
    "trouble",
    [refusals.Refused("exceeded quota: q", status=403), refusals.NoAccess("expired", status=401)],
)
async def test_what_the_cluster_refuses_is_told(cluster, trouble):
    cluster.trouble.append(trouble)
    with pytest.raises(refusals.Refused) as caught:
        await make(cluster, record())
    assert making.problem(caught.value) == str(trouble)


async def test_a_buffer_that_no_pod_can_reach(cluster):
    async def none(job):
        raise errors.Problem(errors.CONFIG, "set store.local.listen")

    made, _, _ = maker(cluster, record(inputs=["in"]), none)
    with pytest.raises(errors.Problem) as caught:
        await made.make()
    assert (making.problem(caught.value), cluster.objects) == ("set store.local.listen", {})


async def test_a_store_that_is_away_is_waited_for(cluster, autojump_clock):
    plan = [errors.Problem(errors.UNAVAILABLE, "the store is away")]

    async def later(job):
        if plan:
            raise plan.pop()
        return await urls(job)

    made, _, _ = maker(cluster, record(inputs=["in"]), later)
    await made.make()
    assert cluster.names("Pod") == [JOB0]


async def test_insisting_waits_longer_each_time_and_as_long_as_it_is_told(autojump_clock):
    plan = [refusals.Transient("a", retry_after=5.0), refusals.NoAccess("b"), refusals.Transient("c")]
    began = trio.current_time()

    async def call():
        if plan:
            raise plan.pop(0)
        return trio.current_time() - began

    assert await making.insist(call) == pytest.approx(5.0 + 0.5 + 1.0)


# --- taking it away ----------------------------------------------------------------------------------------


def seen(cluster):
    return {name: cluster.objects["Pod", name] for name in cluster.names("Pod")}


async def test_cleaning_leaves_nothing(cluster):
    run = record(inputs=["in"], replicas=2, worker=pods.worker())
    await make(cluster, run)
    cluster.status(JOB0, phase="Succeeded")
    await making.Remover(cluster, run, 3.0).clean(seen(cluster))
    assert cluster.objects == {}
    assert cluster.graces[JOB1] == 3.0
    assert JOB0 not in cluster.graces, "what has ended needs no grace"


async def test_a_pod_that_nobody_has_seen_yet_is_ended_too(cluster):
    run = record()
    await make(cluster, run)
    remover = making.Remover(cluster, run, 3.0)
    assert list(await remover.stop({})) == [JOB0]
    assert cluster.graces == {JOB0: 3.0}
    await remover.clean({})
    await remover.clean({})
    assert cluster.objects == {}


async def test_stopping_what_was_never_created(cluster):
    assert await making.Remover(cluster, record(), 3.0).stop({}) == {}


async def test_the_finalizers_of_others_stay(cluster):
    run = record()
    await make(cluster, run)
    cluster.objects["Pod", JOB0]["metadata"]["finalizers"].append("other/one")
    await making.let_go(cluster, cluster.objects["Pod", JOB0])
    assert cluster.objects["Pod", JOB0]["metadata"]["finalizers"] == ["other/one"]
    calls = len(cluster.calls)
    await making.let_go(cluster, cluster.objects["Pod", JOB0])
    assert len(cluster.calls) == calls
    await making.let_go(
        cluster, run.objects.pods[0] | {"metadata": {"name": JOB1, "finalizers": [objects.FINALIZER]}}
    )


async def test_what_others_have_under_our_names_stays(cluster):
    run = record(worker=pods.worker())
    made = run.objects
    for body in (made.secret, made.stateful_set, *made.pods):
        metadata = {"name": body["metadata"]["name"], "labels": {"tyger-run": "7"}}
        await cluster.create({**body, "metadata": metadata | {"finalizers": [objects.FINALIZER]}})
    before = dict(cluster.objects)
    remover = making.Remover(cluster, run, 3.0)
    assert await remover.stop({}) == {}
    await remover.clean({})
    assert cluster.objects == before
    assert {call[0] for call in cluster.calls} == {"create", "get"}

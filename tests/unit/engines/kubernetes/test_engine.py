"""The engine on a cluster in memory: what it says of itself, and what it remembers of its runs."""

from __future__ import annotations

import errno
import os
import threading

import pytest
import trio

from tests.unit.engines.kubernetes import fakecluster, pods, test_life
from tyger import errors, model, paths
from tygerd import config
from tygerd.engines import base
from tygerd.engines.kubernetes import api, engine, making, probing, refusals, rundir, secrets, watch

JOB0 = test_life.JOB0


@pytest.fixture
def cluster():
    return fakecluster.FakeCluster()


@pytest.fixture
def make(cluster, tmp_path, monkeypatch):
    """An engine; each is another daemon's. Its reflector is the fake cluster's own."""
    monkeypatch.setattr(watch, "Reflector", lambda *_: cluster.reflector)

    def made(text="[engine.kubernetes]\nnamespace = 'ns'\ncancel_grace = 1\n", kind=engine.KubernetesEngine):
        places = paths.Paths(system=False, socket="/s", state=str(tmp_path), config="/c")
        return kind(
            places,
            config.parse(text),
            installation=pods.INSTALLATION,
            urls=secrets.AccessUrls(test_life.sign),
            environ={},
            reach=lambda *_: cluster,
        )

    return made


async def nothing(_observation):
    """A report that nobody reads."""


async def ended(made, cluster, code=0):
    """A run from its start to its end."""
    async with trio.open_nursery() as nursery:
        await nursery.start(made.run)
        await made.start(pods.job(created_at=test_life.now()))
        results = []

        async def follow():
            results.append(await made.follow(7, nothing))
            nursery.cancel_scope.cancel()

        nursery.start_soon(follow)
        await cluster.until(lambda: ("Pod", JOB0) in cluster.objects)
        cluster.kubelet.ends(JOB0)
        cluster.kubelet.prints(JOB0, b"hello", at=test_life.NANOSECONDS)
        state = pods.status("main", pods.ended(code))
        cluster.shows(pods.pod("job-0", state, phase="Failed" if code else "Succeeded"))
    return results[0]


def test_what_it_can_do(make):
    traits = make().traits
    assert (traits.name, traits.workers, traits.gpu, traits.kubernetes) == ("kubernetes", True, True, True)
    pools = "[[engine.kubernetes.node_pools]]\nname = 'cpu'\n"
    assert make(pools).traits.gpu is False
    assert make(f"{pools}[[engine.kubernetes.node_pools]]\nname = 'gpu'\ngpu = true\n").traits.gpu is True


async def test_a_cluster_that_does_not_let_us_in(make, cluster):
    async def refused():
        raise refusals.NoAccess("who are you?", status=401)

    cluster.version = refused
    made = make()
    async with trio.open_nursery() as nursery:
        await nursery.start(made.run)
        with pytest.raises(errors.Problem, match=r"who are you\?"):
            await made.check(model.JobCodespec(image="i"))
        assert await made.unavailable() == "who are you?"
        nursery.cancel_scope.cancel()


async def test_whether_the_cluster_is_there_is_found_out_while_all_requests_are_taken(
    server, configure, tmp_path, monkeypatch
):
    monkeypatch.setattr(probing, "FIRST_SECONDS", 60.0)
    asked, answer = threading.Event(), threading.Event()

    def hold(_):
        asked.set()
        assert answer.wait(60)
        return {}

    server.answers["POST /api/v1/namespaces/runs/secrets"] = hold
    server.answers["GET /version"] = {"gitVersion": "v1"}
    reviews = "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    server.answers[reviews] = {"metadata": {}, "status": {"allowed": True}}
    apis = []

    def reach(*arguments):
        apis.append(api.Api(*arguments))
        return apis[-1]

    text = f"[engine.kubernetes]\nkubeconfig = '{configure({'token': 'good'})}'\nconnections = 1\n"
    made = engine.KubernetesEngine(
        paths.Paths(system=False, socket="/s", state=str(tmp_path), config="/c"),
        config.parse(text),
        installation=pods.INSTALLATION,
        urls=secrets.AccessUrls(test_life.sign),
        environ={},
        reach=reach,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(apis[0].create, {"kind": "Secret", "metadata": {"name": "s"}})
        await trio.to_thread.run_sync(asked.wait, 60)
        await nursery.start(made.run)
        try:
            assert await made.unavailable() is None
        finally:
            answer.set()
        nursery.cancel_scope.cancel()


async def test_what_is_refused_before_there_is_a_run(make):
    with pytest.raises(errors.Problem, match="is not the name of an image"):
        await make().check(model.JobCodespec(image="Not A Name"))
    with pytest.raises(errors.Problem, match="endpoints"):
        await make().check(model.JobCodespec(image="i"), model.WorkerCodespec(image="i", endpoints={"a": 0}))


async def test_a_run_is_remembered_until_it_is_removed(make, cluster):
    made = make()
    end = await ended(made, cluster, 3)
    assert (end.status, end.reason) == ("Failed", "Main exited with code 3")
    again = make()
    assert (await again.knows(7), again.has(7)) == (True, True)
    assert await again.follow(7, nothing) == end
    await again.cancel(7, "late")
    assert await again.follow(7, nothing) == end
    with open(again.log_path(7), "rb") as log:
        assert b"hello" in log.read()
    await again.remove(7)
    await again.remove(7)
    assert (await again.knows(7), again.has(7), cluster.objects) == (False, False, {})


async def test_a_run_is_not_removed_before_it_is_known_that_its_pods_are_gone(make, cluster):
    """As by a daemon that has just started."""
    await ended(make(), cluster, 3)
    synced, asked = trio.Event(), trio.Event()

    class Synced:
        async def wait(self):
            asked.set()
            await synced.wait()

    cluster.reflector.synced = Synced()
    again = make()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(again.remove, 7)
        await asked.wait()
        assert again.has(7)
        synced.set()
    assert (again.has(7), cluster.objects) == (False, {})


@pytest.mark.parametrize("verb", ["delete", "patch", "get"])
async def test_a_cluster_that_lets_nothing_be_taken_away_is_asked_again(make, cluster, monkeypatch, verb):
    """Rights can be taken, and given back: that is no end of the daemon."""
    monkeypatch.setattr(making, "FIRST_PAUSE", 0.001)
    begin, refused = cluster._begin, 0

    async def refuse(called, kind, name):
        nonlocal refused
        if called == verb and refused < 3:
            refused += 1
            raise refusals.Refused("forbidden", status=403, what=f"{called} the {kind} {name}")
        await begin(called, kind, name)

    cluster._begin = refuse
    made = make()
    end = await ended(made, cluster, 3)
    cluster.reflector.hides = True  # so that what is there has to be asked for
    await made.remove(7)
    assert (end.status, made.has(7), cluster.objects, refused) == ("Failed", False, {}, 3)


@pytest.mark.parametrize("followed", [True, False])
async def test_a_cancellation_that_a_full_disk_does_not_keep(make, monkeypatch, caplog, followed):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    made = make()
    await made.start(pods.job(created_at=test_life.now()))
    monkeypatch.setattr(rundir.RunDirectory, "cancel", full)
    ends = []

    async def follow():
        ends.append(await made.follow(7, nothing))

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            if followed:
                nursery.start_soon(follow)
                while 7 not in made._lives:
                    await trio.lowlevel.checkpoint()
            await made.cancel(7, "Canceled by user")
            if not followed:
                nursery.start_soon(follow)
    assert [(end.status, end.reason) for end in ends] == [("Canceled", "Canceled by user")]
    assert "No space left on device" in caplog.text


async def test_a_run_that_was_never_started(make):
    made = make()
    await made.cancel(7, "x")
    assert (await made.knows(7), made.has(7)) == (False, False)
    with pytest.raises(base.NeverStarted):
        await made.follow(7, nothing)


async def test_a_report_that_fails_is_what_following_raises(make, cluster):
    async def report(_observation):
        raise errors.Problem(errors.STORAGE_FULL, "no room")

    made = make()
    await made.start(pods.job(created_at=test_life.now()))

    async def show():
        await cluster.until(lambda: ("Pod", JOB0) in cluster.objects)
        cluster.shows(pods.pod("job-0", pods.status("main", pods.running())))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(show)
        with trio.fail_after(60), pytest.raises(errors.Problem, match="no room"):
            await made.follow(7, report)


async def test_a_run_waits_for_a_kubeconfig_that_is_gone(make, tmp_path, monkeypatch):
    """It is no end of the run, whose pods go on, nor of the daemon."""
    monkeypatch.setattr(engine, "PLACE_PAUSE", 0.001)
    await make().start(pods.job(created_at=test_life.now()))
    path = tmp_path / "kubeconfig"
    made = make(f"[engine.kubernetes]\nkubeconfig = '{path}'\n")
    await made.cancel(7, "Canceled by user")
    reasons, told, ends = [], trio.Event(), []

    async def report(observation):
        reasons.append(observation.reason)
        told.set()

    async def follow():
        ends.append(await made.follow(7, report))

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            await told.wait()
            path.write_text(
                "{current-context: x, clusters: [{name: c, cluster: {server: h}}],"
                " contexts: [{name: x, context: {cluster: c, namespace: ns}}]}"
            )
    assert reasons[0] == f"cannot read the kubeconfig {path}: No such file or directory"
    assert [end.status for end in ends] == ["Canceled"]


async def test_starting_asks_the_cluster_nothing(make, cluster):
    await make().start(pods.job())
    assert cluster.calls == []


async def test_what_cannot_be_composed_is_never_started(make):
    with pytest.raises(errors.Problem, match="Unknown nodepool 'x'"):
        await make().start(pods.job(node_pool="x"))
    assert not make().has(7)


async def test_a_run_that_never_got_into_the_cluster_needs_none(make, cluster):
    made = make()
    cluster.reflector.synced = trio.Event()
    await made.start(pods.job(created_at=test_life.now()))
    await made.cancel(7, "Canceled by user")
    end = await made.follow(7, nothing)
    await made.remove(7)
    assert ((end.status, end.reason), cluster.calls) == (("Canceled", "Canceled by user"), [])


async def test_another_namespace_is_not_looked_into(make):
    await make().start(pods.job())
    with pytest.raises(base.OutOfReach, match="its pods are in the namespace ns, and"):
        await make("[engine.kubernetes]\nnamespace = 'other'\n").follow(7, nothing)


async def test_a_daemon_without_a_cluster_keeps_the_runs_there(make, cluster):
    """They go on, or are cancelled, once it is configured again."""
    await make().start(pods.job(created_at=test_life.now()))
    former = make("", engine.Former)
    async with trio.open_nursery() as nursery:
        await nursery.start(former.run)
        assert (await former.knows(7), former.has(7)) == (True, True)
        with pytest.raises(base.OutOfReach, match="its engine kubernetes is not in the configuration"):
            await former.follow(7, nothing)
        await former.cancel(7, "Canceled by user")
    end = await make().follow(7, nothing)
    assert (end.status, end.reason) == ("Canceled", "Canceled by user")
    assert await former.follow(7, nothing) == end
    await former.remove(7)
    assert (former.has(7), cluster.calls) == (False, [])


async def test_a_record_that_is_broken_is_said_in_a_line(make, tmp_path):
    await make().start(pods.job())
    (tmp_path / "cluster/7/job.json").write_text("{")
    with pytest.raises(errors.Problem) as caught:
        await make().follow(7, nothing)
    assert caught.value.kind is errors.CORRUPT


async def test_what_no_run_has_is_swept_at_the_start(make, cluster):
    labels = {"tyger-installation": pods.INSTALLATION, "tyger-run": "9"}
    await cluster.create({"kind": "Secret", "metadata": {"name": "s", "labels": labels}})
    async with trio.open_nursery() as nursery:
        await nursery.start(make().run)
        await cluster.until(lambda: cluster.objects == {})
        nursery.cancel_scope.cancel()

"""The life of one run on a cluster in memory: to each of its ends, and over daemons that are killed."""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import os

import pytest
import trio
import trio.testing

from tests.unit.engines.kubernetes import fakecluster, pods
from tyger import errors, units
from tygerd import clock
from tygerd.engines import base
from tygerd.engines.kubernetes import life, logs, objects, refusals, rundir, secrets

JOB0, JOB1, WORKER0 = (f"run-7-01234567-{part}" for part in ("job-0", "job-1", "worker-0"))
NANOSECONDS = pods.T0 * 1000


def now():
    return units.to_micros(clock.now())


async def sign(buffer, writeable, ttl):
    return f"https://{buffer}?{writeable}"


class Bench:
    """A run's directory, and a cluster. Each `living` is another daemon's."""

    def __init__(self, path, **job):
        self.cluster = fakecluster.FakeCluster()
        self.directory = rundir.RunDirectory(path, sync=False)
        self.place = pods.place(cancel_grace=1)
        self.job = pods.job(**{"created_at": now()} | job)
        record = rundir.Record(
            namespace="ns",
            installation=pods.INSTALLATION,
            job=self.job,
            objects=objects.compose(self.job, self.place),
        )
        self.directory.start(record)
        self.reported = []
        self.turns = trio.Semaphore(1)
        self.living = None
        self.end = None

    async def report(self, observation):
        self.reported.append(observation)

    async def live(self):
        tools = life.Tools(
            self.cluster, self.cluster.reflector, self.place, secrets.AccessUrls(sign), self.turns
        )
        self.living = life.Life(tools, self.directory, self.directory.record(), self.report)
        with trio.fail_after(60):
            self.end = await self.living.to_its_end()
        return self.end

    @contextlib.asynccontextmanager
    async def alive(self):
        """It lives in the background until it has ended."""
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.live)
                yield nursery

    async def says(self, status, reason):
        """Until this was reported."""
        while (status, reason) not in [told(each) for each in self.reported]:
            await trio.lowlevel.checkpoint()

    async def created(self, name=JOB0):
        await self.cluster.until(lambda: ("Pod", name) in self.cluster.objects)

    def shows(self, state, part="job-0", **more):
        self.cluster.shows(pods.pod(part, pods.status("main", state), **more))

    def exits(self, code=0, part="job-0"):
        name = f"run-7-01234567-{part}"
        self.cluster.kubelet.prints(name, b"hello", at=NANOSECONDS)
        self.cluster.kubelet.ends(name)
        phase = "Failed" if code else "Succeeded"
        self.shows(pods.ended(code), part, phase=phase)


@pytest.fixture
def bench(tmp_path):
    return lambda **job: Bench(str(tmp_path / "7"), **job)


@pytest.fixture
def time_passes(monkeypatch):
    """`time_passes(ran)`: the time of a run is over."""

    def passes(ran):
        honest = clock.now
        monkeypatch.setattr(clock, "now", lambda: honest() + dt.timedelta(seconds=600))
        ran.living.wake()

    return passes


def told(end):
    return end.status, end.reason


@pytest.mark.parametrize("what", ["note_begun", "note_created", "note_verdict", "note_end"])
async def test_a_full_disk_is_waited_out(bench, monkeypatch, time_passes, what):
    monkeypatch.setattr(logs, "FULL_PAUSE", 0.001)
    honest, refused = getattr(rundir.RunDirectory, what), []

    def note(*arguments):
        if len(refused) < 3:
            refused.append(what)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return honest(*arguments)

    monkeypatch.setattr(rundir.RunDirectory, what, note)
    ran = bench()
    async with ran.alive():
        await ran.created()
        ran.shows(pods.running())
        await ran.says("Running", None)
        if what == "note_verdict":  # of a run that has to be stopped
            time_passes(ran)
            await ran.cluster.until(lambda: JOB0 in ran.cluster.graces)
        ran.exits(0)
    assert (len(refused), ran.end.status) == (3, "Failed" if what == "note_verdict" else "Succeeded")


async def test_a_run_that_cannot_be_stopped_ends_all_the_same(bench, time_passes, monkeypatch):
    """For want of a right. Its pods are taken away once that is there."""
    monkeypatch.setattr(life, "LAST_PAUSE", 0.1)
    ran = bench()

    async def refuse(*_, **more):
        raise refusals.Refused("forbidden", status=403, what="delete the pod")

    ran.cluster.delete = refuse
    async with ran.alive():
        await ran.created()
        ran.shows(pods.running())
        await ran.says("Running", None)
        time_passes(ran)
    assert told(ran.end) == (
        "Failed",
        "DeadlineExceeded: the run was active longer than its timeout of 600 seconds",
    )


async def test_a_run_to_its_good_end(bench):
    ran = bench()
    async with ran.alive():
        await ran.created()
        ran.shows(pods.running())
        ran.exits()
    assert told(ran.end) == ("Succeeded", None)
    assert ran.end.log_size > 0
    assert ran.directory.end() == ran.end
    assert ran.directory.was_created
    assert ran.cluster.graces == {}, "nothing had to be stopped"
    assert ran.turns.value == 1


async def test_its_states_and_its_log_are_reported(bench):
    ran = bench()
    async with ran.alive() as nursery:
        await ran.created()
        ran.shows(pods.running())
        ran.cluster.kubelet.prints(JOB0, b"up", at=NANOSECONDS)
        while not any(each.log_size for each in ran.reported):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert "Running" in {each.status for each in ran.reported}


async def test_a_failed_replica_has_the_others_stopped(bench):
    ran = bench(replicas=2)
    async with ran.alive():
        await ran.created(JOB0)
        await ran.created(JOB1)
        ran.shows(pods.running(), "job-1")
        ran.exits(3)
        await ran.cluster.until(lambda: JOB1 in ran.cluster.graces)
        assert ran.directory.verdict().reason == "Main exited with code 3"
        ran.exits(143, "job-1")
    assert told(ran.end) == ("Failed", "Main exited with code 3")
    assert ran.cluster.graces == {JOB1: 1.0}


async def test_cancelling_stops_it_and_takes_its_last_words(bench):
    ran = bench(outputs=["out"])
    async with ran.alive():
        await ran.created()
        ran.shows(pods.running())
        ran.directory.cancel("Canceled by user")
        ran.living.cancel("Canceled by user")
        await ran.cluster.until(lambda: JOB0 in ran.cluster.graces)
        ran.exits(0)
    assert (*told(ran.end), ran.end.incomplete) == ("Canceled", "Canceled by user", ("out",))
    with open(ran.directory.log, "rb") as log:
        assert b"hello" in log.read()


async def test_cancelled_before_anything_was_created(bench):
    ran = bench()
    ran.directory.cancel("Canceled by user")
    assert told(await ran.live()) == ("Canceled", "Canceled by user")
    assert ran.cluster.objects == {}


async def test_a_run_that_is_too_late_is_never_created(bench):
    ran = bench(created_at=now() - 601_000_000)
    end = await ran.live()
    assert told(end) == ("Canceled", life.TIMED_OUT_PENDING)
    assert (end.started_at, ran.cluster.calls) == (None, [])


async def test_a_pending_run_says_what_hinders_the_cluster(bench, time_passes):
    ran = bench()
    away = refusals.Transient("connection refused", what="create the secret x")
    ran.cluster.trouble += [away] * 1000
    said = "cannot create the secret x: connection refused"
    async with ran.alive():
        await ran.says("Pending", said)
        time_passes(ran)
        while ran.directory.verdict() is None:
            await trio.lowlevel.checkpoint()
        ran.cluster.trouble.clear()
    assert told(ran.end) == ("Canceled", f"{life.TIMED_OUT_PENDING}: {said}")


async def test_a_run_that_no_node_ever_took_says_why(bench, time_passes):
    ran = bench()
    async with ran.alive():
        await ran.created()
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1"}
        ran.cluster.shows(pods.pod(phase="Pending", conditions=[condition], node=None))
        await ran.says("Pending", "Unschedulable: 0/1")
        time_passes(ran)
    assert told(ran.end) == ("Canceled", f"{life.TIMED_OUT_PENDING}: Unschedulable: 0/1")


async def test_a_run_that_takes_too_long(bench, time_passes):
    ran = bench()
    async with ran.alive():
        await ran.created()
        ran.shows(pods.running())
        time_passes(ran)
        await ran.cluster.until(lambda: JOB0 in ran.cluster.graces)
        ran.exits(143)
    reason = "DeadlineExceeded: the run was active longer than its timeout of 600 seconds"
    assert told(ran.end) == ("Failed", reason)


async def test_what_the_cluster_refuses_is_the_runs_end(bench):
    ran = bench()
    ran.cluster.trouble.append(refusals.Refused("exceeded quota: pods=0", status=403, what="create it"))
    assert told(await ran.live()) == ("Failed", "cannot create it: exceeded quota: pods=0")


async def test_a_pod_that_was_taken_away_by_force(bench):
    ran = bench()
    async with ran.alive():
        await ran.created()
        ran.shows(pods.running())
        while not any(each.status == "Running" for each in ran.reported):
            await trio.lowlevel.checkpoint()
        del ran.cluster.objects["Pod", JOB0]
        ran.cluster.kubelet.ends(JOB0)
        ran.cluster.reflector.tell()
    assert told(ran.end) == ("Failed", f"the pod {JOB0} is gone: it was deleted")


async def test_a_pod_that_is_gone_before_anybody_saw_it(bench, monkeypatch):
    monkeypatch.setattr(life, "SEEN_SECONDS", 3600.0)
    ran = bench()
    ran.cluster.reflector.hides = True
    async with ran.alive():
        await ran.created()
        await ran.living._creation.wait()
        assert "get" not in {call[0] for call in ran.cluster.calls}, "it is about to be seen"
        del ran.cluster.objects["Pod", JOB0]
        ran.living._missed_from = trio.current_time()
        ran.living.wake()
    assert told(ran.end) == ("Failed", f"the pod {JOB0} is gone: it was deleted")


async def test_a_job_waits_for_its_workers_and_they_go_with_it(bench):
    ran = bench(worker=pods.worker())
    async with ran.alive():
        await ran.cluster.until(lambda: ran.cluster.names("StatefulSet"))
        assert ran.cluster.names("Pod") == []
        labels = ran.directory.record().objects.stateful_set["metadata"]["labels"]
        await ran.cluster.create({"kind": "Pod", "spec": {}, "metadata": {"name": WORKER0, "labels": labels}})
        state = pods.status("main", pods.running(), ready=True)
        ran.cluster.shows(pods.pod("worker-0", state))
        await ran.created()
        ran.exits(3)
    assert told(ran.end) == ("Failed", "Main exited with code 3")
    assert ran.cluster.names("StatefulSet") == []


async def test_runs_wait_for_their_turn(bench):
    ran = bench()
    await ran.turns.acquire()
    async with ran.alive() as nursery:
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert ran.cluster.objects == {}
        ran.turns.release()
        await ran.created()
        nursery.cancel_scope.cancel()
    assert ran.turns.value == 1


# --- daemons that are killed -------------------------------------------------------------------------------


async def test_another_daemon_goes_on_with_what_was_created(bench):
    ran = bench(inputs=["in"])
    async with ran.alive() as nursery:
        await ran.created()
        ran.shows(pods.running())
        while not ran.directory.was_created:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    ran.cluster.kubelet.prints(JOB0, b"hello", at=NANOSECONDS)
    ran.cluster.kubelet.ends(JOB0)
    pump = pods.status("pumps", pods.ended())
    ran.cluster.shows(pods.pod("job-0", pods.status("main", pods.ended()), init=[pump], phase="Succeeded"))
    assert told(await ran.live()) == ("Succeeded", None)
    creations = [call for call in ran.cluster.calls if call[0] == "create"]
    assert len(creations) == 2


@pytest.mark.parametrize("after", range(1, 4))
async def test_a_daemon_that_is_killed_after_any_of_its_calls(bench, after):
    """The next one creates what is missing, and nothing twice."""
    ran = bench(replicas=2)

    async def die(*call):
        await begin(*call)
        if len(ran.cluster.calls) == after:
            scope.cancel()

    begin, ran.cluster._begin = ran.cluster._begin, die
    with trio.CancelScope() as scope:
        await ran.live()
    assert scope.cancelled_caught
    ran.cluster._begin = begin
    async with ran.alive():
        await ran.created(JOB0)
        await ran.created(JOB1)
        ran.exits(0, "job-0")
        ran.exits(0, "job-1")
    assert told(ran.end) == ("Succeeded", None)
    assert ran.cluster.names("Pod") == [JOB0, JOB1]


async def test_a_verdict_stays_whatever_the_pods_show_then(bench):
    ran = bench()
    async with ran.alive() as nursery:
        await ran.created()
        ran.shows(pods.running())
        ran.directory.cancel("Canceled by user")
        ran.living.cancel("Canceled by user")
        await ran.cluster.until(lambda: JOB0 in ran.cluster.graces)
        nursery.cancel_scope.cancel()
    assert ran.directory.end() is None
    ran.exits(137)
    assert told(await ran.live()) == ("Canceled", "Canceled by user")


async def test_a_buffer_out_of_reach_ends_the_run(bench):
    ran = bench(inputs=["in"])

    async def never(*_):
        raise errors.Problem(errors.CONFIG, "set store.local.listen")

    tools = life.Tools(ran.cluster, ran.cluster.reflector, ran.place, secrets.AccessUrls(never), ran.turns)
    living = life.Life(tools, ran.directory, ran.directory.record(), ran.report)
    with trio.fail_after(60):
        assert told(await living.to_its_end()) == ("Failed", "set store.local.listen")
    assert isinstance(ran.directory.end(), base.Observation)

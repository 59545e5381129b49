"""What pods say of their run: each rule, and that nothing but the newest state counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.engines.kubernetes import pods
from tyger import model
from tygerd.engines.kubernetes import states

NOW = pods.T0 + 100_000_000


def second(number):
    return pods.T0 + number * 1_000_000


def observe(*found, now=NOW, gone=(), settings=None, **job):
    wanted = states.expected(pods.job(**job), pods.place(**settings or {}))
    return states.observe(wanted, {each["metadata"]["name"]: each for each in found}, now, gone)


def main(state, **more):
    return pods.status("main", state, **more)


def pumps(state, **more):
    return pods.status("pumps", state, **more)


def end(seen):
    assert seen.over
    return seen.observation.status, seen.observation.reason


# --- pending and running -----------------------------------------------------------------------------------


def test_nothing_is_known_of_a_run_that_has_no_pods_yet():
    seen = observe()
    assert (seen.observation.status, seen.over, seen.begun) == ("Pending", False, frozenset())


def test_a_pod_that_no_node_takes_says_why():
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/1 nodes are available: 1 Insufficient cpu.",
    }
    seen = observe(pods.pod(phase="Pending", conditions=[condition]))
    assert seen.observation.reason == "Unschedulable: 0/1 nodes are available: 1 Insufficient cpu."
    assert seen.observation.status == "Pending"


def test_a_start_that_takes_long_says_so_after_a_while():
    pod = pods.pod("job-0", main(pods.waiting("ContainerCreating")), phase="Pending")
    early = observe(pod, now=second(4))
    assert (early.observation.reason, early.again_at) == (None, second(5))
    late = observe(pod, now=second(5))
    assert "pulls the image 'busybox'" in late.observation.reason
    assert late.again_at is None


def test_a_pod_runs_once_main_does():
    pod = pods.pod("job-0", main(pods.waiting()), init=[pumps(pods.running())], phase="Pending")
    assert observe(pod, inputs=["in"]).observation.status == "Pending"
    seen = observe(pods.pod("job-0", main(pods.running(3), image_id="i@sha256:1")))
    assert (seen.observation.status, seen.observation.started_at) == ("Running", second(3))
    assert (seen.observation.image_digest, seen.observation.running_count) == ("sha256:1", None)
    assert seen.begun == {"run-7-01234567-job-0"}


def test_no_run_starts_before_it_was_created():
    assert observe(pods.pod("job-0", main(pods.running(-1)))).observation.started_at == pods.T0


def test_replicas_are_counted_while_they_run():
    seen = observe(
        pods.pod("job-0", main(pods.ended())), pods.pod("job-1", main(pods.running(2))), replicas=2
    )
    assert (seen.observation.status, seen.observation.running_count) == ("Running", 1)


# --- success -----------------------------------------------------------------------------------------------


def test_success_is_when_every_main_and_its_pumps_have_ended():
    done = pods.pod("job-0", main(pods.ended(finished=5)), init=[pumps(pods.ended(finished=7))])
    seen = observe(done, outputs=["out"])
    assert end(seen) == ("Succeeded", None)
    assert (seen.observation.finished_at, seen.observation.incomplete) == (second(7), ())
    left = pods.pod("job-0", main(pods.ended(finished=5)), init=[pumps(pods.running())])
    assert not observe(left, outputs=["out"]).over
    assert not observe(done, outputs=["out"], replicas=2).over


def test_who_deletes_a_pod_that_is_done_changes_nothing():
    assert end(observe(pods.pod("job-0", main(pods.ended()), deleted=True))) == ("Succeeded", None)


SOCKETS = {
    "inputs": ["in"],
    "outputs": ["out"],
    "sockets": [model.Socket(port=80, input_buffer="in", output_buffer="out")],
}


@pytest.mark.parametrize(
    ("state", "pump", "before", "wanted"),
    [
        (pods.running(), pods.ended(0), None, ("Succeeded", None)),
        (pods.running(), pods.running(9), pods.ended(0), ("Succeeded", None)),
        (pods.ended(0, 6), pods.ended(0, 7), None, ("Succeeded", None)),
        (pods.ended(143, 9), pods.ended(0, 10), pods.ended(0, 5), ("Succeeded", None)),
        (pods.ended(3, 5), pods.ended(0, 6), None, ("Failed", "Main exited with code 3")),
        (
            pods.ended(3, 6),
            pods.ended(1, 6, message="socket 80: x"),
            None,
            ("Failed", "Main exited with code 3"),
        ),
        (pods.ended(0, 5), pods.ended(1, 6, message="socket 80: x"), None, ("Failed", "socket 80: x")),
    ],
)
def test_a_job_with_ports_is_done_when_its_streams_are(state, pump, before, wanted):
    pod = pods.pod("job-0", main(state), init=[pumps(pump, before=before)])
    assert end(observe(pod, **SOCKETS)) == wanted


# --- failure -----------------------------------------------------------------------------------------------


def test_a_main_that_fails():
    seen = observe(pods.pod("job-0", main(pods.ended(7, 5)), phase="Failed"), outputs=["out"])
    assert end(seen) == ("Failed", "Main exited with code 7")
    assert (seen.observation.finished_at, seen.observation.incomplete) == (second(5), ("out",))


def test_the_first_failure_is_the_reason():
    first = pods.pod("job-0", main(pods.ended(6, 9)))
    second_one = pods.pod("job-1", main(pods.ended(5, 8)))
    assert end(observe(first, second_one, replicas=2)) == ("Failed", "Main exited with code 5")


def test_lack_of_memory_is_named_with_the_limit():
    resources = model.Resources(limits=model.Overcommittable(memory="48Mi"))
    pod = pods.pod("job-0", main(pods.ended(137, reason="OOMKilled")))
    reason = "Main was killed: out of memory (its limit is 48Mi)"
    assert end(observe(pod, resources=resources)) == ("Failed", reason)


def test_the_pumps_last_words_are_the_reason():
    pod = pods.pod(
        "job-0", main(pods.ended(1, 6)), init=[pumps(pods.ended(1, 6, message="buffer 'out': no\nroom"))]
    )
    assert end(observe(pod, outputs=["out"])) == ("Failed", "buffer 'out': no room")
    killed = pods.pod("job-0", main(pods.running()), init=[pumps(pods.running(7), before=pods.ended(137))])
    assert end(observe(killed, outputs=["out"])) == ("Failed", "Sidecar exited with code 137 (SIGKILL)")


def test_a_pod_that_could_not_be_prepared():
    pod = pods.pod("job-0", main(pods.waiting()), init=[pods.status("prepare", pods.ended(2))])
    assert end(observe(pod)) == ("Failed", "The preparation of the pod exited with code 2")


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (
            {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory. "},
            "Evicted: The node was low on resource: memory.",
        ),
        ({"phase": "Failed", "reason": "OutOfcpu"}, "OutOfcpu"),
        (
            {"phase": "Failed", "reason": "DeadlineExceeded", "message": "Pod was active too long"},
            "DeadlineExceeded: the run was active longer than its timeout of 600 seconds",
        ),
        ({"deleted": True}, "the pod run-7-01234567-job-0 was deleted"),
        (
            {
                "deleted": True,
                "conditions": [
                    {
                        "type": "DisruptionTarget",
                        "status": "True",
                        "reason": "EvictionByEvictionAPI",
                        "message": "Eviction API: evicting",
                    }
                ],
            },
            "EvictionByEvictionAPI: Eviction API: evicting",
        ),
    ],
)
def test_the_clusters_own_words_are_first(more, reason):
    assert end(observe(pods.pod("job-0", main(pods.ended(137, 3)), **more))) == ("Failed", reason)


def test_a_failed_pod_without_a_word():
    assert end(observe(pods.pod(phase="Failed", message="odd"))) == ("Failed", "odd")
    assert end(observe(pods.pod(phase="Failed"))) == ("Failed", "Failed")


def test_a_pod_that_is_gone():
    name = "run-7-01234567-job-0"
    assert end(observe(gone={name})) == ("Failed", f"the pod {name} is gone: it was deleted")


def test_an_image_that_cannot_be_pulled_fails_when_its_grace_is_over():
    pod = pods.pod("job-0", main(pods.waiting("ErrImagePull", "connection refused")), phase="Pending")
    fails_at = second(60)
    early, late = observe(pod, now=fails_at - 1), observe(pod, now=fails_at)
    assert (early.over, early.again_at) == (False, fails_at)
    assert "connection refused" in early.observation.reason
    assert end(late) == ("Failed", early.observation.reason)


# --- workers -----------------------------------------------------------------------------------------------


def test_workers_are_ready_once_all_have_run():
    ready = pods.pod("worker-0", main(pods.running(), ready=True))
    left = pods.pod("worker-1", main(pods.running(), before=pods.ended(0)))
    wanted = pods.worker(2)
    assert not observe(ready, worker=wanted).workers_ready
    assert not observe(ready, pods.pod("worker-1", main(pods.waiting())), worker=wanted).workers_ready
    seen = observe(ready, left, worker=wanted)
    assert (seen.workers_ready, seen.observation.status) == (True, "Pending")
    assert seen.begun == {"run-7-01234567-worker-0", "run-7-01234567-worker-1"}


def test_a_worker_that_fails_is_named():
    job = pods.pod("job-0", main(pods.running()))
    failed = pods.pod("worker-1", main(pods.running(), before=pods.ended(4)))
    assert end(observe(job, failed, worker=pods.worker(2))) == (
        "Failed",
        "Worker exited with code 4 in worker-1",
    )
    cannot = pods.ended(128, reason="StartError", message='error during container init: exec: "/no": stat')
    waits = pods.pod("worker-0", main(pods.waiting("CrashLoopBackOff"), before=cannot))
    assert end(observe(waits, worker=pods.worker())) == ("Failed", 'cannot start worker: exec: "/no": stat')


def test_a_worker_that_fails_after_the_job_has_ended_does_not_count():
    job = pods.pod("job-0", main(pods.ended(0, 5)))
    failed = pods.pod("worker-0", main(pods.ended(4, 6)))
    assert end(observe(job, failed, worker=pods.worker())) == ("Succeeded", None)
    stopped = pods.pod("worker-0", main(pods.ended(143, 6)), deleted=True)
    running = pods.pod("job-0", main(pods.running()))
    assert not observe(running, stopped, worker=pods.worker()).over


# --- whatever the cluster shows ----------------------------------------------------------------------------

STATE = st.one_of(
    st.builds(pods.running, st.integers(-2, 9)),
    st.builds(
        pods.ended,
        st.sampled_from([0, 1, 137]),
        st.integers(0, 20),
        st.sampled_from(["Completed", "Error", "OOMKilled", "StartError"]),
    ),
    st.builds(pods.waiting, st.sampled_from(["PodInitializing", "ContainerCreating", "ErrImagePull"])),
)
BEFORE = st.none() | st.builds(pods.ended, st.sampled_from([0, 1]), st.integers(0, 9))


@st.composite
def shown(draw, part):
    mains = [main(draw(STATE))] if draw(st.booleans()) else []
    init = [pumps(draw(STATE), before=draw(BEFORE))] if draw(st.booleans()) else []
    phase = draw(st.sampled_from(["Pending", "Running", "Succeeded", "Failed", "Unknown"]))
    return pods.pod(part, *mains, init=init, phase=phase, deleted=draw(st.booleans()))


FOUND = st.fixed_dictionaries(
    {}, optional={part: shown(part) for part in ("job-0", "job-1", "worker-0", "job-9")}
)


@pods.PATIENT
@given(
    STATE,
    STATE,
    st.none() | st.builds(pods.ended, st.sampled_from([1, 137]), st.integers(0, 20)),
    st.booleans(),
)
def test_no_run_succeeds_whose_pump_has_failed(of_main, of_pump, before, deleted):
    """When a pump dies its main may take the end of a pipe for that of its input, and be content with it."""
    pod = pods.pod("job-0", main(of_main), init=[pumps(of_pump, before=before)], deleted=deleted)
    seen = observe(pod, inputs=["in"])
    ends = [each.get("terminated", {}).get("exitCode") for each in (of_main, of_pump)]
    if seen.observation.status == "Succeeded":
        assert ends == [0, 0]
    if before is not None and ends[1] != 0:
        assert seen.observation.status == "Failed"


@pods.PATIENT
@given(FOUND, st.integers(0, 10**9), st.sampled_from([{}, {"outputs": ["out"]}]))
def test_every_state_of_a_cluster_is_one_of_a_run(found, later, job):
    job = job | {"replicas": 2, "worker": pods.worker()}
    seen = observe(*found.values(), **job)
    told = seen.observation
    assert (told.status in {"Succeeded", "Failed"}) == seen.over
    assert seen.over == (told.finished_at is not None)
    assert (told.status == "Failed") <= bool(told.reason)
    assert told.incomplete == (tuple(job.get("outputs", ())) if told.status == "Failed" else ())
    if told.finished_at is not None and told.started_at is not None:
        assert pods.T0 <= told.started_at <= told.finished_at
    # In another order, and with pods of nobody's: nothing changes.
    assert observe(*reversed(list(found.values())), **job) == seen
    # What is over stays over, and as it was, however late it is seen; what is not changes at `again_at`.
    after = observe(*found.values(), now=NOW + later, **job)
    if seen.over:
        assert (after.over, after.observation.status) == (True, told.status)
    elif after.over:
        assert seen.again_at is not None
        assert seen.again_at <= NOW + later

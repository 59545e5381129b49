"""Reading a pod's status: what is missing is not known, and nothing that a cluster says breaks us."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.engines.kubernetes import pods
from tygerd.engines.kubernetes import podstatus


def read_main(state, **more):
    return podstatus.read(pods.pod("job-0", pods.status("main", state, **more))).containers["main"]


def test_a_pod_is_read():
    pod = podstatus.read(
        pods.pod(
            "job-0",
            pods.status("main", pods.running(3), ready=True, image_id="reg/busybox@sha256:12"),
            init=[pods.status("pumps", pods.ended(1, 4, message="words"), before=pods.ended(0, 2))],
        )
    )
    main, pumps = pod.containers["main"], pod.containers["pumps"]
    assert (main.started_at, main.ready, main.end, main.initial) == (pods.T0 + 3_000_000, True, None, False)
    assert podstatus.digest(main) == "sha256:12"
    assert (pumps.initial, [end.code for end in pumps.ends], pumps.end.message) == (True, [0, 1], "words")
    assert (pod.node, pod.deleted, pod.stopped) == ("node", False, False)
    assert pod.conditions["PodScheduled"].holds


def test_an_image_without_a_digest_has_none():
    assert podstatus.digest(read_main(pods.running(), image_id="docker.io/library/busybox:1")) is None
    assert podstatus.digest(read_main(pods.running(), image_id="sha256:34")) == "sha256:34"


@pytest.mark.parametrize(
    ("pod", "stopped"),
    [
        (pods.pod(phase="Succeeded"), True),
        (pods.pod(phase="Failed"), True),
        (pods.pod(phase="Pending"), False),
        (pods.pod(phase="Pending", deleted=True), False),
        (pods.pod(phase="Pending", deleted=True, node=None), True),
        (pods.pod("job-0", pods.status("main", pods.running()), deleted=True), False),
        (pods.pod("job-0", pods.status("main", pods.ended()), deleted=True), True),
        (pods.pod("job-0", pods.status("main", pods.ended())), True),
        (
            pods.pod(
                "job-0",
                pods.status("main", pods.ended()),
                init=[pods.status("pumps", pods.running())],
                deleted=True,
            ),
            False,
        ),
        (pods.pod("job-0", pods.status("main", pods.waiting()), deleted=True), False),
    ],
)
def test_when_nothing_of_a_pod_runs(pod, stopped):
    assert podstatus.read(pod).stopped is stopped


RUNC = (
    "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create"
    ' failed: unable to start container process: error during container init: exec: "/no/such/program":'
    " stat /no/such/program: no such file or directory: unknown"
)


@pytest.mark.parametrize(
    ("end", "more", "words"),
    [
        (podstatus.End(3, 1, "Error", ""), {}, "Main exited with code 3"),
        (podstatus.End(137, 1, "Error", ""), {}, "Main exited with code 137 (SIGKILL)"),
        (podstatus.End(3, 1, "Error", ""), {"which": "worker-1"}, "Main exited with code 3 in worker-1"),
        (podstatus.End(137, 1, "OOMKilled", ""), {}, "Main was killed: out of memory"),
        (
            podstatus.End(137, 1, "OOMKilled", ""),
            {"limit": "48Mi"},
            "Main was killed: out of memory (its limit is 48Mi)",
        ),
        (
            podstatus.End(1, 1, "OOMKilled", ""),
            {},
            "Main exited with code 1, after a process in it was killed: out of memory",
        ),
        (
            podstatus.End(128, 1, "StartError", RUNC),
            {},
            'cannot start main: exec: "/no/such/program": stat /no/such/program: no such file or directory',
        ),
        (podstatus.End(128, 1, "StartError", ""), {}, "cannot start main: the runtime does not say why"),
    ],
)
def test_an_end_in_words(end, more, words):
    assert podstatus.described("Main", end, **more) == words


def test_what_never_started_has_no_start():
    assert read_main(pods.ended(128, reason="StartError")).started_at is None


def test_a_moment_that_is_not_known():
    state = {"terminated": {"exitCode": 1, "finishedAt": None, "startedAt": "1970-01-01T00:00:00Z"}}
    main = read_main(state)
    assert (main.started_at, main.end.finished_at) == (None, None)
    state["terminated"]["finishedAt"] = "yesterday"
    assert read_main(state).end.finished_at is None


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "name",
                    "state",
                    "lastState",
                    "terminated",
                    "running",
                    "waiting",
                    "exitCode",
                    "reason",
                    "type",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@pods.PATIENT
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "metadata": JUNK,
            "spec": JUNK,
            "status": st.fixed_dictionaries(
                {}, optional={"containerStatuses": JUNK, "conditions": JUNK, "phase": JUNK}
            ),
        },
    )
)
def test_no_status_breaks_the_reader(pod):
    read = podstatus.read(pod)
    assert isinstance(read.stopped, bool)
    assert all(isinstance(each.name, str) for each in read.containers.values())

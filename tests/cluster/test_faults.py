"""What a cluster does to runs, and what comes between it and the daemon: each is waited out, or told in a
line."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import apigate, pods
from tests.support import cluster as cluster_support

LINES = 60


@pytest.fixture(scope="module")
def host(cluster: cluster_support.Cluster, namespace: str) -> Iterator[pods.Host]:
    with pods.host(cluster, namespace, "pull_grace = 1\n") as made:
        yield made
        assert made.gate.unused == []


@pytest.fixture(autouse=True)
def _is_clean(host: pods.Host) -> Iterator[None]:
    """Nothing is left of any test."""
    yield
    host.clean()


SPEAKS = f"for i in $(seq {LINES}); do echo $i; usleep 50000; done"
"""Speaks for three seconds."""

SPOKEN = [str(number) for number in range(1, LINES + 1)]


def ends_once(host: pods.Host, run: int, log: list[str]) -> None:
    """It succeeds, with this log and one pod."""
    host.ends(run)
    assert host.log(run) == log
    assert len(host.witness.pods(run)) == 1


# --- between the daemon and the cluster ------------------------------------------------------------------


def test_the_watch_is_cut_again_and_again(host: pods.Host) -> None:
    run = host.create(SPEAKS)
    for number in (1, 20, 40):
        host.logged(run, str(number))
        host.gate.cut("watch=")
    ends_once(host, run, SPOKEN)


def test_all_connections_are_cut(host: pods.Host) -> None:
    run = host.create(SPEAKS)
    for number in (1, 20, 40):
        host.logged(run, str(number))
        host.gate.cut("")
    ends_once(host, run, SPOKEN)


def test_a_watch_whose_version_is_too_old(host: pods.Host) -> None:
    """Said in the watch, and to who asks for one; what happened meanwhile is seen in a new list."""
    run = host.create("echo up; sleep 1")
    host.logged(run, "up")
    host.gate.fail("GET", "watch=", 410, times=2)
    before = len(host.gate.requests)
    assert host.gate.say("/pods.*watch=", apigate.TOO_OLD)
    host.gate.cut("watch=")
    ends_once(host, run, ["up"])
    assert any("limit=" in request and "/pods?" in request for request in host.gate.requests[before:])


def test_nobody_answers_for_a_while(host: pods.Host) -> None:
    """A run that ends meanwhile has ended when somebody does."""
    run = host.create(SPEAKS)
    host.logged(run, "1")
    host.gate.shut()
    while host.pods(run)[0]["status"]["phase"] != "Succeeded":  # which we see past the gate
        time.sleep(0.1)
    host.gate.open()
    ends_once(host, run, SPOKEN)


CALLS = [
    ("POST", "/secrets"),
    ("POST", "/pods$"),
    ("GET", "/log"),
    ("PATCH", "/pods/"),
    ("DELETE", "/secrets/"),
]
"""What a run asks a cluster for."""


@pytest.mark.parametrize(
    "status", [0, 429, *(pytest.param(status, marks=pytest.mark.long) for status in (500, 503, 504))]
)
def test_every_call_fails_at_first(host: pods.Host, status: int) -> None:
    """Twice before it arrives, and once when it was carried out; 0 is a connection that ends."""
    for method, pattern in CALLS:
        more = {"Retry_After": "1"} if status == 429 else {}
        host.gate.fail(method, pattern, status, times=2, **more)
        host.gate.fail(method, pattern, status, arrives=True, **more)
    ends_once(host, host.create("echo out"), ["out"])


def test_conflicts(host: pods.Host) -> None:
    """Somebody else changes what we change."""
    host.gate.fail("PATCH", "/pods/", 409, times=3)
    ends_once(host, host.create("echo out"), ["out"])


def test_a_lost_answer_makes_no_second_pod(host: pods.Host) -> None:
    host.gate.lose("POST", "/pods$")
    ends_once(host, host.create("echo out"), ["out"])


@pytest.mark.parametrize("kind", ["Pod", "Secret"])
def test_what_is_somebody_elses_is_left_alone(host: pods.Host, kind: str) -> None:
    """A thing that has the name of ours: the run fails, and the thing stays as it is."""
    run = host.create("true")
    host.ends(run)
    pod = host.witness.name(run).replace(f"run-{run}-", f"run-{run + 1}-")
    name = pod if kind == "Pod" else pod.removesuffix("-0")
    spec = {"containers": [{"name": "main", "image": host.cluster.busybox, "command": ["sleep", "600"]}]}
    path = f"{host.at}/{kind.lower()}s"
    body = {"metadata": {"name": name}, **({"spec": spec} if kind == "Pod" else {})}
    uid = host.cluster.post(path, body)["metadata"]["uid"]
    try:
        host.ends(host.create("true"), "Failed", f"{name} in the namespace {host.namespace} already")
        host.clean()
        there = host.cluster.get(f"{path}/{name}")["metadata"]
        assert there["uid"] == uid
        assert "deletionTimestamp" not in there
    finally:
        host.cluster.delete(f"{path}/{name}", grace=0)


# --- in the cluster --------------------------------------------------------------------------------------


def begun(host: pods.Host, **more: Any) -> tuple[int, str]:
    """A run whose job is up and goes on, and the path of its pod."""
    run = host.create("echo up; exec sleep 600", **more)
    host.logged(run, "up")
    (pod,) = host.pods(run)
    return run, f"{host.at}/pods/{pod['metadata']['name']}"


@pytest.mark.parametrize("grace", [0, 1])
def test_a_pod_is_deleted_by_hand(host: pods.Host, grace: int) -> None:
    run, pod = begun(host)
    host.cluster.delete(pod, grace=grace)
    host.ends(run, "Failed", "deleted")
    assert host.log(run) == ["up"]


def test_a_pod_is_deleted_while_nobody_looks(host: pods.Host) -> None:
    """Our finalizer keeps it until its status was noted."""
    run, pod = begun(host)
    host.daemon.kill()
    host.cluster.delete(pod, grace=1)
    host.daemon.start()
    host.ends(run, "Failed", "deleted")
    assert host.log(run) == ["up"]


def test_a_pod_is_torn_away(host: pods.Host) -> None:
    """Somebody takes our finalizer away, too, while nobody looks."""
    run, pod = begun(host)
    host.daemon.kill()
    host.cluster.patch(pod, {"metadata": {"finalizers": None}})
    host.cluster.delete(pod, grace=0)
    host.daemon.start()
    host.ends(run, "Failed", "deleted")


def test_a_pod_is_evicted(host: pods.Host) -> None:
    """By whoever drains a node."""
    host.cluster.as_administrator()
    run, pod = begun(host)
    name = pod.rpartition("/")[2]
    host.cluster.post(
        f"{pod}/eviction",
        {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": host.namespace},
        },
    )
    host.ends(run, "Failed")
    assert "evict" in host.show(run)["statusReason"].lower(), host.show(run)
    assert host.log(run) == ["up"]


def test_out_of_memory(host: pods.Host) -> None:
    script = "echo up; a=x; while true; do a=$a$a$a$a; done"
    limits = {"memory": "24Mi"}
    run = host.create(script, codespec={"resources": {"limits": limits, "requests": limits}})
    host.ends(run, "Failed", "out of memory")
    assert host.log(run) == ["up"]


def test_an_image_that_there_is_not(host: pods.Host) -> None:
    """The cluster's own words, after the grace."""
    image = f"{host.cluster.registry}/there-is-no-such-image:1"
    last = host.ends(host.create("true", image=image), "Failed", f"Failed to pull image '{image}'")
    assert "\n" not in last["statusReason"]


def test_resources_that_no_node_can_ever_give(host: pods.Host) -> None:
    """It says why it waits, and ends at its timeout."""
    requests = {"cpu": "1000"}
    run = host.create("true", codespec={"resources": {"requests": requests}}, timeoutSeconds=30)
    while "Insufficient cpu" not in (shown := host.show(run)).get("statusReason", ""):
        assert shown["status"] == "Pending", shown
        time.sleep(0.1)  # a snapshot says it, whenever the scheduler has looked
    host.ends(run, "Canceled", "Run exceeded its timeout while pending")


def test_a_quota_is_used_up(host: pods.Host) -> None:
    """It is refused in the cluster's words."""
    host.cluster.as_administrator()
    at = f"{host.at}/resourcequotas"
    host.cluster.post(at, {"metadata": {"name": "few"}, "spec": {"hard": {"pods": "0"}}})
    try:
        deadline = time.monotonic() + 60
        while "hard" not in host.cluster.get(f"{at}/few").get("status", {}):
            assert time.monotonic() < deadline
            time.sleep(0.1)  # somebody has to count first
        last = host.ends(host.create("true"), "Failed", "exceeded quota: few")
        assert "\n" not in last["statusReason"]
    finally:
        host.cluster.delete(f"{at}/few")


def test_a_policy_denies_it(host: pods.Host) -> None:
    """Pod Security, as a webhook would: in its own words."""
    host.cluster.as_administrator()
    label = "pod-security.kubernetes.io/enforce"
    host.cluster.patch(f"{host.at}", {"metadata": {"labels": {label: "restricted"}}})
    try:
        last = host.ends(host.create("true"), "Failed", 'violates PodSecurity "restricted')
        assert "\n" not in last["statusReason"]
    finally:
        host.cluster.patch(f"{host.at}", {"metadata": {"labels": {label: None}}})


def test_a_sidecar_is_killed(host: pods.Host, pump_image: str) -> None:
    """The run fails, and its output passes for nothing whole; no byte is lost silently."""
    if host.cluster.own is None:
        pytest.skip("the processes of this cluster's containers are not on this machine")
    source = host.commands.buffer(b"x" * 100_000)
    script = 'cat "$IN_PIPE" > /dev/null; echo up; sleep 600'
    run = host.create(script, inputs=("in",), outputs=("out",), job={"buffers": {"in": source}})
    host.logged(run, "up")
    (pod,) = host.pods(run)
    (status,) = [each for each in pod["status"]["initContainerStatuses"] if each["name"] == "pumps"]
    for pid in _processes(status["containerID"].rpartition("/")[2]):
        os.kill(pid, signal.SIGKILL)
    host.ends(run, "Failed", "Sidecar")
    buffer = host.show(run)["job"]["buffers"]["out"]
    assert host.commands.run("buffer", "read", buffer).returncode != 0


def _processes(container: str) -> list[int]:
    """Those of a container on this machine."""
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if container in (entry / "cgroup").read_text():
                found.append(int(entry.name))
    assert found, f"no process of {container}"
    return found

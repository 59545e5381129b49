"""What holds a container up: what fails its run at once, and what has a grace."""

from __future__ import annotations

import pytest

from tests.unit.engines.kubernetes import pods
from tygerd.engines.kubernetes import podstatus, pulling

GRACE = 60.0


def hindrance(reason, message="", *, name="main", **more):
    statuses = [pods.status(name, pods.waiting(reason, message), image="reg/i:1")]
    init = statuses if name != "main" else []
    pod = podstatus.read(pods.pod("job-0", *(statuses if name == "main" else []), init=init, **more))
    return pulling.hindrance(pod, pod.containers[name], GRACE)


@pytest.mark.parametrize("reason", ["", "PodInitializing", "ContainerCreating", "CrashLoopBackOff"])
def test_waiting_is_no_hindrance(reason):
    assert hindrance(reason) is None


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("InvalidImageName", "couldn't parse"),
        ("ErrImageNeverPull", ""),
        ("ErrImagePull", 'failed to resolve reference "reg/i:1": reg/i:1: not found'),
        ("ImagePullBackOff", 'Back-off pulling image "reg/i:1": ErrImagePull: reg/i:1: not found'),
        ("CreateContainerConfigError", "container has runAsNonRoot and image will run as root"),
    ],
)
def test_a_bad_name_fails_now(reason, message):
    assert hindrance(reason, message).fails_at == 0


def test_the_reason_names_the_image_and_says_why():
    found = hindrance("ErrImagePull", "reg/i:1: not found")
    assert found.reason == "Failed to pull image 'reg/i:1': ErrImagePull: reg/i:1: not found"
    backing_off = 'Back-off pulling image "reg/i:1": ErrImagePull: reg/i:1: not found'
    assert hindrance("ImagePullBackOff", backing_off).reason == found.reason
    assert hindrance("ErrImageNeverPull").reason == "Failed to pull image 'reg/i:1': ErrImageNeverPull"
    assert hindrance("CreateContainerError", "x").reason == (
        "Failed to create the container 'main': CreateContainerError: x"
    )


def test_trouble_has_a_grace_from_when_it_could_have_started():
    assert hindrance("ErrImagePull", "connection refused").fails_at == pods.T0 + 60_000_000


def test_throttling_and_our_own_image_have_a_longer_one():
    longer = pods.T0 + 1800 * 1_000_000
    assert hindrance("ErrImagePull", "429 Too Many Requests").fails_at == longer
    assert hindrance("ErrImagePull", "connection refused", name="pumps").fails_at == longer


def test_a_node_may_ask_for_patience_for_ever():
    assert hindrance("ErrImagePull", "pull QPS exceeded").fails_at is None


def test_a_start_that_takes_long_is_worth_a_word():
    pod = podstatus.read(pods.pod("job-0", pods.status("main", pods.waiting("ContainerCreating"), image="i")))
    slow = pulling.slowness(pod, pod.containers["main"])
    moment = "2023-11-14T22:13:20Z"
    assert slow.reason == f"the node node pulls the image 'i', or makes its container, since {moment}"
    assert slow.from_ == pods.T0 + pulling.SLOW
    pod = podstatus.read(pods.pod("job-0", pods.status("main", pods.waiting("PodInitializing"))))
    assert pulling.slowness(pod, pod.containers["main"]) is None


def test_workers_that_cannot_be_found_are_worth_a_word():
    pod = podstatus.read(pods.pod("job-0", init=[pods.status("prepare", pods.running(3))]))
    slow = pulling.slowness(pod, pod.containers["prepare"])
    assert slow.reason == "the names of its workers do not resolve yet, since 2023-11-14T22:13:23Z"
    assert slow.from_ == pods.T0 + 3_000_000 + pulling.SLOW
    pod = podstatus.read(pods.pod("job-0", init=[pods.status("prepare", pods.ended())]))
    assert pulling.slowness(pod, pod.containers["prepare"]) is None


def test_without_a_moment_there_is_no_grace():
    conditions = [{"type": "Initialized", "status": "False"}]
    assert hindrance("ErrImagePull", "connection refused", conditions=conditions).fails_at == 0

"""Whether what holds a container up is the end of its run: images that cannot be pulled, and the like. Pure.

A bad name fails the run now. What may pass by itself, a registry that asks for patience for example, has a
grace, counted from when the container could have started.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from tyger import units
from tygerd.engines.kubernetes import containers, podstatus

OURS_GRACE = 30 * 60.0
"""Seconds that the image of our own containers has: nobody but the administrator can do anything about it
(contract compute.md 5).
"""

_NEVER = {"ErrImageNeverPull", "InvalidImageName", "SignatureValidationFailed"}
_PULLING = {"ImagePullBackOff", "ImageInspectError", "ErrImagePull", "RegistryUnavailable"} | _NEVER
_CREATING = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}

_DEFINITE = (
    ": not found",
    "manifest unknown",
    "name unknown",
    "no match for platform",
    "invalid reference format",
    "runAsNonRoot",
)
"""In the words of runtimes and kubelets: another attempt would end the same."""

_PATIENCE = ("pull QPS exceeded",)
"""The node itself asks for patience, for as long as it takes (contract compute.md 5)."""

_THROTTLED = ("toomanyrequests", "429 Too Many Requests", "rate limit")
"""A registry does; it has the longer grace."""


_BACKING_OFF = re.compile(r'Back-off pulling image ".*?": (?P<why>\w+: .*)', re.DOTALL)

SLOW = 5_000_000
"""Microseconds after which the start of a container is worth a word: a node is mostly pulling its image."""


class Hindrance(NamedTuple):
    """Why a container does not start, in words; `fails_at` is when that fails its run: None, never."""

    reason: str
    fails_at: int | None


def hindrance(pod: podstatus.Pod, container: podstatus.Container, grace: float) -> Hindrance | None:
    """What holds a container up; None where nothing is known to.

    `grace` are the seconds that pulling a job's own image may fail.
    """
    waiting, message = container.waiting, container.message
    if waiting not in _PULLING | _CREATING:
        return None
    detail = f"{waiting}: {message}" if message else waiting
    if (between := _BACKING_OFF.fullmatch(message)) is not None:  # the same trouble, between two attempts
        detail = between["why"]
    if waiting in _PULLING:
        reason = f"Failed to pull image '{container.image}': {detail}"
    else:
        reason = f"Failed to create the container '{container.name}': {detail}"
    if any(words in message for words in _PATIENCE):
        return Hindrance(reason, None)
    since = _could_start(pod, container)
    if since is None or waiting in _NEVER or any(words in message for words in _DEFINITE):
        return Hindrance(reason, 0)
    patient = container.name != containers.MAIN or any(words in message for words in _THROTTLED)
    seconds = max(grace, OURS_GRACE) if patient else grace
    return Hindrance(reason, since + int(seconds * 1_000_000))


class Slowness(NamedTuple):
    """That a container takes long to start, in words; worth a word from `from_` on."""

    reason: str
    from_: int


def slowness(pod: podstatus.Pod, container: podstatus.Container) -> Slowness | None:
    """What a node is busy with, as far as its kubelet tells: it does not tell pulling from creating."""
    since = _could_start(pod, container)
    if container.waiting == "ContainerCreating" and since is not None:
        what = f"the node {pod.node} pulls the image '{container.image}', or makes its container,"
        return Slowness(f"{what} since {_moment(since)}", since + SLOW)
    began = container.started_at
    if container.name == containers.PREPARE and began is not None and container.end is None:
        return Slowness(f"the names of its workers do not resolve yet, since {_moment(began)}", began + SLOW)
    return None


def _moment(micros: int) -> str:
    return units.format_timestamp(units.from_micros(micros)).replace("+00:00", "Z")


def _could_start(pod: podstatus.Pod, container: podstatus.Container) -> int | None:
    """Since when nothing but its node holds a container up; None where something does."""
    condition = pod.conditions.get("PodScheduled" if container.initial else "Initialized")
    return condition.since if condition is not None and condition.holds else None

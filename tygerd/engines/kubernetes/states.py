"""What a run's pods say about the run, contract compute.md 5. Pure: the newest of all pods, and the time.

Nothing depends on what was seen before, so that events may be lost, doubled or late. Where the original
waits for its finaliser, and where it lets a crashing worker crash, we say what is the case:

1. a pod that the cluster has ended (evicted, too old, deleted), in the cluster's words;
2. the first container that ended badly, a worker's as well;
3. a container that will never start;
4. success: every replica has ended with 0, and its buffers are where they belong;
5. running, pending, and why.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from tygerd.engines import base
from tygerd.engines.kubernetes import containers, objects, podstatus, pulling


class Expected(NamedTuple):
    """What a run consists of: the names of its pods, by replica. `grace` is that of pulling its image."""

    job: base.Job
    pods: tuple[str, ...]
    workers: tuple[str, ...]
    grace: float

    @property
    def sockets(self) -> bool:
        """It succeeds when its streams have ended, whether main has or not."""
        return bool(self.job.codespec.sockets)

    @property
    def pumped(self) -> bool:
        """Its pods have a container of ours that must end well, too."""
        return bool(self.job.inputs or self.job.outputs or self.sockets)


class Seen(NamedTuple):
    """What is known. `again_at` is when it changes without any event, None where it doesn't.

    `over` says that the observation's status is the run's; then `observation` is complete but for its log.
    `begun` are the pods, of both sides, whose main has something to log. `workers_ready`: all have run.
    """

    observation: base.Observation
    over: bool
    begun: frozenset[str]
    workers_ready: bool
    again_at: int | None = None


class _Failure(NamedTuple):
    """Why a run has failed. Of several the cluster's own words count, then the first, then the lower rank."""

    ours: bool
    at: int
    rank: int
    reason: str


def expected(job: base.Job, place: objects.Place) -> Expected:
    """What a job consists of."""
    workers = job.worker.replicas if job.worker else 0
    return Expected(
        job,
        tuple(
            objects.name_of(place.installation, job.run, f"job-{number}") for number in range(job.replicas)
        ),
        tuple(objects.name_of(place.installation, job.run, f"worker-{number}") for number in range(workers)),
        place.settings.pull_grace,
    )


def observe(
    wanted: Expected, found: Mapping[str, Mapping[str, Any]], now: int, gone: Collection[str] = ()
) -> Seen:
    """What the pods `found`, by name, say at `now`; `gone` are those that were there and are no more."""
    jobs = [podstatus.read(found[name]) for name in wanted.pods if name in found]
    workers = [podstatus.read(found[name]) for name in wanted.workers if name in found]
    mains = [main for pod in jobs if (main := pod.containers.get(containers.MAIN)) is not None]
    begun = frozenset(
        pod.name
        for pod in (*jobs, *workers)
        if (main := pod.containers.get(containers.MAIN)) is not None
        and (main.started_at is not None or any(not end.never_started for end in main.ends))
    )
    started = min((main.started_at for main in mains if main.started_at is not None), default=None)
    if started is not None:  # a node's clock, in whole seconds: no run has started before it was there
        started = max(started, wanted.job.created_at)
    digest = next((known for main in mains if (known := podstatus.digest(main)) is not None), None)
    ready = len(workers) == len(wanted.workers) and all(map(_has_run, workers))

    def seen(observation: base.Observation, *, over: bool = False, again_at: int | None = None) -> Seen:
        return Seen(observation, over, begun, ready, again_at)

    def ended(status: Any, reason: str | None, at: int) -> Seen:
        finished = max(at, started or wanted.job.created_at)
        outputs = () if status == "Succeeded" else tuple(wanted.job.outputs)
        return seen(
            base.Observation(
                status=status,
                reason=reason,
                started_at=started,
                finished_at=finished,
                incomplete=outputs,
                image_digest=digest,
            ),
            over=True,
        )

    done = _served(wanted, jobs)
    if done is None and all(_is_done(wanted, pod) for pod in jobs) and len(jobs) == len(wanted.pods):
        done = _last_moment(jobs, now)
    hindrances = [
        hindrance
        for pod in (*jobs, *workers)
        for container in pod.containers.values()
        if (hindrance := pulling.hindrance(pod, container, wanted.grace)) is not None
    ]
    failures = [
        *_ended_by_the_cluster(wanted, jobs, now),
        *(
            _Failure(False, now, 1, f"the pod {name} is gone: it was deleted")
            for name in wanted.pods
            if name in gone
        ),
        *_ended_badly(wanted, jobs, workers, now),
        *(
            _Failure(True, now, 3, each.reason)
            for each in hindrances
            if each.fails_at is not None and each.fails_at <= now
        ),
    ]
    first = min(failures, default=None)
    if done is not None and (first is None or done <= first.at):
        return ended("Succeeded", None, done)
    if first is not None:
        return ended("Failed", first.reason, first.at)
    running = [main for main in mains if main.started_at is not None and main.end is None]
    again_at = min((each.fails_at for each in hindrances if each.fails_at is not None), default=None)
    if started is not None:
        return seen(
            base.Observation(
                status="Running",
                started_at=started,
                running_count=len(running) if len(wanted.pods) > 1 else None,
                image_digest=digest,
            ),
            again_at=again_at,
        )
    slow = [
        slowness
        for pod in (*jobs, *workers)
        for container in pod.containers.values()
        if (slowness := pulling.slowness(pod, container)) is not None
    ]
    later = [each.from_ for each in slow if each.from_ > now]
    why = (
        next((each.reason for each in hindrances), None)
        or _unschedulable((*jobs, *workers))
        or next((each.reason for each in slow if each.from_ <= now), None)
    )
    again_at = min((*later, again_at) if again_at is not None else later, default=None)
    return seen(base.Observation(status="Pending", reason=why), again_at=again_at)


# --- success -----------------------------------------------------------------------------------------------


def _is_done(wanted: Expected, pod: podstatus.Pod) -> bool:
    """Main has ended with 0, and the pumps after it."""
    names = (containers.MAIN, containers.PUMPS) if wanted.pumped else (containers.MAIN,)
    for name in names:
        container = pod.containers.get(name)
        if container is None or container.end is None or container.end.code != 0:
            return False
    return True


def _served(wanted: Expected, pods: Iterable[podstatus.Pod]) -> int | None:
    """When the streams of a job with ports had ended, while its main still ran; None where that is not so."""
    if not wanted.sockets:
        return None
    for pod in pods:  # there is one (`runs.submit`)
        main, pumps = pod.containers.get(containers.MAIN), pod.containers.get(containers.PUMPS)
        if main is None or pumps is None:
            continue
        moments = [end.finished_at or 0 for end in pumps.ends if end.code == 0]
        if not moments:
            continue
        if main.end is None:
            return min(moments)
        if min(moments) < (main.end.finished_at or 0):
            return min(moments)
    return None


def _last_moment(pods: Iterable[podstatus.Pod], now: int) -> int:
    moments = [
        container.end.finished_at
        for pod in pods
        for container in pod.containers.values()
        if container.end is not None and container.end.finished_at is not None
    ]
    return max(moments, default=now)


# --- failure -----------------------------------------------------------------------------------------------


def _ended_by_the_cluster(wanted: Expected, pods: Iterable[podstatus.Pod], now: int) -> Iterator[_Failure]:
    """Pods whose own status says why they ended, or that somebody has deleted. These words are first."""
    for pod in pods:
        if _is_done(wanted, pod):
            continue
        disrupted = pod.conditions.get("DisruptionTarget")
        if pod.phase == "Failed" and pod.reason:
            yield _Failure(False, now, 0, _of_the_cluster(wanted, pod.reason, pod.message))
        elif pod.deleted and disrupted is not None and disrupted.holds:
            yield _Failure(False, now, 0, _of_the_cluster(wanted, disrupted.reason, disrupted.message))
        elif pod.deleted:
            yield _Failure(False, now, 1, f"the pod {pod.name} was deleted")
        elif pod.phase == "Failed" and not any(
            end.code for each in pod.containers.values() for end in each.ends
        ):
            yield _Failure(True, now, 4, pod.message or "Failed")


def _of_the_cluster(wanted: Expected, reason: str, message: str) -> str:
    if reason == "DeadlineExceeded":
        return timed_out(wanted.job)
    return f"{reason}: {message.strip()}" if message else reason


def timed_out(job: base.Job) -> str:
    """Why a run has failed that ran longer than it might."""
    return f"DeadlineExceeded: the run was active longer than its timeout of {job.timeout_seconds} seconds"


def _ended_badly(
    wanted: Expected, jobs: Iterable[podstatus.Pod], workers: Iterable[podstatus.Pod], now: int
) -> Iterator[_Failure]:
    """Containers that ended with another code than 0. Of a same second, the cause before what it causes."""
    for pod in jobs:
        for container in pod.containers.values():
            for end in container.ends:
                if end.code == 0:
                    continue
                at = now if end.finished_at is None else end.finished_at
                if container.name == containers.MAIN:
                    limits = wanted.job.codespec.resources and wanted.job.codespec.resources.limits
                    limit = str(limits.memory) if limits and limits.memory is not None else ""
                    # A main that has gone breaks the streams of its ports; otherwise it is the pump that,
                    # when it breaks, may break main.
                    yield _Failure(
                        True, at, 0 if wanted.sockets else 2, podstatus.described("Main", end, limit=limit)
                    )
                else:
                    yield _Failure(True, at, 1, _of_ours(container, end))
    several = len(wanted.workers) > 1
    for pod in workers:
        which = f"worker-{pod.name.rpartition('-')[2]}" if several else ""
        for container in pod.containers.values():
            for end in container.ends:
                if end.code != 0 and not pod.deleted:
                    at = now if end.finished_at is None else end.finished_at
                    yield _Failure(True, at, 2, podstatus.described("Worker", end, which=which))


def _of_ours(container: podstatus.Container, end: podstatus.End) -> str:
    if end.message and not end.never_started:
        return " ".join(end.message.split())
    if container.name == containers.PREPARE:
        return podstatus.described("The preparation of the pod", end)
    return podstatus.described("Sidecar", end)


# --- pending -----------------------------------------------------------------------------------------------


def _has_run(worker: podstatus.Pod) -> bool:
    """Its program runs, or has done its part."""
    main = worker.containers.get(containers.MAIN)
    return main is not None and (main.ready or any(end.code == 0 for end in main.ends))


def _unschedulable(pods: Iterable[podstatus.Pod]) -> str | None:
    """Why no node takes a pod, in the scheduler's words."""
    for pod in pods:
        scheduled = pod.conditions.get("PodScheduled")
        if scheduled is not None and not scheduled.holds and scheduled.message:
            return f"{scheduled.reason or 'Unschedulable'}: {scheduled.message}"
    return None

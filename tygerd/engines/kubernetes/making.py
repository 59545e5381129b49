"""Creating a run's objects and taking them away again, as often as it takes.

Every step may be repeated, also by another daemon: what exists already is ours if its labels say so. Trouble
that may pass is waited out, what the cluster refuses is raised.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from typing import Any, Protocol, TypeVar

import trio

from tyger import errors
from tygerd.engines import base
from tygerd.engines.kubernetes import objects, podstatus, refusals, rundir

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 30.0
"""Seconds until something that failed is tried again, doubled each time."""

T = TypeVar("T")

logger = logging.getLogger(__name__)

Object = dict[str, Any]
Pods = Mapping[str, Mapping[str, Any]]


class Cluster(Protocol):
    """What is asked of a cluster (`api.Api`)."""

    async def create(self, body: Object) -> Object:
        """See `api.Api`."""
        ...

    async def get(self, kind: str, name: str) -> Object:
        """See `api.Api`."""
        ...

    async def delete(
        self, kind: str, name: str, *, grace: float | None = None, uid: str | None = None
    ) -> None:
        """See `api.Api`."""
        ...

    async def patch(self, kind: str, name: str, patch: Object) -> Object:
        """See `api.Api`."""
        ...


class GivenUp(Exception):  # noqa: N818 - nobody wants it any more
    """What was tried is not wanted any more."""


async def insist(
    call: Callable[[], Awaitable[T]],
    stop: trio.Event | None = None,
    *,
    access: bool = True,
    refused: bool = False,
    note: Callable[[str | None], None] = lambda _: None,
) -> T:
    """Make a call until it succeeds. `access`: also where we are not let in, as that can be put right.

    With `refused` also where the cluster says no: for what must be done at last. `note` is told what hinders,
    and None once nothing does.

    Raises:
        GivenUp: `stop` was set before it has succeeded.
        Refused: the cluster says no.
    """
    pause = FIRST_PAUSE
    while True:
        if stop is not None and stop.is_set():
            raise GivenUp
        try:
            done = await call()
        except refusals.Refused as trouble:
            if not refused and not (access and isinstance(trouble, refusals.NoAccess)):
                raise
            wait, told = pause, str(trouble)
        except refusals.Transient as trouble:
            wait, told = max(pause, trouble.retry_after or 0.0), str(trouble)
        else:
            note(None)
            return done
        note(told)
        logger.log(logging.WARNING if pause >= 1 else logging.DEBUG, "%s; trying again", told)
        with trio.move_on_after(wait):
            await (trio.Event() if stop is None else stop).wait()
        pause = min(2 * pause, LONGEST_PAUSE)


async def first_of(*calls: Callable[[], Awaitable[object]]) -> None:
    """Wait for one of several; the others are cancelled."""
    async with trio.open_nursery() as nursery:

        async def one(call: Callable[[], Awaitable[object]]) -> None:
            await call()
            nursery.cancel_scope.cancel()

        for each in calls:
            nursery.start_soon(one, each)


class Maker:
    """Creates a run. `urls` gives what its Secret has; `stop` is set when it is not wanted any more.

    `owner_is_there` is set once the Secret is; `adopted`, where it was there before. `note` is told what
    hinders.
    """

    def __init__(
        self,
        cluster: Cluster,
        record: rundir.Record,
        urls: Callable[[base.Job], Awaitable[Mapping[str, str]]],
        stop: trio.Event,
        workers_ready: trio.Event,
        note: Callable[[str | None], None] = lambda _: None,
    ) -> None:
        self._cluster = cluster
        self._record = record
        self._urls = urls
        self._stop = stop
        self._workers_ready = workers_ready
        self._note = note
        self.owner_is_there = trio.Event()
        self.adopted = False

    async def make(self) -> None:
        """Create all that is not there yet; a job's pods once its workers have run.

        Raises:
            GivenUp: it is not wanted any more; what was created is there.
            Refused: the cluster says no.
            Problem: a buffer cannot be reached from a pod.
        """
        made = self._record.objects

        async def secret() -> Object:
            try:
                files = await self._urls(self._record.job)
            except errors.Problem as problem:
                if problem.kind is errors.UNAVAILABLE:
                    raise refusals.Transient(problem.message) from problem
                raise
            return await self._create({**made.secret, "stringData": dict(files)})

        owner = await insist(secret, self._stop, access=False, note=self._note)
        self.owner_is_there.set()
        for each in (made.service, made.stateful_set):
            if each is not None:
                await self._insist_on(objects.owned(each, owner))
        if made.stateful_set is not None:
            await first_of(self._stop.wait, self._workers_ready.wait)
        async with trio.open_nursery() as nursery:
            for pod in made.pods:
                nursery.start_soon(self._insist_on, objects.owned(pod, owner))

    async def _insist_on(self, body: Object) -> None:
        await insist(lambda: self._create(body), self._stop, access=False, note=self._note)

    async def _create(self, body: Object) -> Object:
        try:
            return await self._cluster.create(body)
        except refusals.AlreadyExists:
            kind, name = body["kind"], body["metadata"]["name"]
            try:
                there = await self._cluster.get(kind, name)
            except refusals.NotFound:
                raise refusals.Transient(f"the {kind} {name} has just gone") from None
        if _is_ours(there, body):
            self.adopted = self.adopted or kind == "Secret"
            return there
        raise refusals.Refused(
            f"there is a {kind} {name} in the namespace {self._record.namespace} already, which is not ours"
        )


class Remover:
    """Takes a run out of the cluster."""

    def __init__(self, cluster: Cluster, record: rundir.Record, grace: float) -> None:
        self._cluster = cluster
        self._record = record
        self._grace = grace

    async def stop(self, pods: Pods) -> dict[str, Mapping[str, Any]]:
        """End what runs, with a grace; `pods` are the newest that were seen, by name.

        Returns those that may still run for a while. Repeated, it changes nothing. What the cluster refuses
        to end is among them, as it may end by itself.
        """
        return await self._stop(pods, refused=False)

    async def clean(self, pods: Pods) -> None:
        """Take away all of it; what still runs of it is ended with the grace. Goes on until it is done."""
        await self._stop(pods, refused=True)
        async with trio.open_nursery() as nursery:
            for name, body in self._pods.items():
                nursery.start_soon(self._let_go, body, pods.get(name))
        await self._delete(self._record.objects.secret, _owner(pods, self._pods))

    async def _stop(self, pods: Pods, *, refused: bool) -> dict[str, Mapping[str, Any]]:
        left: dict[str, Mapping[str, Any]] = {}
        bodies = self._pods
        stateful_set = self._record.objects.stateful_set
        if stateful_set is not None:
            with _said():
                await self._delete(stateful_set, refused=refused)

        async def stop_pod(name: str) -> None:
            with _said():
                # One that was just created may not have been seen yet.
                pod = pods.get(name) or await self._find(bodies[name], refused=refused)
                if pod is not None and not podstatus.read(pod).stopped:
                    left[name] = pod
                    uid = pod["metadata"]["uid"]
                    delete = functools.partial(self._cluster.delete, "Pod", name, grace=self._grace, uid=uid)
                    await insist(delete, refused=refused)

        async with trio.open_nursery() as nursery:
            for name in bodies:
                nursery.start_soon(stop_pod, name)
        return left

    async def _find(self, body: Object, *, refused: bool = True) -> Object | None:
        """What is there of an object that is ours; what others have under its name is none of ours."""

        async def look() -> Object | None:
            try:
                there = await self._cluster.get(body["kind"], body["metadata"]["name"])
            except refusals.NotFound:
                return None
            return there if _is_ours(there, body) else None

        return await insist(look, refused=refused)

    async def _delete(self, body: Object, uid: str | None = None, *, refused: bool = True) -> None:
        """Delete an object that is ours; `uid` where it is known."""
        if uid is None:
            there = await self._find(body, refused=refused)
            if there is None:
                return
            uid = there["metadata"]["uid"]
        kind, name = body["kind"], body["metadata"]["name"]
        await insist(lambda: self._cluster.delete(kind, name, uid=uid), refused=refused)

    @property
    def _pods(self) -> dict[str, Object]:
        return {str(pod["metadata"]["name"]): pod for pod in self._record.objects.pods}

    async def _let_go(self, body: Object, pod: Mapping[str, Any] | None) -> None:
        there = pod or await self._find(body)
        if there is not None:
            await insist(lambda: let_go(self._cluster, there), refused=True)


async def let_go(cluster: Cluster, pod: Mapping[str, Any]) -> None:
    """Take our finalizer from a pod, as it was last seen; others' stay."""
    finalizers = pod["metadata"].get("finalizers") or []
    if objects.FINALIZER not in finalizers:
        return
    left = [each for each in finalizers if each != objects.FINALIZER]
    try:
        await cluster.patch("Pod", pod["metadata"]["name"], {"metadata": {"finalizers": left}})
    except refusals.NotFound:
        return


def first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """One of those that several tasks have raised."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def problem(error: BaseException) -> str:
    """Why a run could not be created, in a line."""
    if isinstance(error, errors.Problem):
        return error.message
    return str(error)


@contextlib.contextmanager
def _said() -> Iterator[None]:
    """Leave it at a word where the cluster refuses something; it is tried again when the run is cleaned."""
    try:
        yield
    except refusals.Refused as refusal:
        logger.warning("what still runs cannot be stopped: %s", refusal)


def _owner(seen: Pods, names: Collection[str]) -> str | None:
    """The uid of the run's Secret, which each of its pods names."""
    for name in names:
        for owner in seen.get(name, {}).get("metadata", {}).get("ownerReferences") or ():
            if owner["kind"] == "Secret":
                return str(owner["uid"])
    return None


def _is_ours(there: Object, body: Object) -> bool:
    labels = there["metadata"].get("labels") or {}
    wanted = body["metadata"]["labels"]
    return all(labels.get(key) == wanted[key] for key in (objects.RUN, objects.INSTALLATION))

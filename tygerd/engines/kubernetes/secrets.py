"""What a run's Secret holds: an access URL for each buffer, and whom pods have to trust; kept fresh.

A file in it is named after its parameter and holds the URL; `ca.pem`, which no parameter can be called, has
the certificates that are trusted besides the public authorities'. At 70 % of their life the URLs are
replaced, and an annotation on the pods then has each kubelet look at the Secret at once (contract compute.md
8), of all replicas. Nothing of it is kept on this host: a daemon that takes a run up replaces them first.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Protocol

import trio

from tyger import errors
from tygerd import clock
from tygerd.engines import base
from tygerd.engines.kubernetes import making, refusals, rundir

TRUSTED = "ca.pem"
"""The file of certificates."""

POINT = 0.7
"""The part of their life after which URLs are replaced."""

LOOK = 60.0
"""Seconds between looks whether other certificates are to be trusted."""

PAUSE = 30.0
"""Seconds until what the cluster has refused is tried again: rights can be given back."""

UPDATED = "buffer-sas-token-update"
"""Annotation on pods: when the Secret was last changed."""

logger = logging.getLogger(__name__)

Sign = Callable[[str, bool, timedelta], Awaitable[str]]
"""An access URL for a buffer, writeable or not, that works from a pod. Raises `Problem`."""


class Cluster(Protocol):
    """What is asked of a cluster (`api.Api`)."""

    async def patch(self, kind: str, name: str, patch: dict[str, Any]) -> dict[str, Any]:
        """See `api.Api`."""
        ...


class AccessUrls:
    """Makes what Secrets hold. `trusted` is PEM of whom pods have to trust; None: only public authorities."""

    def __init__(self, sign: Sign, trusted: Callable[[], str | None] = lambda: None) -> None:
        self._sign = sign
        self._trusted = trusted
        self._made: dict[int, float] = {}
        """When the files of a run were made that is not looked after yet (`clock.boottime`)."""

    async def of(self, job: base.Job) -> dict[str, str]:
        """The files for a job's pods, by name.

        Raises:
            Problem: a buffer cannot be reached from a pod, or nobody can say how at present.
        """
        began = clock.boottime()
        files = {name: await self._url(job, name) for name in stored(job)} | self._certificates(job)
        self._made[job.run] = began
        return files

    async def keep_fresh(self, cluster: Cluster, record: rundir.Record, *, adopted: bool) -> None:
        """Replace them in time, as long as the Secret is there. To be called once that was created.

        A run that was `adopted`, which another daemon has started, may have had a Secret before: whatever
        `of` has made since may never have got there.
        """
        job = record.job
        made, known = self._made.pop(job.run, None), self._trusted() or ""
        if not stored(job):
            return
        due = clock.boottime() if adopted or made is None else made + POINT * job.access_ttl
        while True:
            # A certificate is read when somebody asks for it, and says nothing when it is another.
            while (left := due - clock.boottime()) > 0 and (self._trusted() or "") == known:  # noqa: ASYNC110
                await trio.sleep(min(left, LOOK))
            began, known = clock.boottime(), self._trusted() or ""
            try:
                whole = await self._replace(cluster, record)
            except refusals.NotFound:
                return  # it is being taken away
            except refusals.Trouble as trouble:
                logger.warning("run %d: its access URLs cannot be replaced: %s", job.run, trouble)
                whole = False
            due = began + (POINT * job.access_ttl if whole else min(PAUSE, POINT * job.access_ttl / 4))

    async def _replace(self, cluster: Cluster, record: rundir.Record) -> bool:
        """Replace what can be had; whether that is all. Raises `Trouble` that does not pass by itself."""
        job = record.job
        files, missing = self._certificates(job), 0
        for name in stored(job):
            try:
                files[name] = await self._url(job, name)
            except errors.Problem as problem:  # the others must not expire because of it
                missing += problem.kind is not errors.NOT_FOUND  # else it never comes back
                logger.warning("run %d: no access URL for '%s': %s", job.run, name, problem)
        secret = str(record.objects.secret["metadata"]["name"])
        await making.insist(lambda: cluster.patch("Secret", secret, {"stringData": files}))
        told = {"metadata": {"annotations": {UPDATED: clock.now().isoformat()}}}
        async with trio.open_nursery() as nursery:
            for pod in record.objects.pods:
                nursery.start_soon(_tell, cluster, str(pod["metadata"]["name"]), told)
        return not missing

    def _certificates(self, job: base.Job) -> dict[str, str]:
        trusted = self._trusted()
        return {TRUSTED: trusted} if trusted and stored(job) else {}

    async def _url(self, job: base.Job, name: str) -> str:
        writeable = name in job.outputs
        return await self._sign(job.buffers[name], writeable, timedelta(seconds=job.access_ttl))


async def _tell(cluster: Cluster, pod: str, told: dict[str, Any]) -> None:
    """Annotate a pod, if it is there. Others' kubelets see the Secret at their leisure."""
    try:
        await making.insist(lambda: cluster.patch("Pod", pod, told))
    except refusals.Trouble as trouble:
        logger.debug("%s is not told of new access URLs: %s", pod, trouble)


def stored(job: base.Job) -> list[str]:
    """The parameters whose buffers have access URLs: an ephemeral one has none that a pod could use."""
    return [name for name in (*job.inputs, *job.outputs) if not is_ephemeral(job, name)]


def is_ephemeral(job: base.Job, name: str) -> bool:
    """Whether the buffer of this parameter is kept nowhere."""
    return job.buffers[name].startswith(f"run-{job.run}-temp-")

"""A cluster's objects in memory, as `api.Api` gives them: created, read, patched, deleted, with finalizers.

cluster.trouble.append(Transient("..."))     # the next call fails, before it has any effect
cluster.later.append(Transient("..."))       # the next call fails, after it has had its effect
"""

from __future__ import annotations

import copy
import itertools
from typing import NamedTuple

import trio

from tests.support import fakekubelet
from tygerd.engines.kubernetes import refusals


class Access(NamedTuple):
    """The way there, as far as it is in messages."""

    namespace: str
    where: str


class FakeCluster:
    """`calls` are those that were made: a verb, a kind and a name."""

    def __init__(self):
        self.objects = {}
        self.calls = []
        self.trouble = []
        self.later = []
        self.graces = {}
        self.forbidden = set()
        self.access = Access("ns", "the cluster at https://fake")
        self._uids = itertools.count(1)
        self.kubelet = fakekubelet.Kubelet()
        self.reflector = FakePods(self)
        self._changed = trio.Event()

    def names(self, kind):
        return sorted(name for known, name in self.objects if known == kind)

    async def create(self, body):
        if body["kind"] == "SelfSubjectAccessReview":
            asked = body["spec"]["resourceAttributes"]
            return {"status": {"allowed": asked["resource"] not in self.forbidden}}
        kind, name = body["kind"], body["metadata"]["name"]
        await self._begin("create", kind, name)
        if (kind, name) in self.objects:
            raise refusals.AlreadyExists(f"{kind} {name} already exists", status=409)
        made = copy.deepcopy(body)
        made["metadata"]["uid"] = f"uid-{next(self._uids)}"
        self.objects[kind, name] = made
        self._end()
        return copy.deepcopy(made)

    async def get(self, kind, name):
        await self._begin("get", kind, name)
        return copy.deepcopy(self._there(kind, name))

    async def list(self, kind, selector="", *, fields=""):  # noqa: ARG002 - nobody of ours uses them
        await self._begin("list", kind, selector)
        wanted = dict(part.split("=") for part in selector.split(",") if part)
        found = [
            copy.deepcopy(each)
            for (known, _), each in self.objects.items()
            if known == kind and wanted.items() <= each["metadata"].get("labels", {}).items()
        ]
        return found, "1"

    async def delete(self, kind, name, *, grace=None, uid=None):
        await self._begin("delete", kind, name)
        there = self.objects.get((kind, name))
        if there is not None and uid in (None, there["metadata"]["uid"]):
            self.graces[name] = grace
            there["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            self._settle(kind, name)
        self._end()

    async def patch(self, kind, name, patch):
        await self._begin("patch", kind, name)
        there = self._there(kind, name)
        _merge(there, patch)
        self._settle(kind, name)
        self._end()
        return copy.deepcopy(there)

    def logs(self, *args, **more):
        return self.kubelet.logs(*args, **more)

    async def version(self):
        await self._begin("version", "", "")
        return "v1.34.0"

    def status(self, name, **status):
        """What a kubelet would say of a pod."""
        self.objects["Pod", name].setdefault("status", {}).update(status)
        self._end()

    def shows(self, pod):
        """The status, and whether its node is known, are those of this pod."""
        there = self.objects["Pod", pod["metadata"]["name"]]
        there["spec"] |= pod["spec"]
        self.status(pod["metadata"]["name"], **pod["status"])

    async def until(self, holds):
        """Wait until a call has made this true."""
        with trio.fail_after(60):
            while not holds():
                await self._changed.wait()

    def _there(self, kind, name):
        if (kind, name) not in self.objects:
            raise refusals.NotFound(f"{kind} {name} not found", status=404)
        return self.objects[kind, name]

    def _settle(self, kind, name):
        """What is deleted goes once nobody holds it, and what it owns goes with it."""
        there = self.objects[kind, name]["metadata"]
        if "deletionTimestamp" not in there or there.get("finalizers"):
            return
        del self.objects[kind, name]
        for known, other in list(self.objects):
            metadata = self.objects.get((known, other), {}).get("metadata", {})
            owners = [each["uid"] for each in metadata.get("ownerReferences", ())]
            if there["uid"] in owners:
                metadata.setdefault("deletionTimestamp", "2026-01-01T00:00:00Z")
                self._settle(known, other)

    async def _begin(self, verb, kind, name):
        await trio.lowlevel.checkpoint()
        self.calls.append((verb, kind, name))
        if self.trouble:
            raise self.trouble.pop(0)

    def _end(self):
        self.reflector.tell()
        changed, self._changed = self._changed, trio.Event()
        changed.set()
        if self.later:
            raise self.later.pop(0)


def _merge(there, patch):
    """RFC 7396."""
    for key, value in patch.items():
        if value is None:
            there.pop(key, None)
        elif isinstance(value, dict):
            _merge(there.setdefault(key, {}), value)
        else:
            there[key] = value


class FakePods:
    """The newest pods of a fake cluster, as `watch.Reflector` gives them; `tell` is an event."""

    def __init__(self, cluster):
        self._cluster = cluster
        self._count = 0
        self.hides = False
        self._news = trio.Event()
        self.synced = trio.Event()
        self.synced.set()

    async def run(self):
        await trio.sleep_forever()

    def pods(self, run):
        wanted = "" if self.hides else str(run)
        return {
            name: copy.deepcopy(each)
            for (kind, name), each in self._cluster.objects.items()
            if kind == "Pod" and each["metadata"]["labels"].get("tyger-run") == wanted
        }

    async def changed(self, run, seen):  # noqa: ARG002 - every run is told of everything
        while self._count <= seen:
            await self._news.wait()
        return self._count

    def tell(self):
        self._count += 1
        news, self._news = self._news, trio.Event()
        news.set()

"""What is known of pods while lists and watches fail in every way; of a real cluster: `tests/cluster`."""

import json
import queue
from urllib.parse import parse_qs, urlsplit

import pytest
import trio

from tests.support import apiserver
from tygerd import enginesettings
from tygerd.engines.kubernetes import api, watch

PODS = "GET /api/v1/namespaces/runs/pods"


def pod(name="run-1-job-0", run="1", *, version="1", phase="Pending", **metadata):
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": {"tyger-run": run},
            "resourceVersion": version,
            "managedFields": [{"manager": "kubelet"}],
            **metadata,
        },
        "spec": {"nodeName": "n", "containers": []},
        "status": {"phase": phase},
    }


class Cluster:
    """Lists what is in `listed`, the last for ever; `watches` are those that were begun."""

    def __init__(self, server):
        self.listed = [[]]
        self.lists = 0
        self.refusals = []
        self.refused = queue.Queue()
        self.watches = queue.Queue()
        server.answers[PODS] = self.answer

    def answer(self, request):
        if self.refusals:
            self.refused.put(None)
            return self.refusals.pop(0)
        if "watch=true" in request.path:
            begun = Watched(request.path)
            self.watches.put(begun)
            return begun.reply
        self.lists += 1
        items = self.listed.pop(0) if len(self.listed) > 1 else self.listed[0]
        version = str(100 * self.lists)
        return {"apiVersion": "v1", "metadata": {"resourceVersion": version}, "items": items}

    async def watch(self):
        """The next watch that is begun."""
        return await trio.to_thread.run_sync(lambda: self.watches.get(timeout=60))


class Watched:
    """A watch, as the server has it."""

    def __init__(self, path):
        self.version = parse_qs(urlsplit(path).query)["resourceVersion"][0]
        self._lines = queue.Queue()
        self.reply = apiserver.Reply(200, iter(lambda: self._lines.get(timeout=60), None))

    def say(self, kind, found):
        self._lines.put(json.dumps({"type": kind, "object": found}).encode() + b"\n")

    def end(self, *, cut=False):
        self.reply.cut = cut
        self._lines.put(None)


@pytest.fixture
def cluster(server):
    return Cluster(server)


@pytest.fixture
def begin(reach, nursery):
    """Start a reflector that does not pause for long."""

    async def begin(**options):
        settings = enginesettings.Kubernetes()
        made = watch.Reflector(api.Api(reach(), settings), "inst", jitter=lambda: -0.9, **options)
        await nursery.start(made.run)
        return made

    return begin


def phases(reflector, run=1):
    return {name: found["status"]["phase"] for name, found in reflector.pods(run).items()}


async def test_what_was_listed(cluster, begin, server):
    cluster.listed = [[pod(), pod("run-1-job-1", phase="Running"), pod("x", "2")]]
    reflector = await begin()
    await reflector.synced.wait()
    assert phases(reflector) == {"run-1-job-0": "Pending", "run-1-job-1": "Running"}
    assert phases(reflector, 2) == {"x": "Pending"}
    assert phases(reflector, 3) == {}
    assert (await cluster.watch()).version == "100"
    assert {parse_qs(urlsplit(seen.path).query)["labelSelector"][0] for seen in server.seen} == {
        "tyger-installation=inst"
    }


async def test_only_what_is_needed_is_kept(cluster, begin):
    cluster.listed = [[pod(finalizers=["f"])]]
    reflector = await begin()
    await reflector.synced.wait()
    assert reflector.pods(1)["run-1-job-0"] == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "run-1-job-0",
            "labels": {"tyger-run": "1"},
            "resourceVersion": "1",
            "finalizers": ["f"],
        },
        "spec": {"nodeName": "n"},
        "status": {"phase": "Pending"},
    }


async def test_changes_wake_who_waits_for_them(cluster, begin):
    reflector = await begin()
    watched = await cluster.watch()
    seen = await reflector.changed(1, -1)
    other = await reflector.changed(2, -1)
    watched.say("ADDED", pod(version="101"))
    seen = await reflector.changed(1, seen)
    assert phases(reflector) == {"run-1-job-0": "Pending"}
    watched.say("MODIFIED", pod(version="102", phase="Running"))
    seen = await reflector.changed(1, seen)
    assert phases(reflector) == {"run-1-job-0": "Running"}
    watched.say("DELETED", pod(version="103"))
    await reflector.changed(1, seen)
    assert phases(reflector) == {}
    assert await reflector.changed(2, other - 1) == other  # nothing was said of run 2
    assert reflector.statistics() == (0, 3, 1, 1, None)


async def test_events_that_make_no_sense_do_no_harm(cluster, begin):
    reflector = await begin()
    watched = await cluster.watch()
    seen = await reflector.changed(1, -1)
    watched.say("DELETED", pod(version="101"))  # of what was never there
    watched.say("ADDED", pod(run="our-label", version="102"))
    watched.say("ADDED", pod(run="\u0664", version="103"))
    watched.say("ADDED", {"metadata": {"labels": {"tyger-run": "1"}}})
    watched.say("ADDED", {"metadata": None})
    watched.say("ADDED", {})
    watched.say("ADDED", pod(version="104"))
    watched.say("ADDED", pod(version="104"))
    while not reflector.pods(1):
        seen = await reflector.changed(1, seen)
    assert phases(reflector) == {"run-1-job-0": "Pending"}


async def test_a_watch_that_ends_is_taken_up_where_it_was(cluster, begin):
    reflector = await begin()
    watched = await cluster.watch()
    watched.say("BOOKMARK", {"kind": "Pod", "metadata": {"resourceVersion": "120"}})
    watched.end()
    watched = await cluster.watch()
    assert watched.version == "120"
    seen = await reflector.changed(1, -1)
    watched.say("ADDED", pod(version="130"))
    await reflector.changed(1, seen)
    watched.end(cut=True)
    assert (await cluster.watch()).version == "130"
    assert cluster.lists == 1


@pytest.mark.parametrize("where", ["answer", "event"])
async def test_what_the_cluster_has_forgotten_is_listed_again(cluster, begin, where):
    cluster.listed = [[pod()], [pod(phase="Succeeded"), pod("late")]]
    reflector = await begin()
    watched = await cluster.watch()
    seen = await reflector.changed(1, -1)
    if where == "answer":
        cluster.refusals = [apiserver.status(410, "too old", reason="Expired")]
        watched.end()
    else:
        watched.say("ERROR", {"code": 410, "reason": "Expired", "message": "too old"})
    await reflector.changed(1, seen)
    assert phases(reflector) == {"run-1-job-0": "Succeeded", "late": "Pending"}
    assert (await cluster.watch()).version == "200"


async def test_what_is_known_stays_while_the_cluster_is_away(cluster, begin):
    cluster.listed = [[pod()]]
    reflector = await begin()
    watched = await cluster.watch()
    cluster.refusals = [
        None,
        apiserver.status(503, "not ready"),
        apiserver.status(429, "slow down", headers=[("Retry-After", "0")]),
        apiserver.status(401, "who?"),
        apiserver.status(401, "who?"),
        apiserver.status(403, "not you", reason="Forbidden"),
    ]
    watched.end(cut=True)
    watched = await cluster.watch()
    assert phases(reflector) == {"run-1-job-0": "Pending"}
    assert (watched.version, cluster.lists, cluster.refusals) == ("100", 1, [])
    seen = await reflector.changed(1, -1)
    watched.say("MODIFIED", pod(version="101", phase="Running"))
    await reflector.changed(1, seen)
    assert phases(reflector) == {"run-1-job-0": "Running"}
    assert reflector.statistics().trouble is None


async def test_a_cluster_that_is_away_at_first(cluster, begin):
    cluster.refusals = [apiserver.status(503, "not ready")] * 2
    reflector = await begin()
    await reflector.synced.wait()
    assert reflector.statistics().lists == 3


async def test_trouble_is_told(cluster, begin):
    cluster.refusals = [apiserver.status(403, "pods is forbidden", reason="Forbidden")] * 50
    reflector = await begin()
    for _ in range(2):  # whoever asks again has noted the first answer
        await trio.to_thread.run_sync(lambda: cluster.refused.get(timeout=60))
    assert reflector.statistics().trouble == "cannot list pods: pods is forbidden"


async def test_all_is_listed_again_from_time_to_time(cluster, begin):
    cluster.listed = [[], [pod()]]
    reflector = await begin(relist_seconds=0.0)
    seen = await reflector.changed(1, -1)
    (await cluster.watch()).end()
    await cluster.watch()
    await reflector.changed(1, seen)
    assert phases(reflector) == {"run-1-job-0": "Pending"}


async def test_watches_that_end_at_once_are_not_trusted(cluster, begin):
    await begin()
    for _ in range(watch.EMPTY_WATCHES):
        (await cluster.watch()).end()
    assert (await cluster.watch()).version == "200"


async def test_cancelling_ends_the_watch(cluster, reach):
    made = watch.Reflector(api.Api(reach(), enginesettings.Kubernetes()), "inst")
    async with trio.open_nursery() as nursery:
        await nursery.start(made.run)
        watched = await cluster.watch()
        nursery.cancel_scope.cancel()
    watched.say("ADDED", pod())
    assert made.pods(1) == {}
    watched.end()

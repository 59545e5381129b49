"""The engine's calls: what is asked, and what becomes of the answer."""

import json
import threading
from urllib.parse import parse_qs, urlsplit

import pytest
import trio

from tests.support import apiserver
from tygerd import enginesettings
from tygerd.engines.kubernetes import access, api

PODS = "/api/v1/namespaces/runs/pods"
POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}


@pytest.fixture
def cluster(reach):
    return api.Api(reach(), enginesettings.Kubernetes(request_timeout=60))


def query(seen):
    return {key: values[0] for key, values in parse_qs(urlsplit(seen.path).query).items()}


async def test_creating(server, cluster):
    server.answers[f"POST {PODS}"] = lambda request: {**json.loads(request.body), "status": {}}
    assert await cluster.create(POD) == {**POD, "status": {}}
    assert cluster.calls == 1


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (409, "AlreadyExists", api.AlreadyExists),
        (404, "NotFound", api.NotFound),
        (403, "Forbidden", api.Refused),
        (422, "Invalid", api.Refused),
        (500, "InternalError", api.Transient),
    ],
)
async def test_what_cannot_be_created(server, cluster, code, reason, kind):
    server.answers[f"POST {PODS}"] = apiserver.status(code, "exceeded quota", reason=reason)
    with pytest.raises(kind) as caught:
        await cluster.create(POD)
    assert str(caught.value) == "cannot create the pod p: exceeded quota"


async def test_where_kinds_are(server, cluster):
    sets = "/apis/apps/v1/namespaces/runs/statefulsets"
    for path in (f"{sets}/a%2Fb", "/api/v1/nodes/n", "/api/v1/namespaces/runs"):
        server.answers[f"GET {path}"] = {"metadata": {"name": path}}
    assert (await cluster.get("StatefulSet", "a/b"))["metadata"]["name"] == f"{sets}/a%2Fb"
    await cluster.get("Node", "n")
    await cluster.get("Namespace", "runs")
    with pytest.raises(api.NotFound, match="cannot read the stateful set gone: the server could not find"):
        await cluster.get("StatefulSet", "gone")


# --- lists -------------------------------------------------------------------------------------------------


def page(*names, version="7", place=""):
    items = [{"metadata": {"name": name}} for name in names] or None
    return {
        "apiVersion": "v1",
        "kind": "PodList",
        "metadata": {"resourceVersion": version, "continue": place},
        "items": items,
    }


async def test_a_list_has_all_pages(server, cluster):
    server.answers[f"GET {PODS}"] = [page("a", "b", place="more"), page("c", version="8")]
    found, version = await cluster.list("Pod", "tyger-run=1", fields="status.phase=Running")
    assert [one["metadata"]["name"] for one in found] == ["a", "b", "c"]
    assert {(one["apiVersion"], one["kind"]) for one in found} == {("v1", "Pod")}
    assert version == "8"
    selected = {"labelSelector": "tyger-run=1", "fieldSelector": "status.phase=Running", "limit": "500"}
    assert [query(seen) for seen in server.seen] == [selected, {**selected, "continue": "more"}]


async def test_nothing_to_list(server, cluster):
    server.answers[f"GET {PODS}"] = page()
    assert await cluster.list("Pod") == ([], "7")


async def test_a_list_whose_next_page_comes_too_late_begins_anew(server, cluster):
    late = apiserver.status(410, "too old", reason="Expired")
    server.answers[f"GET {PODS}"] = [page("a", place="x"), late, page("a", place="y"), page("b")]
    found, _version = await cluster.list("Pod")
    assert [one["metadata"]["name"] for one in found] == ["a", "b"]


async def test_a_list_that_is_too_old_at_once(server, cluster):
    server.answers[f"GET {PODS}"] = apiserver.status(410, "too old", reason="Expired")
    with pytest.raises(api.Gone):
        await cluster.list("Pod")


# --- changes -----------------------------------------------------------------------------------------------


async def test_deleting(server, cluster):
    server.answers[f"DELETE {PODS}/p"] = {"kind": "Status"}
    await cluster.delete("Pod", "p", grace=2.0, uid="u")
    assert json.loads(server.seen[0].body) == {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "propagationPolicy": "Background",
        "gracePeriodSeconds": 2,
        "preconditions": {"uid": "u"},
    }


async def test_what_is_gone_is_deleted(server, cluster):
    await cluster.delete("Pod", "p")
    conflict = apiserver.status(409, "the UID in the precondition does not match", reason="Conflict")
    server.answers[f"DELETE {PODS}/p"] = conflict
    await cluster.delete("Pod", "p", uid="another")
    with pytest.raises(api.Conflict):
        await cluster.delete("Pod", "p")


async def test_patches_of_both_kinds(server, cluster):
    server.answers[f"PATCH {PODS}/p"] = POD
    assert await cluster.patch("Pod", "p", {"metadata": {"finalizers": None}}) == POD
    await cluster.patch("Pod", "p", [{"op": "remove", "path": "/metadata/finalizers/0"}])
    assert [seen.headers["Content-Type"] for seen in server.seen] == [
        "application/merge-patch+json",
        "application/json-patch+json",
    ]
    assert [json.loads(seen.body) for seen in server.seen] == [
        {"metadata": {"finalizers": None}},
        [{"op": "remove", "path": "/metadata/finalizers/0"}],
    ]


async def test_the_clusters_version(server, cluster):
    server.answers["GET /version"] = {"gitVersion": "v1.34.2"}
    assert await cluster.version() == "v1.34.2"


async def test_an_answer_that_is_no_object(server, cluster):
    server.answers["GET /version"] = apiserver.Reply(200, b"<html>a captive portal</html>")
    with pytest.raises(api.Transient, match=r"cannot reach the cluster: .* answers with what is no object"):
        await cluster.version()


async def test_who_is_cancelled_does_not_wait(server, cluster):
    asked, done = threading.Event(), threading.Event()

    def answer(_request):
        asked.set()
        done.wait(60)

    server.answers["GET /version"] = answer
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cluster.version)
        await trio.to_thread.run_sync(asked.wait)
        nursery.cancel_scope.cancel()
    assert not done.is_set()
    done.set()


async def test_only_so_many_requests_are_under_way(server, reach):
    cluster = api.Api(reach(connections=2), enginesettings.Kubernetes(connections=2))
    together = threading.Barrier(2)
    server.answers["GET /version"] = lambda _request: together.wait(60) is not None and {}
    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(cluster.version)
    assert server.connections == 2


# --- streams -----------------------------------------------------------------------------------------------


def line(kind, **found):
    return json.dumps({"type": kind, "object": found}).encode() + b"\n"


def test_a_watch(server, cluster):
    content = (
        line("ADDED", a=1) + line("BOOKMARK", metadata={"resourceVersion": "9"}) + b"\n" + line("DELETED")
    )
    content = content.replace(b"\n\n", b"\n")
    server.answers[f"GET {PODS}"] = apiserver.Reply(200, [content[:5], content[5:40], content[40:]])
    assert list(cluster.watch("Pod", "tyger-run", "7")) == [
        ("ADDED", {"a": 1}),
        ("BOOKMARK", {"metadata": {"resourceVersion": "9"}}),
        ("DELETED", {}),
    ]
    assert query(server.seen[0]) == {
        "watch": "true",
        "allowWatchBookmarks": "true",
        "labelSelector": "tyger-run",
        "resourceVersion": "7",
        "timeoutSeconds": "300",
    }


@pytest.mark.parametrize(
    ("last", "kind"),
    [
        (line("ERROR", code=410, reason="Expired", message="too old"), api.Gone),
        (line("ERROR", code=500, message="etcd"), api.Transient),
        (line("ERROR", message="?"), api.Transient),
        (b"no json\n", api.Transient),
        (b"{}\n", api.Transient),
    ],
)
def test_a_watch_that_fails_in_the_middle(server, cluster, last, kind):
    server.answers[f"GET {PODS}"] = apiserver.Reply(200, [line("ADDED"), last])
    found = iter(cluster.watch("Pod", "", "7"))
    assert next(found) == ("ADDED", {})
    with pytest.raises(kind, match="cannot watch pods: "):
        next(found)


def test_a_watch_that_is_refused(server, cluster):
    server.answers[f"GET {PODS}"] = apiserver.status(410, "too old", reason="Expired")
    with pytest.raises(api.Gone, match="cannot watch pods: too old"):
        next(iter(cluster.watch("Pod", "", "7")))


def test_half_a_line_is_no_change(server, cluster):
    server.answers[f"GET {PODS}"] = apiserver.Reply(200, [line("ADDED"), line("ADDED")[:-1]])
    assert list(cluster.watch("Pod", "", "7")) == [("ADDED", {})]


def test_a_log(server, cluster):
    server.answers[f"GET {PODS}/p/log"] = apiserver.Reply(200, [b"2026 a\n", b"2026 b\n"])
    log = cluster.logs("p", "main", follow=True, since="2026-11-28T00:00:00Z", previous=True, stream="Stdout")
    assert b"".join(log) == b"2026 a\n2026 b\n"
    assert query(server.seen[0]) == {
        "container": "main",
        "follow": "true",
        "previous": "true",
        "sinceTime": "2026-11-28T00:00:00Z",
        "stream": "Stdout",
        "timestamps": "true",
    }
    assert b"".join(cluster.logs("p", "main", follow=False)) == b"2026 a\n2026 b\n"
    assert query(server.seen[1]) == {"container": "main", "timestamps": "true"}


def test_a_log_that_is_not_there_or_breaks_off(server, cluster):
    message = 'container "main" in pod "p" is waiting to start: ContainerCreating'
    answers = [
        apiserver.status(400, message, reason="BadRequest"),
        apiserver.Reply(200, [b"2026 a"], cut=True),
    ]
    server.answers[f"GET {PODS}/p/log"] = answers
    with pytest.raises(api.Refused) as caught:
        list(cluster.logs("p", "main", follow=True))
    assert str(caught.value) == f"cannot read the log of main in the pod p: {message}"
    with pytest.raises(api.Transient, match="cannot read the log of main in the pod p: "):
        list(cluster.logs("p", "main", follow=True))


def test_closing_a_stream_ends_it(server, cluster):
    begun, done = threading.Event(), threading.Event()

    def pieces():
        yield b"2026 a\n"
        done.wait(60)

    server.answers[f"GET {PODS}/p/log"] = lambda _request: apiserver.Reply(200, pieces())
    log = cluster.logs("p", "main", follow=True)
    found = []

    def read():
        for piece in log:
            found.append(piece)
            begun.set()

    reader = threading.Thread(target=read)
    reader.start()
    assert begun.wait(60)
    log.close()
    reader.join(60)
    done.set()
    assert found == [b"2026 a\n"]


def test_a_stream_that_was_closed_before_asks_nobody(server, cluster):
    for stream in (cluster.watch("Pod", "", "7"), cluster.logs("p", "main", follow=True)):
        stream.close()
        assert list(stream) == []
    assert server.seen == []


async def test_without_a_kubeconfig_nothing_can_be_asked_yet(tmp_path):
    """Whichever call it is, that is trouble which may pass, as everywhere else."""
    settings = enginesettings.Kubernetes(kubeconfig=str(tmp_path / "none"))
    cluster = api.Api(access.Access(settings, {}), settings)
    calls = (
        lambda: cluster.list("Pod"),
        lambda: cluster.create(POD),
        lambda: cluster.get("Pod", "p"),
        lambda: trio.to_thread.run_sync(lambda: list(cluster.watch("Pod", "", "1"))),
        lambda: trio.to_thread.run_sync(lambda: list(cluster.logs("p", "c", follow=True))),
    )
    for call in calls:
        with pytest.raises(api.NoAccess, match="none: No such file or directory"):
            await call()


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"items": []},
        {"apiVersion": "v1", "metadata": {}, "items": []},
        {"apiVersion": "v1", "metadata": 5, "items": []},
        {"apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": [5]},
        {"apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": [{"metadata": None}]},
        {"apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": 5},
    ],
)
async def test_a_server_that_speaks_json_and_is_no_cluster(server, cluster, said):
    """Its address is wrong, say."""
    server.answers[f"GET {PODS}"] = server.answers[f"POST {PODS}"] = said
    with pytest.raises(api.Transient, match=r"cannot list pods: the cluster at .* answers with what is no "):
        await cluster.list("Pod")
    if not isinstance(said.get("metadata"), dict):
        with pytest.raises(
            api.Transient, match=r"cannot create the pod p: .* answers with what is no object"
        ):
            await cluster.create(POD)


@pytest.mark.parametrize(
    "said", [b"5", b"[]", b"{}", b'{"type":"ADDED","object":5}', b'{"type":"ADDED","object":[5]}']
)
async def test_a_watch_of_nonsense(server, cluster, said):
    server.answers[f"GET {PODS}"] = apiserver.Reply(200, said + b"\n")
    with pytest.raises(api.Transient, match="the watch has a line that is no change"):
        await trio.to_thread.run_sync(lambda: list(cluster.watch("Pod", "", "1")))

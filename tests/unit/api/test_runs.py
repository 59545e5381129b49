"""Runs over HTTP: the contract's statuses, headers and bodies, on a played engine."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from types import SimpleNamespace

import msgspec
import pytest
import trio

from tests.support import fakeengine, parts, served
from tyger import errors
from tygerd import clock, config
from tygerd.api import runs as runs_api
from tygerd.buffers import service as buffers_service
from tygerd.codespecs import service as codespecs_service
from tygerd.engines import base, several
from tygerd.runs import service
from tygerd.stores import local, places

V = "api-version=1.0"
INLINE = {"kind": "job", "image": "x", "command": ["true"]}


@pytest.fixture
async def engine(tmp_path):
    os.makedirs(tmp_path / "engine")
    return fakeengine.FakeEngine(str(tmp_path / "engine"))


@pytest.fixture
async def users(engine):
    """All engines for users' runs, the preferred first."""
    return [engine]


@pytest.fixture
async def other(tmp_path, users):
    """One that is preferred to `engine`; named by a test before `client`."""
    users.insert(0, fakeengine.FakeEngine(str(tmp_path / "engine")))
    users[0].traits = base.Traits("other")
    return users[0]


@pytest.fixture
async def client(tmp_path, catalog, engine, users):
    """A client of the runs' routes."""
    store = local.LocalStore(str(tmp_path))
    await store.start()
    buffers = buffers_service.Buffers(catalog, places.Places(store), config.Buffers())
    runs = service.Runs(
        catalog,
        several.Engines(users, engine),
        buffers=buffers,
        codespecs=codespecs_service.Codespecs(catalog),
        transfer_service=parts.registry(catalog, tmp_path, store, locate=buffers.locate_active),
        relay_service=parts.relaying(tmp_path),
        state=str(tmp_path),
    )
    app = SimpleNamespace(runs=runs)
    async with trio.open_nursery() as nursery:
        await nursery.start(runs.run)
        async with served.serving(app, runs_api.ROUTES, config.Limits()) as connected:
            yield connected
        nursery.cancel_scope.cancel()


async def create(client, **run):
    answer = await client.call("POST", f"/runs?{V}", json={"job": {"codespec": INLINE}, **run})
    assert answer.status == 201, answer
    return answer.json()


async def finish(client, engine, run_id, status="Succeeded", **more):
    await engine.wait_started(run_id)
    engine.end(run_id, status, **more)
    await client.call("GET", f"/runs/{run_id}?watch=true&{V}")


async def test_creating(client):
    answer = await client.call("POST", f"/runs?{V}", json={"job": {"codespec": INLINE}, "tags": {"a": "1"}})
    run = answer.json()
    assert (answer.status, answer.headers["location"]) == (201, "/runs/1")
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    created = run.pop("createdAt")
    assert created.endswith("+00:00")
    assert run.pop("eTag").isdecimal()
    assert run == {
        "id": 1,
        "status": "Pending",
        "job": {"codespec": INLINE, "replicas": 1},
        "timeoutSeconds": 43200,
        "tags": {"a": "1"},
        "bufferAccessTtl": "01:00:00",
        "engine": "fake",
    }
    assert "tyger-engine" not in answer.headers


async def test_an_engine_that_is_asked_for(client, engine):
    asked = {"job": {"codespec": INLINE}}
    answer = await client.call("POST", f"/runs?{V}&engine=none", json=asked)
    assert answer.json()["error"]["message"] == "Unknown engine 'none'. Valid options are: 'auto', 'fake'."
    answer = await client.call("POST", f"/runs?{V}&pull=true", json=asked)
    assert answer.json()["error"]["message"].startswith("pull: the fake engine has no images")
    engine.traits = base.Traits("fake", pull=True)
    answer = await client.call("POST", f"/runs?{V}&pull=true&engine=fake", json=asked)
    assert (answer.status, engine.checked, engine.prepared) == (201, [("x", True)], [("x", True)])
    assert answer.headers["tyger-engine"] == "fake"
    assert "tyger-engine-reason" not in answer.headers


async def test_why_an_engine_was_chosen(other, client):
    other.trouble = "it sl\u00e4eps 100%"
    other.refused = errors.Problem(errors.UNAVAILABLE, other.trouble)
    answer = await client.call("POST", f"/runs?{V}&engine=", json={"job": {"codespec": INLINE}})
    assert answer.headers["tyger-engine"] == "fake"
    reason = answer.headers["tyger-engine-reason"]
    assert reason == "it sl%C3%A4eps 100%25"


async def test_an_image_that_cannot_be_had(other, client, engine):
    """Another engine executes the run, if one can; else it is refused."""
    other.unfetchable = errors.Problem(errors.UNAVAILABLE, "the registry is away. Try again.")
    asked = {"job": {"codespec": INLINE}}
    answer = await client.call("POST", f"/runs?{V}&engine=", json=asked)
    assert (answer.status, answer.headers["tyger-engine"]) == (201, "fake")
    assert answer.headers["tyger-engine-reason"] == "the registry is away"
    engine.refused_images.add("x")
    answer = await client.call("POST", f"/runs?{V}", json=asked)
    assert answer.status == 503
    assert answer.json()["error"]["message"] == "the registry is away. Try again."


async def test_how_far_the_images_have_come(client, engine):
    """Whoever creates a run can ask by its key; afterwards there is nothing to be told."""
    answer = await client.call("GET", f"/runs/_progress?{V}&key=k")
    assert (answer.status, answer.body) == (200, b"")
    engine.fetch = ["half"]
    answers = []

    async def create():
        sent = {"json": {"job": {"codespec": INLINE}}, "headers": [("Idempotency-Key", "k")]}
        answers.append(await client.call("POST", f"/runs?{V}", **sent))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(create)
        with trio.fail_after(60):
            while not engine.prepared:
                await trio.lowlevel.checkpoint()
        heard = b""
        async with await trio.open_unix_socket(client.path) as stream:
            await stream.send_all(f"GET /runs/_progress?{V}&key=k HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            while b'{"message":"half"}\n' not in heard:
                heard += await stream.receive_some()
        # Who asked has left: the run is given up, and nothing is left of it.
    assert answers[0].status == 409
    assert "given up" in answers[0].json()["error"]["message"]
    assert (await client.call("GET", f"/runs/1?{V}")).status == 404


async def test_what_the_original_client_sends_is_accepted(client):
    body = {
        "createdAt": "0001-01-01T00:00:00Z",
        "id": 0,
        "job": {"codespec": INLINE, "replicas": 1, "buffers": {}},
    }
    answer = await client.call("POST", f"/runs?{V}", json=body, headers=[("Idempotency-Key", "k")])
    again = await client.call("POST", f"/runs?{V}", json=body, headers=[("Idempotency-Key", "k")])
    assert (answer.status, again.status, again.json()["id"]) == (201, 201, answer.json()["id"])


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, "missing required properties including: 'job'"),
        ({"job": {}}, "codespec"),
        ({"job": {"codespec": INLINE}, "color": "red"}, "Object contains unrecognized properties 'color'"),
        ({"job": {"codespec": {"image": "x"}}}, "Missing discriminator property 'kind'"),
        ({"job": {"codespec": "none"}}, "The codespec 'none' was not found"),
        ({"job": {"codespec": "A/b"}}, "The codespec reference 'A/b' is invalid."),
        ({"job": {"codespec": INLINE}, "kind": "system"}, "System runs cannot be created directly"),
        ({"job": {"codespec": INLINE}, "bufferAccessTtl": "x"}, "$.bufferAccessTtl"),
    ],
)
async def test_refusals(client, body, text):
    answer = await client.call("POST", f"/runs?{V}", json=body)
    status, code, message = answer.error
    assert (status, code) == (400, "InvalidInput")
    assert text in message


async def test_showing_and_listing(client, engine):
    for number in range(3):
        await create(client, tags={"n": str(number)})
    await finish(client, engine, 2)
    assert (await client.call("GET", f"/runs/2?{V}")).json()["status"] == "Succeeded"
    page = (await client.call("GET", f"/runs?limit=2&{V}")).json()
    assert [run["id"] for run in page["items"]] == [3, 2]
    rest = (await client.call("GET", page["nextLink"])).json()
    assert ([run["id"] for run in rest["items"]], "nextLink" in rest) == ([1], False)
    found = await client.call("GET", f"/runs?status=SUCCEEDED&status=failed&_ct=&{V}")
    assert [run["id"] for run in found.json()["items"]] == [2]
    assert [run["id"] for run in (await client.call("GET", f"/runs?tag[n]=0&{V}")).json()["items"]] == [1]
    since = rest["items"][0]["createdAt"].replace("+", "%2B")
    assert [run["id"] for run in (await client.call("GET", f"/runs?since={since}&{V}")).json()["items"]] == [
        3,
        2,
    ]
    assert (await client.call("GET", f"/runs/counts?{V}")).json() == {"pending": 2, "succeeded": 1}
    assert (await client.call("GET", f"/runs?status=done&{V}")).error == (
        400,
        "InvalidInput",
        "Invalid status: done",
    )
    assert (await client.call("GET", f"/runs?since=today&{V}")).error[1] == "BadRequest"


async def test_clocks_that_jump(client, engine, monkeypatch):
    """Runs are in the order of the moments they were given, each on one page, whatever the clock does."""
    hours = iter([12, 11, 13, 13, 10, 14, 9])
    now = []

    async def create_at_next_hour():
        now[:] = [datetime(2024, 1, 25, next(hours), tzinfo=UTC)]
        return await create(client)

    monkeypatch.setattr(clock, "now", lambda: now[0])
    for _ in range(4):
        await create_at_next_hour()
    target, found = f"/runs?limit=1&{V}", []
    while target:
        page = (await client.call("GET", target)).json()
        found += [run["id"] for run in page["items"]]
        target = page.get("nextLink")
        if len(found) in {1, 3}:
            await create_at_next_hour()  # one that is older than all, and one that is newer
    assert found == [4, 3, 1, 2, 5]
    assert [run["id"] for run in (await client.call("GET", f"/runs?{V}")).json()["items"]] == [
        6,
        4,
        3,
        1,
        2,
        5,
    ]
    since = await client.call("GET", f"/runs?since=2024-01-25T12:00:00Z&{V}")
    assert [run["id"] for run in since.json()["items"]] == [6, 4, 3]
    assert (await client.call("GET", f"/runs/counts?since=2024-01-25T13:00:00Z&{V}")).json() == {"pending": 1}
    # An end before the beginning is told as it was seen, and is an end.
    await create_at_next_hour()
    now[:] = [datetime(2023, 1, 1, tzinfo=UTC)]
    run = (await client.call("POST", f"/runs/7/cancel?{V}")).json()
    assert (run["createdAt"], run["finishedAt"]) == ("2024-01-25T09:00:00+00:00", "2023-01-01T00:00:00+00:00")
    assert (await client.call("GET", f"/runs/7?watch=true&{V}")).body.count(b"\n") == 1


async def test_watching(client, engine):
    await create(client)
    answers = []

    async def watch():
        answers.append(await client.call("GET", f"/runs/1?watch=true&{V}"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        await finish(client, engine, 1, "Failed", reason="Main exited with code 1")
    (answer,) = answers
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.body.endswith(b"\n")
    snapshots = [msgspec.json.decode(line) for line in answer.body.splitlines()]
    assert (snapshots[-1]["status"], snapshots[-1]["statusReason"]) == ("Failed", "Main exited with code 1")
    assert len(snapshots) == len({msgspec.json.encode(snapshot) for snapshot in snapshots})


async def test_tags(client):
    run = await create(client, tags={"a": "1"})
    wrong = await client.call("PUT", f"/runs/1?{V}", json={"tags": {}}, headers=[("If-Match", "1")])
    assert (wrong.status, wrong.body) == (412, b"")
    current = (await client.call("GET", f"/runs/1?{V}")).json()["eTag"]
    body = {"eTag": run["eTag"], "tags": {"b": "2"}, "expiresAt": None}
    done = await client.call("PUT", f"/runs/1?{V}", json=body, headers=[("If-Match", current)])
    assert (done.status, done.json()["tags"], done.headers["etag"]) == (200, {"b": "2"}, done.json()["eTag"])
    other = await client.call("PUT", f"/runs/1?{V}", json={"id": 2})
    text = "The run ID in the URL does not match the run ID in the request body."
    assert (other.status, other.json()) == (400, text)


async def test_cancelling(client, engine):
    await create(client)
    await engine.wait_started(1)
    answer = await client.call("POST", f"/runs/1/cancel?{V}")
    run = answer.json()
    assert (answer.status, run["status"], run["statusReason"]) == (202, "Canceled", "Canceled by user")
    assert (await client.call("POST", f"/runs/1/cancel?{V}")).json()["finishedAt"] == run["finishedAt"]


async def test_logs(client, engine):
    await create(client)
    empty = await client.call("GET", f"/runs/1/logs?{V}")
    assert (empty.status, empty.body, "content-type" in empty.headers) == (200, b"", False)
    await engine.wait_started(1)
    engine.log(1, *(f"2024-01-25T18:20:49.00000000{n}Z O {n}" for n in range(4)))
    await finish(client, engine, 1)
    for query, lines in {
        "": b"0\n1\n2\n3\n",
        "tailLines=1&timestamps=TRUE": b"2024-01-25T18:20:49.000000003Z 3\n",
        "tailLines=0": b"",
        "tailLines=-1": b"",
        "since=2024-01-25T18:20:49.000000001Z&follow=true": b"2\n3\n",
    }.items():
        assert (await client.call("GET", f"/runs/1/logs?{query}&{V}")).body == lines, query
    for query in ("tailLines=x", "since=x", "follow=x"):
        assert (await client.call("GET", f"/runs/1/logs?{query}&{V}")).error[:2] == (400, "BadRequest")


@pytest.mark.parametrize("name", ["99", "x", "-1", "0x1", "99999999999999999999", "%D9%A1", "1" * 5000])
@pytest.mark.parametrize(
    ("method", "tail", "body"),
    [
        ("GET", "", "NotFound"),
        ("GET", "?watch=true", "NotFound"),
        ("POST", "/cancel", "NotFound"),
        ("GET", "/logs", None),
        ("PUT", "", None),
    ],
)
async def test_a_run_that_is_not_there(client, name, method, tail, body):
    path, _, query = tail.partition("?")
    json = {"tags": {}} if method == "PUT" else None
    answer = await client.call(method, f"/runs/{name}{path}?{query}&{V}", json=json)
    assert (answer.status, answer.error[1]) == (404, body)


async def test_sweeping_is_done_already(client):
    answer = await client.call("POST", f"/runs/_sweep?{V}")
    assert (answer.status, answer.body) == (200, b"")

"""Transfers over a real socket, our own client in a thread: descriptors, events, ranges, refusals."""

import json
import os

import pytest
import trio

from tests.support import parts, served
from tyger import client as client_module
from tyger import errors, model
from tygerd.api import transfers as api

ID = "0123456789abcdef0123456789abcdef"


@pytest.fixture
async def app(app, nursery, tmp_path):
    app.transfers = parts.registry(app.catalog, tmp_path, app.store, locate=app.buffers.locate_active)
    await nursery.start(app.transfers.run)
    return app


@pytest.fixture
async def daemon(app):
    async with served.serving(app, api.ROUTES) as served_client:
        yield client_module.Client(served_client.path)


@pytest.fixture
async def buffer(app):
    return (await app.buffers.create(model.Buffer(), os.getuid())).id


@pytest.fixture
def pipe():
    ends = list(os.pipe())
    yield ends
    for fd in ends:
        if fd >= 0:
            os.close(fd)


async def ask(daemon, *arguments, **options):
    return await trio.to_thread.run_sync(lambda: daemon.request(*arguments, **options))


async def write(daemon, buffer, data, pipe):
    """A whole write, as a client makes it; the events."""
    events = []

    def attached():
        body = {"buffer": buffer, "id": ID, "flushInterval": 0}
        with daemon.stream("POST", "/transfers", body=body, fds=[pipe[0]]) as stream:
            assert stream.status == 201
            assert stream.headers["transfer-id"] == ID
            for line in stream.lines():
                events.append(json.loads(line))
                if events[-1]["event"] == "eof":
                    daemon.request("POST", f"/transfers/{ID}/outcome", body={"outcome": "complete"})

    os.write(pipe[1], data)
    os.close(pipe[1])
    pipe[1] = -1
    await trio.to_thread.run_sync(attached)
    return events


async def test_a_write_and_its_events(daemon, buffer, pipe):
    events = await write(daemon, buffer, b"some bytes", pipe)
    assert events[0]["event"] == "attached"
    assert events[0]["transfer"]["buffer"] == buffer
    assert [events[-2], events[-1]] == [
        {"event": "eof", "bytes": 10},
        {"event": "complete", "bytes": 10, "blocks": 2},
    ]
    (listed,) = (await ask(daemon, "GET", "/transfers")).json()["items"]
    assert (listed["id"], listed["kind"], listed["state"], listed["bytes"]) == (ID, "write", "complete", 10)
    shown = await ask(daemon, "GET", f"/transfers/{ID}")
    assert shown.json() == listed


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, b"some bytes"),
        ({"offset": "5"}, b"bytes"),
        ({"offset": "2", "length": "3"}, b"me "),
        ({"offset": "10"}, b""),
        ({"length": "0"}, b""),
    ],
)
async def test_reading_a_range(daemon, buffer, pipe, query, expected):
    await write(daemon, buffer, b"some bytes", pipe)
    answer = await ask(daemon, "GET", f"/transfers/read/{buffer}", query=list(query.items()))
    assert answer.body == expected


@pytest.mark.parametrize(
    ("name", "value"), [("offset", "-1"), ("offset", "x"), ("length", "1e3"), ("length", "²")]
)
async def test_a_bad_range_is_named(daemon, buffer, name, value):
    with pytest.raises(errors.Problem, match=f"{name} must be a number of bytes"):
        await ask(daemon, "GET", f"/transfers/read/{buffer}", query=[(name, value)])


async def test_a_write_end_is_refused_and_the_buffer_still_unwritten(daemon, buffer, pipe):
    with pytest.raises(errors.Problem, match="the write end of its pipe"):
        await ask(daemon, "POST", "/transfers", body={"buffer": buffer}, fds=[pipe[1]])
    assert (await ask(daemon, "GET", "/transfers")).json() == {"items": []}


async def test_only_pipes_are_taken(daemon, buffer):
    with open(os.devnull, "rb") as file, pytest.raises(errors.Problem, match="not a pipe"):
        await ask(daemon, "POST", "/transfers", body={"buffer": buffer}, fds=[file.fileno()])


@pytest.mark.parametrize("fds", [0, 2])
async def test_exactly_one_descriptor_is_needed(daemon, buffer, pipe, fds):
    with pytest.raises(errors.Problem) as caught:
        await ask(daemon, "POST", "/transfers", body={"buffer": buffer}, fds=[pipe[0]] * fds)
    assert caught.value.status == 400


async def test_what_is_unknown_is_not_found(daemon, pipe):
    for arguments, options in [
        (("POST", "/transfers"), {"body": {"buffer": "b" * 26}, "fds": [pipe[0]]}),
        (("POST", f"/transfers/{ID}/attach"), {"body": {}, "fds": [pipe[0]]}),
        (("POST", f"/transfers/{ID}/outcome"), {"body": {"outcome": "complete"}}),
        (("POST", f"/transfers/{ID}/cancel"), {}),
        (("GET", f"/transfers/{ID}"), {}),
        (("GET", f"/transfers/read/{'b' * 26}"), {}),
    ]:
        with pytest.raises(errors.Problem, match="not found"):
            await ask(daemon, *arguments, **options)


async def test_a_client_that_goes_away_fails_its_buffer(daemon, app, buffer, pipe):
    def attach_and_leave():
        with daemon.stream("POST", "/transfers", body={"buffer": buffer, "id": ID}, fds=[pipe[0]]):
            os.write(pipe[1], b"some")

    await trio.to_thread.run_sync(attach_and_leave)
    with pytest.raises(errors.Problem, match="already failed: its writer was killed"):
        entry = await app.transfers.find_write(ID)
        await entry._final.wait()
        await ask(daemon, "POST", f"/transfers/{ID}/outcome", body={"outcome": "complete"})
    os.close(pipe[0])
    pipe[0] = -1
    with pytest.raises(BrokenPipeError):
        os.write(pipe[1], b"more")


async def test_cancelling(daemon, buffer, pipe):
    def attached():
        with daemon.stream("POST", "/transfers", body={"buffer": buffer, "id": ID}, fds=[pipe[0]]) as stream:
            cancelled.append(daemon.request("POST", f"/transfers/{ID}/cancel").json())
            return [json.loads(line) for line in stream.lines()]

    cancelled = []
    events = await trio.to_thread.run_sync(attached)
    assert events[-1] == {"event": "failed", "bytes": 0, "reason": "cancelled by user"}
    assert cancelled[0]["state"] == "failed"


async def test_a_failed_buffer_ends_with_a_trailer(daemon, app, buffer):
    await app.store.mark_failed(buffer, "because")

    def read():
        with daemon.stream("GET", f"/transfers/read/{buffer}") as stream:
            return b"".join(stream.pieces()), stream.trailers

    data, trailers = await trio.to_thread.run_sync(read)
    assert data == b""
    assert trailers["tyger-error"] == "BufferFailed: the buffer is in a permanently failed state: because"

"""News over a real socket: buffers that are created, changed and removed."""

import json
import os

import pytest
import trio

from tests.support import served
from tyger import client, errors, model
from tygerd import config, events
from tygerd.api import events as api
from tygerd.buffers import service


@pytest.fixture
async def app(app):
    app.events = events.Events()
    app.buffers = service.Buffers(app.catalog, app.places, config.Buffers(), announce=app.events.announce)
    return app


async def test_what_changes_is_streamed(app):
    lines = []

    def follow(path, expected):
        with client.Client(path).stream("GET", "/events") as stream:
            for line in stream.lines():
                lines.append(json.loads(line))
                heard.set()
                if len(lines) == expected:
                    return

    async with served.serving(app, api.ROUTES) as connected, trio.open_nursery() as nursery:
        heard = Heard()
        nursery.start_soon(trio.to_thread.run_sync, follow, connected.path, 4)
        await heard.wait()
        buffer = (await app.buffers.create(model.Buffer(), os.getuid())).id
        await app.buffers.update(buffer, model.BufferUpdate(tags={"a": "1"}))
        await app.buffers.move("delete", buffer)
    assert lines == [{"event": "listening"}] + [{"event": "changed", "kind": "buffer", "id": buffer}] * 3


async def test_a_listener_that_is_too_slow_is_told_in_the_trailer(app):
    def follow(path):
        with client.Client(path).stream("GET", "/events") as stream:
            for _ in stream.lines():
                heard.set()
            return stream.trailers

    async with served.serving(app, api.ROUTES) as connected, trio.open_nursery() as nursery:
        heard = Heard()
        nursery.start_soon(flood, app, heard)
        trailers = await trio.to_thread.run_sync(follow, connected.path)
    assert trailers["tyger-error"].startswith(f"{errors.TRY_AGAIN.code}: ")


async def flood(app, heard):
    await heard.wait()
    for _ in range(events.BACKLOG + 2):
        app.events.announce("run", "1")


class Heard:
    """A trio.Event that a worker thread may set."""

    def __init__(self):
        self._event = trio.Event()
        self._token = trio.lowlevel.current_trio_token()

    def set(self):
        self._token.run_sync_soon(self._event.set)

    async def wait(self):
        await self._event.wait()

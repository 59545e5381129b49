"""A watcher that never reads, on a real socket."""

import select

import pytest
import trio

from tests.support import served
from tygerd.api import watching
from tygerd.http import messages, router

LARGE = b"x" * 999_999 + b"\n"


def route(path, **options):
    """One that never has enough said."""

    async def handle(app, request: messages.Request) -> messages.StreamResponse:
        async def run(sink):
            while True:
                await watching.send(sink, LARGE, **options)

        return messages.StreamResponse(run)

    return router.Route("GET", path, handle, "Watch", versioned=False)


@pytest.fixture
async def client():
    async with served.serving(None, [route("/watch"), route("/hasty", patience=0.2)]) as it:
        yield it


async def test_one_that_reads_is_served_on(client):
    async with await trio.open_unix_socket(client.path) as stream:
        await stream.send_all(b"GET /watch HTTP/1.1\r\nHost: x\r\n\r\n")
        heard = 0
        async for piece in stream:
            heard += len(piece)
            if heard > 10 * len(LARGE):
                break


async def test_one_that_never_reads_is_dropped(client):
    async with await trio.open_unix_socket(client.path) as stream:
        await stream.send_all(b"GET /hasty HTTP/1.1\r\nHost: x\r\n\r\n")
        closed = select.poll()
        closed.register(stream.socket.fileno(), select.POLLRDHUP)
        assert await trio.to_thread.run_sync(closed.poll, 60_000)
        heard = b"".join([piece async for piece in stream])
    assert heard.startswith(b"HTTP/1.1 200 OK\r\n")
    assert not heard.endswith(b"\r\n")  # cut: no proper end of a stream

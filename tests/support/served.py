"""Handlers behind the real HTTP server on a real Unix socket, in this process; and a client that takes
answers apart to the last header."""

import contextlib
import os
import shutil
import socket
import tempfile
from typing import NamedTuple

import h11
import msgspec
import trio

from tygerd import config
from tygerd.http import connection, messages, receive, router


class Answer(NamedTuple):
    status: int
    headers: dict
    body: bytes

    def json(self):
        return msgspec.json.decode(self.body)

    @property
    def error(self):
        """(status, code, message) of an error body; of an empty one the data plane's code."""
        if not self.body:
            return self.status, self.headers.get("x-ms-error-code"), None
        error = self.json()["error"]
        return self.status, error["code"], error["message"]


class Client:
    """One connection a call, so that calls can overlap."""

    def __init__(self, path):
        self.path = path

    async def call(self, method, target, body=b"", headers=(), *, json=None):
        """Send a request; `json` is encoded and sent as the body."""
        data = body if json is None else msgspec.json.encode(json)
        fields = [("Host", "unix----NFXGKY3U")]
        fields += [(name, value.encode("latin-1")) for name, value in headers]
        if data or method in {"PUT", "POST"}:
            fields.append(("Content-Length", str(len(data))))
        framing = h11.Connection(h11.CLIENT)
        async with await trio.open_unix_socket(self.path) as stream:
            await stream.send_all(framing.send(h11.Request(method=method, target=target, headers=fields)))
            with contextlib.suppress(trio.BrokenResourceError):  # refused early: the answer says why
                await stream.send_all(framing.send(h11.Data(data=data)) or b"")
            framing.send(h11.EndOfMessage())
            head, pieces = None, []
            while True:
                event = framing.next_event()
                if event is h11.NEED_DATA:
                    framing.receive_data(await stream.receive_some())
                elif isinstance(event, h11.Response):
                    head = event
                elif isinstance(event, h11.Data):
                    pieces.append(bytes(event.data))
                elif isinstance(event, h11.EndOfMessage):
                    break
        names = {name.decode(): value.decode("latin-1") for name, value in head.headers}
        return Answer(head.status_code, names, b"".join(pieces))


@contextlib.asynccontextmanager
async def serving(app, routes, limits=None):
    """Serve `routes` with `app` as their first argument; yields a Client."""
    limits = limits or config.Limits()
    site = connection.Site(
        app=app,
        router=router.Router(routes),
        limits=limits,
        version="0",
        fds=receive.Quota(16),
        threads=trio.CapacityLimiter(4),
        life="test",
    )
    directory = tempfile.mkdtemp(prefix="tyger-")
    try:
        path = os.path.join(directory, "s")
        with trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
            await listening.bind(path)
            listening.listen()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_accept, listening, site, nursery)
                yield Client(path)
                nursery.cancel_scope.cancel()
    finally:
        shutil.rmtree(directory)


async def _accept(listening, site, nursery):
    while True:
        sock, _ = await listening.accept()
        peer = messages.Peer(os.getuid(), os.getgid(), os.getpid())
        nursery.start_soon(connection.Connection(sock, peer, site).serve)

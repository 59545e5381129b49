"""A raw HTTP client for tests of the server: says exactly the bytes it is told, reads answers with h11.

async with wire.serving(routes) as peer:
    await peer.say(b"GET /x HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    answer = await peer.answer()
"""

from __future__ import annotations

import array
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import h11
import trio

from tygerd import config
from tygerd.http import connection, messages, receive, router

PEER = messages.Peer(uid=1000, gid=1000, pid=os.getpid())
PATIENCE = 60
"""Seconds until a test gives up."""


@dataclass
class Answer:
    """One answer; `chunks` counts the pieces it came in, `complete` says whether its end was seen."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    chunks: int = 0
    trailers: dict[str, str] = field(default_factory=dict)
    complete: bool = False


class Peer:
    """The client's end of a connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = trio.socket.from_stdlib_socket(sock)
        self._framing = h11.Connection(h11.CLIENT)

    async def say(self, data: bytes, fds: Sequence[int] = ()) -> None:
        """Send bytes, descriptors with the first of them."""
        if fds:
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))
            sent = await self.sock.sendmsg([data], [rights])
            data = data[sent:]
        while data:
            data = data[await self.sock.send(data) :]

    async def ask(
        self, method: str, target: str, body: bytes | None = None, headers: str = "", fds: Sequence[int] = ()
    ) -> Answer:
        """One request and its answer."""
        length = "" if body is None else f"Content-Length: {len(body)}\r\n"
        count = f"Tyger-Fds: {len(fds)}\r\n" if fds else ""
        head = f"{method} {target} HTTP/1.1\r\nHost: x\r\n{length}{count}{headers}\r\n"
        await self.say(head.encode() + (body or b""), fds)
        return await self.answer(method)

    async def answer(self, method: str = "GET") -> Answer:
        """Read one answer, or what there is of it when the connection ends. `method` is what was asked."""
        # h11 reads answers only to requests that it framed itself; the one that was sent is its caller's.
        self._framing = self._next(method)
        answer = Answer(0, {})
        while True:
            event = self._framing.next_event()
            if event is h11.NEED_DATA:
                data = await self.receive()
                try:
                    self._framing.receive_data(data)
                    if not data:
                        self._framing.next_event()
                except h11.RemoteProtocolError:
                    return answer
                if not data:
                    return answer
            elif isinstance(event, h11.Response):
                answer.status = event.status_code
                answer.headers = {name.decode(): value.decode() for name, value in event.headers}
            elif isinstance(event, h11.Data):
                answer.body += event.data
                answer.chunks += event.chunk_end
            elif isinstance(event, h11.EndOfMessage):
                answer.trailers = {name.decode(): value.decode() for name, value in event.headers}
                answer.complete = True
                return answer
            elif isinstance(event, h11.ConnectionClosed):
                return answer

    def _next(self, method: str) -> h11.Connection:
        framing = h11.Connection(h11.CLIENT)
        framing.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
        framing.send(h11.EndOfMessage())
        if rest := self._framing.trailing_data[0]:
            framing.receive_data(rest)
        return framing

    async def receive(self) -> bytes:
        """Bytes from the server; b"" at its end of file, or when it reset the connection."""
        with trio.fail_after(PATIENCE):
            try:
                return await self.sock.recv(65536)
            except ConnectionResetError:
                return b""

    async def closed(self) -> bool:
        """Whether the server closes without saying anything more. Waits for it."""
        return await self.receive() == b""


def site(
    routes: Sequence[router.Route], limits: config.Limits | None = None, app: object = None
) -> connection.Site:
    """What a server would give to its connections."""
    limits = limits or config.Limits()
    return connection.Site(
        app=app,
        router=router.Router(routes),
        limits=limits,
        version="9.9",
        fds=receive.Quota(limits.fds_per_uid),
        threads=trio.CapacityLimiter(4),
        life="test",
    )


@contextlib.asynccontextmanager
async def serving(
    routes: Sequence[router.Route], limits: config.Limits | None = None, site_: connection.Site | None = None
) -> AsyncIterator[Peer]:
    """A connection that is being served; `served` of the peer is the server's end."""
    ours, theirs = socket.socketpair()
    served = connection.Connection(
        trio.socket.from_stdlib_socket(theirs), PEER, site_ or site(routes, limits)
    )
    peer = Peer(ours)
    peer.served = served  # type: ignore[attr-defined]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(served.serve)
        try:
            yield peer
        finally:
            peer.sock.close()
            # What hangs now would hang for ever.
            nursery.cancel_scope.deadline = trio.current_time() + PATIENCE
    assert not nursery.cancel_scope.cancelled_caught

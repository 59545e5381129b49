"""One HTTP/1.1 exchange with the server behind a Unix socket, streamed both ways in bounded memory.

h11 frames, trio moves the bytes. Knows nothing of what is asked. A connection carries one exchange.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator

import h11
import trio

from tygerd.http import messages

MAX_HEAD = 64 * 1024
"""Bytes of an answer's head; a daemon's has a few hundred."""

PIECE = 256 * 1024
"""Bytes that are received at once."""

PATIENCE = 60.0
"""Seconds for an answer to begin once the request has been sent; clients wait as long (rest-api.md 11)."""

CONNECT_PATIENCE = 10.0
"""Seconds for a server whose queue is full."""

HOP = {
    "connection",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
"""Headers that are about one connection (and `Host`, which is): never passed on. `proxy-*` are neither."""


class BrokenOff(Exception):  # noqa: N818 - what becomes of it is for the caller
    """The server cannot be reached, or does not finish what it began; `str()` says why."""


class Exchange:
    """An answer that has begun: `status`, `headers` without the connection's, then the body in pieces.

    `announced` are the trailers that may follow, as a header names them, and `trailers` those that did.
    """

    def __init__(self, sock: trio.socket.SocketType, patience: float = PATIENCE) -> None:
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self.announced: str | None = None
        self.trailers: list[tuple[str, str]] = []
        self._seconds = patience
        self._sock = sock
        self._framing = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        self._patience = trio.CancelScope()

    @classmethod
    async def begin(
        cls,
        sock: trio.socket.SocketType,
        method: str,
        target: str,
        headers: messages.Pairs,
        body: AsyncIterator[bytes] | None,
        *,
        patience: float = PATIENCE,
    ) -> Exchange:
        """Send a request on a new connection, and wait for the head of its answer, `patience` seconds.

        `headers` must frame `body`. A server that answers before it has the whole body is not sent the rest.
        The connection is closed if this raises or is cancelled; else by `close`.

        Raises:
            BrokenOff: there is no answer.
            Exception: whatever `body` raises.
        """
        self = cls(sock, patience)
        try:
            await self._ask(method, target, headers, body)
        except BaseException:
            sock.close()
            raise
        return self

    async def _ask(
        self, method: str, target: str, headers: messages.Pairs, body: AsyncIterator[bytes] | None
    ) -> None:
        fields = [("Host", "tyger"), ("Connection", "close"), *headers]
        head = h11.Request(
            method=method,
            target=target,
            headers=[(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields],
        )
        failures: list[Exception] = []  # carried by hand: a nursery would wrap them

        async def send() -> None:
            try:
                await self._send(head, body)
            except Exception as error:  # noqa: BLE001 - the body's own, which our caller knows
                failures.append(error)
                nursery.cancel_scope.cancel()

        with self._patience:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send)
                try:
                    await self._head()
                except BrokenOff as error:
                    failures.append(error)
                nursery.cancel_scope.cancel()
        if self._patience.cancelled_caught:
            raise BrokenOff(f"the server has not answered within {self._seconds:.0f} seconds")
        if failures:
            raise failures[0]

    async def _send(self, head: h11.Request, body: AsyncIterator[bytes] | None) -> None:
        # One that has hung up has answered, or says nothing: both are found where the answer is read.
        with contextlib.suppress(OSError):
            await self._write(self._framing.send(head))
            if body is not None:
                async for piece in body:
                    await self._write(self._framing.send(h11.Data(data=piece)))
            await self._write(self._framing.send(h11.EndOfMessage()))
        self._patience.deadline = trio.current_time() + self._seconds

    async def _write(self, data: bytes | None) -> None:
        left = memoryview(data or b"")
        while left:
            left = left[await self._sock.send(left) :]

    async def _head(self) -> None:
        event = await self._event()
        while isinstance(event, h11.InformationalResponse):
            event = await self._event()
        if not isinstance(event, h11.Response):
            raise BrokenOff("the server closed the connection without an answer")
        self.status = event.status_code
        fields = [
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers.raw_items()
        ]
        self.headers = passed_on(fields)
        self.announced = next((value for name, value in fields if name.lower() == "trailer"), None)

    async def _event(self) -> object:
        while True:
            try:
                event = self._framing.next_event()
                if event is h11.NEED_DATA:
                    self._framing.receive_data(await self._sock.recv(PIECE))
                    continue
            except h11.RemoteProtocolError as error:
                raise BrokenOff(f"the server's answer is cut short, or no HTTP: {error}") from None
            except OSError as error:
                raise BrokenOff(f"the connection to the server broke: {error.strerror}") from None
            return event

    async def next_piece(self) -> bytes | None:
        """The next bytes of the body, None at its end.

        Raises:
            BrokenOff: it was cut.
        """
        event = await self._event()
        if isinstance(event, h11.EndOfMessage):
            self.trailers = [
                (name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers
            ]
        return bytes(event.data) if isinstance(event, h11.Data) else None

    async def whole(self, limit: int) -> bytes:
        """All of the body, and then the connection is closed.

        Raises:
            BrokenOff: it was cut, or is longer than `limit` bytes.
        """
        body = bytearray()
        with self._sock:
            while (piece := await self.next_piece()) is not None:
                body += piece
                if len(body) > limit:
                    raise BrokenOff(f"the server's answer is longer than {limit} bytes")
        return bytes(body)

    def close(self) -> None:
        """Close the connection: the server's answer is over, or of no more use."""
        self._sock.close()


def passed_on(headers: messages.Pairs) -> list[tuple[str, str]]:
    """Those headers of a message that are not about its connection."""
    headers = list(headers)
    named = {
        word.strip().lower()
        for name, value in headers
        if name.lower() == "connection"
        for word in value.split(",")
    }
    dropped = HOP | named
    return [
        (name, value)
        for name, value in headers
        if name.lower() not in dropped and not name.lower().startswith("proxy-")
    ]


async def connect(path: str) -> trio.socket.SocketType:
    """A connection to the Unix socket at `path`.

    In a thread, because a socket that does not block cannot wait for room in a server's queue.

    Raises:
        OSError: nobody listens there.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sock.settimeout(CONNECT_PATIENCE)
        await trio.to_thread.run_sync(sock.connect, path)
    except BaseException:
        sock.close()
        raise
    return trio.socket.from_stdlib_socket(sock)

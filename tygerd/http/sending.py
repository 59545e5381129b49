"""Answers onto the wire: heads, whole bodies, files and chunks. h11 frames them; the kernel copies files.

Everything here raises `PeerGone` when the client's end is closed, and leaves the connection unusable when
it is cancelled or fails in the middle of an answer: the caller then cuts it.
"""

from __future__ import annotations

import contextlib
import http
from collections.abc import AsyncIterator, Callable
from typing import Any

import h11
import msgspec
import trio

from tygerd import clock
from tygerd.http import messages, tls
from tygerd.osutil import sendfile


class PeerGone(Exception):  # noqa: N818 - clients may leave at any time
    """The client's end of the connection is closed."""


def common_headers(request_id: str, version: str) -> list[tuple[str, str]]:
    """What every answer has, of the data plane too, and one that refuses a connection (rest-api.md 1.6)."""
    return [("Date", clock.http_date()), ("Request-Id", request_id), ("Tyger-Version", version)]


class _Bytes:
    """Stands in h11's framing for bytes that never pass through Python."""

    def __init__(self, length: int) -> None:
        self._length = length

    def __len__(self) -> int:
        return self._length


class Sender:
    """The writing half of a connection. One task uses it at a time."""

    def __init__(
        self,
        sock: tls.Socket,
        framing: h11.Connection,
        threads: trio.CapacityLimiter,
        version: str,
    ) -> None:
        self._sock = sock
        self._framing = framing
        self._threads = threads
        self._version = version
        self.head_only = False
        """The request is a HEAD: its answer has no body, whatever the headers say."""

    async def send_event(self, event: h11.Event) -> None:
        """Frame and send one event."""
        await self._write(self._framing.send(event))

    async def head(
        self, status: int, headers: messages.Pairs, request_id: str, *extra: tuple[str, str]
    ) -> None:
        """Send a status and headers, with `common_headers`."""
        common = common_headers(request_id, self._version)
        fields = [(name.encode(), value.encode("latin-1")) for name, value in (*headers, *extra, *common)]
        # Clients of the compatible API show the whole status line to their users.
        reason = http.HTTPStatus(status).phrase.encode()
        await self.send_event(h11.Response(status_code=status, reason=reason, headers=fields))

    async def whole(self, answer: messages.Response, request_id: str, *extra: tuple[str, str]) -> None:
        """Send a complete answer."""
        body, kind = _encode(answer)
        length = [] if answer.status in (204, 304) else [("Content-Length", str(len(body)))]
        given = {name.lower() for name, _ in answer.headers}
        content_type = [("Content-Type", kind)] if kind and "content-type" not in given else []
        fields = (*length, *content_type, *extra)
        await self.head(answer.status, answer.headers, request_id, *fields)
        if body and not self.head_only:
            await self.send_event(h11.Data(data=body))
        await self.send_event(h11.EndOfMessage())

    async def file(self, answer: messages.FileResponse, request_id: str, *extra: tuple[str, str]) -> None:
        """Send a file as the whole body; only the head to a HEAD request.

        Raises:
            OSError: the file could not be read; the answer is cut.
        """
        length = ("Content-Length", str(answer.length))
        await self.head(answer.status, answer.headers, request_id, length, *extra)
        if answer.length and not self.head_only:
            await self.file_part(answer.fd.fileno(), answer.offset, answer.length)
        await self.send_event(h11.EndOfMessage())

    async def file_part(self, fd: int, offset: int, length: int) -> None:
        """Send a part of a file as one piece of body (chunked: as one chunk).

        Raises:
            OSError: the file could not be read.
        """
        data: Any = _Bytes(length)
        for piece in self._framing.send_with_data_passthrough(h11.Data(data=data)) or ():
            if piece is not data:
                await self._write(piece)
                continue
            try:
                if isinstance(self._sock, tls.Secured):
                    await self._sock.send_file(fd, offset, length, self._threads)
                else:
                    await sendfile.send_file(self._sock.fileno(), fd, offset, length, self._threads)
            except (BrokenPipeError, ConnectionResetError) as error:
                raise PeerGone from error

    async def memory_part(self, part: memoryview) -> None:
        """Send a large piece of body from memory (chunked: as one chunk)."""
        data: Any = _Bytes(len(part))
        for piece in self._framing.send_with_data_passthrough(h11.Data(data=data)) or ():
            if piece is not data:
                await self._write(piece)
                continue
            try:
                if isinstance(self._sock, tls.Secured):
                    await self._sock.send_memory(part, self._threads)
                else:
                    await sendfile.send_memory(self._sock.fileno(), part, self._threads)
            except (BrokenPipeError, ConnectionResetError) as error:
                raise PeerGone from error

    async def _write(self, data: bytes | None) -> None:
        if not data:
            return
        left = memoryview(data)
        try:
            while left:
                left = left[await self._sock.send(left) :]
        except OSError as error:  # of whatever kind: TCP has several
            raise PeerGone from error


def _encode(answer: messages.Response) -> tuple[bytes, str | None]:
    """A body's bytes and, where it is ours to say, its type."""
    if answer.body is None:
        return b"", None
    if isinstance(answer.body, bytes):
        return answer.body, None
    return msgspec.json.encode(answer.body), messages.JSON_TYPE


class ChunkSink:
    """The `messages.Sink` of a connection.

    `gone` is called when the client turns out to be gone: it cancels the stream. `broken` says that a chunk
    was begun and not ended, after which the stream cannot be ended properly.
    """

    def __init__(self, sender: Sender, gone: Callable[[], None]) -> None:
        self._sender = sender
        self._gone = gone
        self._trailers: list[tuple[bytes, bytes]] = []
        self.ended_by: messages.EndedBy | None = None
        self.broken = False

    async def head(self, answer: messages.StreamResponse, request_id: str, extra: messages.Pairs) -> None:
        """Send the stream's head."""
        async with self._sending():
            await self._sender.head(answer.status, answer.headers, request_id, *extra)

    async def send(self, data: bytes) -> None:
        """Contract: see `messages.Sink`."""
        if data:
            async with self._sending():
                await self._sender.send_event(h11.Data(data=data))

    async def send_file(self, fd: int, offset: int, length: int) -> None:
        """Contract: see `messages.Sink`."""
        if length:
            async with self._sending():
                await self._sender.file_part(fd, offset, length)

    async def send_memory(self, data: memoryview) -> None:
        """Contract: see `messages.Sink`."""
        if data:
            async with self._sending():
                await self._sender.memory_part(data)

    def trailer(self, name: str, value: str) -> None:
        """Contract: see `messages.Sink`."""
        printable = "".join(c if c.isprintable() else " " for c in value)
        self._trailers.append((name.encode(), printable.encode("latin-1", "replace").strip()))

    async def finish(self) -> None:
        """Send the terminal chunk and the trailers."""
        await self._sender.send_event(h11.EndOfMessage(headers=self._trailers))

    @contextlib.asynccontextmanager
    async def _sending(self) -> AsyncIterator[None]:
        self.broken = True
        try:
            yield
        except PeerGone:
            self._gone()
            await trio.lowlevel.checkpoint()
            # Only a handler that shields itself from cancellation gets here.
            raise
        self.broken = False


def announces(headers: messages.Pairs, trailer: str) -> bool:
    """Whether the headers of a stream promise this trailer."""
    return any(name.lower() == "trailer" and value.lower() == trailer for name, value in headers)

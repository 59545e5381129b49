"""One blocking HTTP/1.1 exchange on the daemon's socket, descriptors attached.

A connection carries one request and is closed after its answer. Sending, and reading heads and whole bodies
stand here; connections are in `sockets`, the long streams of a transfer in `reading` and `writing`. Standard
library only: this module is on the start path of every command, and the supervisor beside a run uses it too.
"""

from __future__ import annotations

import array
import json
import select
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlencode

from tyger import errors, sockets

MAX_HEAD = 64 * 1024
"""Bytes of status line and headers that we accept; our daemon sends a few hundred."""

FETCH_PATIENCE = 60.0
"""Seconds for a whole answer of a server that may not be ours (rest-api.md 11)."""

FETCH_LIMIT = 1024 * 1024
"""Bytes of such an answer's body."""

AT_ONCE = 0.002
"""Seconds in which an answer that takes no work is there."""

ATTEMPTS = 4
"""How often a request is sent whose connection is reset before a byte of the answer came: a daemon that
leaves when idle may do so while we connect."""


class Answer:
    """A whole answer: status, headers (names in lower case) and body."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def json(self) -> object:
        """The body as JSON; None where there is none."""
        try:
            return json.loads(self.body) if self.body else None
        except ValueError as error:
            raise errors.Problem(errors.PROTOCOL, f"unable to understand server response: {error}") from error


class Stream:
    """An answer whose body is read as it comes. Closing it tells the daemon that we are gone."""

    def __init__(self, channel: sockets.Channel, status: int, headers: dict[str, str]) -> None:
        self.channel = channel
        self.status = status
        self.headers = headers
        self.trailers: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def fileno(self) -> int:
        """The socket's descriptor, for poll."""
        return self.channel.fileno()

    def next_chunk(self) -> int:
        """The length in bytes of the next chunk, 0 at the end, when `trailers` are filled in.

        The caller takes exactly that many bytes from the channel and then calls `end_chunk`.
        """
        line = self.channel.line()
        try:
            length = int(line.split(b";", 1)[0], 16)
        except ValueError:
            raise errors.Problem(errors.PROTOCOL, f"not a chunk length: {line[:40]!r}") from None
        if length == 0:
            self.trailers = _headers(self.channel)
        return length

    def end_chunk(self) -> None:
        """Take the line ending behind a chunk."""
        if self.channel.line():
            raise errors.Problem(errors.PROTOCOL, "a chunk is longer than it says")

    def pieces(self) -> Iterator[bytes]:
        """The body, in pieces as they arrive, whatever its framing."""
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            while left := self.next_chunk():
                while left:
                    data = self.channel.take(left)
                    left -= len(data)
                    yield data
                self.end_chunk()
            return
        if (length := self.headers.get("content-length")) is not None:
            left = int(length)
            while left:
                data = self.channel.take(left)
                left -= len(data)
                yield data
            return
        while True:
            try:
                data = self.channel.take(sockets.RECV)
            except sockets.Disconnected:
                return
            yield data

    def lines(self) -> Iterator[bytes]:
        """The body line by line, without line endings, each as soon as it is there."""
        rest = bytearray()
        for piece in self.pieces():
            rest += piece
            if b"\n" in piece:
                *whole, last = rest.split(b"\n")
                yield from map(bytes, whole)
                rest = last
        if rest:
            yield bytes(rest)

    def close(self) -> None:
        """Close the connection. Idempotent."""
        self.channel.close()


class Sent:
    """A request that was sent: its answer can be waited for beside other things."""

    def __init__(self, client: Client, method: str, channel: sockets.Channel) -> None:
        self._client = client
        self._method = method
        self._channel = channel

    def fileno(self) -> int:
        """Readable when the answer begins."""
        return self._channel.fileno()

    def stream(self) -> Stream:
        """The answer, its body to be read; raises as `Client.stream` does. Waits for all of its head."""
        try:
            stream = answer_on(self._channel)
        except BaseException:
            self.close()
            raise
        status, headers = stream.status, stream.headers
        self._client.server_version = headers.get("tyger-version", self._client.server_version)
        if 200 <= status < 300:
            return stream
        with stream:
            body = _error_body(self._method, stream)
            problem = errors.from_wire(status, _decoded(body))
            problem.answer = (status, headers, body)
            raise problem

    def close(self) -> None:
        """Close the connection. Idempotent."""
        self._channel.close()


class Client:
    """Speaks to the daemon behind one socket. Holds no connection; safe to use from several threads.

    `ensure` is called when nobody answers: it starts a daemon, or raises a `Problem` that says why not.
    """

    def __init__(self, socket_path: str, *, ensure: Callable[[], None] | None = None) -> None:
        self.socket_path = socket_path
        self.ensure = ensure
        self.server_version: str | None = None
        self.connections = 0
        """How often somebody has listened there, be it only to be gone before there was an answer."""
        self.starts = 0
        """How often `ensure` was needed, and has brought a daemon."""

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: object | None = None,
        headers: Mapping[str, str] | None = None,
        fds: Sequence[int] = (),
        wake: int | None = None,
        meanwhile: Callable[[], None] | None = None,
        at_once: float = AT_ONCE,
    ) -> Answer:
        """Send one request and read the whole answer. `wake` as in `stream`.

        `meanwhile` is called where the answer has not come after `at_once` seconds: for what can be made
        ready, and does not fail.

        Raises:
            Problem: the daemon's own, for every answer outside 200 to 299.
            Disconnected: nobody answers and none could be started, or the answer was cut.
        """
        head = _head(method, path, query, body, headers or {}, len(fds))
        with self._opened(method, head, fds, wake, meanwhile, at_once) as stream:
            return Answer(stream.status, stream.headers, _body(method, stream))

    def stream(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: object | None = None,
        headers: Mapping[str, str] | None = None,
        fds: Sequence[int] = (),
        wake: int | None = None,
    ) -> Stream:
        """Send one request and read the head of its answer; the body is the caller's to read.

        `wake` is a descriptor that ends waiting with `Interrupted`. Raises as `request` does.
        """
        return self._opened(method, _head(method, path, query, body, headers or {}, len(fds)), fds, wake)

    def _opened(
        self,
        method: str,
        head: bytes,
        fds: Sequence[int],
        wake: int | None,
        meanwhile: Callable[[], None] | None = None,
        at_once: float = AT_ONCE,
    ) -> Stream:
        for attempt in range(1, ATTEMPTS + 1):
            channel = sockets.Channel(self._connect(), wake)
            try:
                sent = self._sent(method, channel, head, fds)
                if meanwhile is not None and not select.select([channel], [], [], at_once)[0]:
                    meanwhile()
                return sent.stream()
            except sockets.Disconnected:
                if channel.pending or attempt == ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: object | None = None,
    ) -> Sent:
        """Send one request, and leave its answer for later. Raises `Disconnected`."""
        channel = sockets.Channel(self._connect())
        return self._sent(method, channel, _head(method, path, query, body, {}, 0), ())

    def _sent(self, method: str, channel: sockets.Channel, head: bytes, fds: Sequence[int]) -> Sent:
        try:
            _send(channel.sock, head, fds)
        except BaseException:
            channel.close()
            raise
        return Sent(self, method, channel)

    def _connect(self) -> socket.socket:
        try:
            connection = sockets.connect(self.socket_path)
        except sockets.Disconnected:
            if self.ensure is None:
                raise
            self.ensure()
            self.starts += 1
            connection = sockets.connect(self.socket_path)
        self.connections += 1
        return connection


def answer_on(channel: sockets.Channel) -> Stream:
    """The answer that comes on a connection, of whatever status; waits for all of its head.

    Raises:
        Problem: as `Client.stream`, but for what the answer says.
    """
    return Stream(channel, *_answer_head(channel))


def fetch(socket_path: str, path: str, *, patience: float = FETCH_PATIENCE) -> Answer:
    """One plain GET to whatever listens at `socket_path`, which may be no daemon; any status is an answer.

    Raises:
        Problem: nobody answers within `patience` seconds (`Disconnected` and UNAVAILABLE), or what comes is
            no HTTP (PROTOCOL).
    """
    deadline = time.monotonic() + patience
    channel = sockets.Channel(sockets.connect(socket_path))
    stream = Stream(channel, 0, {})
    with stream:
        try:
            channel.sock.settimeout(patience)
            request = f"GET {path} HTTP/1.1\r\nHost: tyger\r\nConnection: close\r\n\r\n"
            _send(channel.sock, request.encode(), ())
            stream.status, stream.headers = _answer_head(channel)
            body = bytearray()
            for piece in stream.pieces():
                body += piece
                if len(body) > FETCH_LIMIT:
                    raise errors.Problem(errors.PROTOCOL, "the answer is longer than 1 MiB")
                channel.sock.settimeout(max(0.001, deadline - time.monotonic()))
        except TimeoutError:
            raise errors.Problem(
                errors.UNAVAILABLE, f"{socket_path} has not answered within {patience:.0f} seconds"
            ) from None
    return Answer(stream.status, stream.headers, bytes(body))


def _head(
    method: str,
    path: str,
    query: Sequence[tuple[str, str]],
    body: object | None,
    headers: Mapping[str, str],
    fd_count: int,
) -> bytes:
    data = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
    target = quote(path, safe="/:@!$&'()*+,;=-._~")
    lines = [
        f"{method} {target}?{urlencode([('api-version', '1.0'), *query])} HTTP/1.1",
        "Host: tyger",
        "Connection: close",
        "Content-Type: application/json",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    if fd_count:
        lines.append(f"Tyger-Fds: {fd_count}")
    if data or method in ("POST", "PUT"):
        lines.append(f"Content-Length: {len(data)}")
    return "\r\n".join([*lines, "", ""]).encode() + data


def _send(sock: socket.socket, data: bytes, fds: Sequence[int]) -> None:
    """Send all of `data`; the descriptors ride with its first byte."""
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    try:
        sent = sock.sendmsg([data], ancillary)
        if sent < len(data):
            sock.sendall(data[sent:])
    except ConnectionError as error:
        # The daemon may have answered (413, say) before it closed: what it said is in the socket.
        if not select.select([sock], [], [], 0)[0]:
            raise sockets.Disconnected(f"the connection to the daemon broke: {error.strerror}") from error


def _answer_head(channel: sockets.Channel) -> tuple[int, dict[str, str]]:
    while True:
        line = channel.line()
        parts = line.split(b" ", 2)
        if len(parts) < 2 or not parts[0].startswith(b"HTTP/1.") or not parts[1].isdigit():
            raise errors.Problem(errors.PROTOCOL, f"the answer is not HTTP: {line[:40]!r}")
        headers = _headers(channel)
        if (status := int(parts[1])) >= 200:
            return status, headers


def _headers(channel: sockets.Channel) -> dict[str, str]:
    headers: dict[str, str] = {}
    size = 0
    while line := channel.line():
        size += len(line)
        if size > MAX_HEAD:
            raise errors.Problem(errors.PROTOCOL, "the answer's headers are too long")
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    return headers


def _body(method: str, stream: Stream) -> bytes:
    return b"" if method == "HEAD" or stream.status == 204 else b"".join(stream.pieces())


def _error_body(method: str, stream: Stream) -> bytes:
    """All of it, or nothing where it was cut."""
    try:
        return _body(method, stream)
    except sockets.Disconnected:
        return b""


def _decoded(body: bytes) -> object:
    try:
        return json.loads(body or b"null")
    except ValueError:
        return None

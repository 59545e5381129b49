"""The container engine's API as a run's supervisor uses it: plain blocking HTTP/1.1 on a Unix socket.

Docker's API, which Podman speaks, too. One connection an exchange; no call is repeated here, for only the
caller knows what a request may have done before its connection broke. Not `http.client`: that takes longer to
import than all the rest of the supervisor.
"""

from __future__ import annotations

import json
import os
import re
import select
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

VERSION = "1.41"
"""Of the API: the newest that Podman 4 says it has. An engine that has given it up is asked in its own."""

PATIENCE = 120.0
"""Seconds for an answer, or more of it: an engine may have to lay out an image first, on a busy disk."""

_RECV = 256 * 1024
"""Bytes asked of a socket at once."""

_LONGEST = 1024 * 1024
"""Bytes of a head, and of a line; engines send some hundred."""

REMOVABLE = 5.0
"""Seconds in which an engine that refuses to remove a container may change its mind: Podman refuses while it
notices that the container has just ended."""

STDOUT, STDERR = 1, 2
"""Of a frame of a container's output."""

_HEADER = 8
"""Bytes before each frame: the stream, three zeros, the length."""


class Unreachable(Exception):  # noqa: N818 - what has happened, for the caller to judge
    """Nobody answers, or the connection ended before the answer did.

    `sent`: the request may have been obeyed.
    """

    def __init__(self, message: str, *, sent: bool = True) -> None:
        super().__init__(message)
        self.sent = sent


class Refused(Exception):  # noqa: N818 - what the engine says, for the caller to judge
    """The engine answered with an error: its status and its own words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Interrupted(Exception):  # noqa: N818 - not an error: somebody asked us to stop
    """Waiting was ended by the descriptor that was given for it."""


class Answer:
    """The connection after the head of its answer: the body, to be read as it comes. To be closed."""

    def __init__(self, sock: socket.socket, wake: int | None, patience: float | None) -> None:
        self._sock = sock
        self._wake = wake
        self._patience = patience
        self._pending = bytearray()
        self.status = 0
        self.headers: dict[str, str] = {}

    def wait_for_ever(self, wake: int | None) -> None:
        """What follows may come when it likes; `wake` is what ends waiting with `Interrupted`."""
        self._patience, self._wake = None, wake

    def read_head(self) -> None:
        """Take the status line and the headers. Raises as reading the body does."""
        lines: list[bytes] = []
        while line := self._line():
            lines.append(line)
            if len(lines) > 1000:
                raise Unreachable("what answers is not an engine: its answer's head does not end")
        parts = lines[0].split(b" ", 2) if lines else []
        if len(parts) < 2 or not parts[0].startswith(b"HTTP/1.") or not parts[1].isdigit():
            raise Unreachable("what answers is not an engine: it does not speak HTTP")
        self.status = int(parts[1])
        for line in lines[1:]:
            name, _, value = line.decode("latin-1").partition(":")
            self.headers[name.strip().lower()] = value.strip()

    def pieces(self) -> Iterator[bytes]:
        """The body as it arrives.

        One that has neither a length nor chunks lasts as long as the connection.
        """
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            yield from self._chunks()
        elif (length := self.headers.get("content-length")) is not None:
            yield from self._exactly(self._size(length.encode(), 10))
        else:
            while data := self._pending or self._receive():
                yield bytes(data)
                self._pending.clear()

    def body(self) -> bytes:
        """All of it; for one of an end."""
        return b"" if self.status in (204, 304) else b"".join(self.pieces())

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """The body as a container's output: the stream of each piece, and the piece, as they arrive.

        Pieces of one stream that arrive together are one. A frame that the end of the body cuts is given as
        far as it came.
        """
        stream, left, head = 0, 0, b""
        for piece in self.pieces():
            at = 0
            together: list[bytes] = []
            data = head + piece if head else piece
            while at < len(data):
                if left == 0:
                    if len(data) - at < _HEADER:
                        break
                    new = data[at]
                    left = int.from_bytes(data[at + 4 : at + _HEADER], "big")
                    at += _HEADER
                    if new != stream and together:
                        yield stream, b"".join(together)
                        together = []
                    stream = new
                taken = data[at : at + left]
                together.append(taken)
                at += len(taken)
                left -= len(taken)
            head = data[at:]
            if together:
                yield stream, b"".join(together)

    def entries(self) -> Iterator[list[tuple[int, bytes]]]:
        """The body as a log: the stream and all of each frame, be it empty; together what so arrives.

        Raises also where the end of the body cuts a frame.
        """
        rest = b""
        for piece in self.pieces():
            data, at = rest + piece, 0
            found: list[tuple[int, bytes]] = []
            while (start := at + _HEADER) <= len(data):
                end = start + int.from_bytes(data[at + 4 : start], "big")
                if end > len(data):
                    break
                found.append((data[at], data[start:end]))
                at = end
            rest = data[at:]
            if found:
                yield found
        if rest:
            raise Unreachable("the engine closed the connection")

    def close(self) -> None:
        """End the connection. Idempotent."""
        self._sock.close()

    def _chunks(self) -> Iterator[bytes]:
        """What the chunks have, of all that have arrived at once: Podman makes one of each line of a log."""
        left, ended = 0, False
        while True:
            data, at = bytes(self._pending), 0
            together: list[bytes] = []
            while at < len(data):
                if left:
                    piece = data[at : at + left]
                    together.append(piece)
                    at += len(piece)
                    left -= len(piece)
                elif (end := data.find(b"\n", at)) < 0:
                    break
                else:
                    line, at = data[at:end].strip(), end + 1
                    if line and not (left := self._size(line)):  # an empty one ends a chunk
                        ended = True
                        break
            del self._pending[:at]
            if len(self._pending) > _LONGEST:
                raise Unreachable("what answers is not an engine: it does not speak HTTP")
            if together:
                yield b"".join(together)
            if ended:
                return
            self._fill()

    def _size(self, text: bytes, base: int = 16) -> int:
        try:
            return int(text.split(b";", 1)[0], base)
        except ValueError:
            raise Unreachable("what answers is not an engine: it does not speak HTTP") from None

    def _line(self) -> bytes:
        while (end := self._pending.find(b"\n")) < 0:
            if len(self._pending) > _LONGEST:
                raise Unreachable("what answers is not an engine: its answer has a line without an end")
            self._fill()
        line = bytes(self._pending[:end])
        del self._pending[: end + 1]
        return line.removesuffix(b"\r")

    def _exactly(self, count: int) -> Iterator[bytes]:
        while count:
            if not self._pending:
                self._fill()
            data = bytes(self._pending[:count])
            del self._pending[: len(data)]
            count -= len(data)
            yield data

    def _fill(self) -> None:
        if not (data := self._receive()):
            raise Unreachable("the engine closed the connection")
        self._pending += data

    def _receive(self) -> bytes:
        """What there is, at least a byte; empty at the end."""
        poller = select.poll()
        poller.register(self._sock, select.POLLIN)
        if self._wake is not None:
            poller.register(self._wake, select.POLLIN)
        ready = dict(poller.poll(None if self._patience is None else self._patience * 1000))
        if self._sock.fileno() in ready:
            try:
                return self._sock.recv(_RECV)
            except OSError as error:
                raise Unreachable(f"the connection to the engine broke: {error.strerror}") from error
        if ready:
            raise Interrupted
        raise Unreachable("the engine does not answer in time")


class Api:
    """The engine that listens on a socket. Holds no connection; for any number of threads."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._version = VERSION

    def call(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, str] | None = None,
        body: object | None = None,
        wake: int | None = None,
        patience: float = PATIENCE,
    ) -> Any:
        """One exchange; the JSON of its answer, None where it has none.

        `wake` is a descriptor that ends waiting with `Interrupted`; `patience` in seconds.

        Raises:
            Refused: the engine's own error.
            Unreachable: there is no answer, or none in time.
        """
        answer = self._opened(method, path, query or {}, body, wake, patience)
        try:
            text = answer.body()
        finally:
            answer.close()
        try:
            return json.loads(text) if text.strip() else None
        except ValueError:
            return None

    def stream(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, str] | None = None,
        wake: int | None = None,
        patience: float = PATIENCE,
    ) -> Answer:
        """One exchange whose answer is read as it comes, with `frames`. Raises as `call`, also when read.

        A POST asks for the connection itself, as attaching does.
        """
        return self._opened(method, path, query or {}, None, wake, patience, upgrade=method == "POST")

    def _opened(
        self,
        method: str,
        path: str,
        query: dict[str, str],
        body: object | None,
        wake: int | None,
        patience: float,
        *,
        upgrade: bool = False,
    ) -> Answer:
        while True:
            answer = self._sent(method, path, query, body, wake, patience, upgrade=upgrade)
            if answer.status < 400:
                return answer
            try:
                message = _message(answer.body()) or f"HTTP status {answer.status}"
            finally:
                answer.close()
            theirs = answer.headers.get("api-version", "")
            outdated = answer.status == 400 and re.search(r"client version \S+ is too old", message)
            if not outdated or not theirs or theirs == self._version:
                raise Refused(answer.status, message)
            self._version = theirs

    def _sent(
        self,
        method: str,
        path: str,
        query: dict[str, str],
        body: object | None,
        wake: int | None,
        patience: float,
        *,
        upgrade: bool,
    ) -> Answer:
        data = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
        target = f"/v{self._version}{quote(path)}" + (f"?{urlencode(query)}" if query else "")
        lines = [f"{method} {target} HTTP/1.1", "Host: engine"]
        lines += ["Connection: Upgrade", "Upgrade: tcp"] if upgrade else ["Connection: close"]
        lines += ["Content-Type: application/json"] if data else []
        lines += [f"Content-Length: {len(data)}"] if method == "POST" else []
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        answer = Answer(sock, wake, patience)
        sent = False
        try:
            sock.settimeout(patience)
            sock.connect(self.path)
            sent = True
            sock.sendall("\r\n".join([*lines, "", ""]).encode() + data)
            sock.settimeout(None)
            answer.read_head()
        except OSError as error:  # a timeout is one, and a path that is too long is one without a number
            sock.close()
            why = os.strerror(error.errno) if error.errno else str(error)
            raise Unreachable(f"no engine answers on {self.path}: {why}", sent=sent) from error
        except BaseException:
            sock.close()
            raise
        return answer


def _message(body: bytes) -> str:
    """An error's words: `{"message": ...}`, or the text itself."""
    try:
        decoded = json.loads(body)
    except ValueError:
        return body.decode(errors="replace").strip()
    return str(decoded.get("message") or "") if isinstance(decoded, dict) else ""

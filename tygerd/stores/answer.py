"""One HTTP/1.1 answer on a connection: its head, and its body into the caller's memory.

The answers that carry blocks are all alike, with a Content-Length and a head of a dozen plain lines; they are
read here, because http.client takes ten times the processor for the head and copies the body once more. All
others (chunked, folded, of HTTP/1.0, or wrong) are left to http.client.
"""

from __future__ import annotations

import http.client
import io
import socket
from collections.abc import Mapping
from typing import IO, Any, cast

from tygerd.stores import bandwidth, connection

_HEAD = 16 * 1024
_LARGEST_HEAD = 128 * 1024
"""Bytes of a head; a peer must not decide how much memory we take."""

_BODILESS = {204, 304}


class Answer:
    """A final answer whose head has come. `headers` have lower-case names."""

    status: int
    headers: Mapping[str, str]

    def __init__(
        self, link: connection.Connection, method: str, share: bandwidth.Share | None = None
    ) -> None:
        """Wait for the head of the answer to `method`.

        Raises:
            OSError: as `Connection.receive`; CutError.
            http.client.HTTPException: it is not HTTP.
        """
        self._link = link
        self._share = share
        self._odd: http.client.HTTPResponse | None = None
        self._left = 0
        """Bytes of the body that are to come, those in `_rest` included."""
        self._rest = memoryview(b"")
        """What came together with the head."""
        self._closing = False
        self._receive_head(method)

    def header(self, name: str, default: str = "") -> str:
        """The value of a header; `name` is in lower case."""
        return self.headers.get(name, default)

    @property
    def is_whole(self) -> bool:
        """Whether all of it was read and the connection is good for another exchange."""
        if self._odd is not None:
            return self._odd.isclosed() and not self._odd.will_close
        return self._left == 0 and not self._rest and not self._closing

    def readinto(self, view: memoryview) -> int:
        """Receive the next bytes of the body, as many as fit if that is cheap; 0 at its end, or if it is cut.

        Raises:
            OSError: as `Connection.receive`.
            http.client.HTTPException: the body is not what its head says.
        """
        if self._odd is not None:
            return self._odd.readinto(view)
        view = view[: self._left]
        if not view:
            return 0
        count = min(len(self._rest), len(view))
        if count:
            view[:count] = self._rest[:count]
            self._rest = self._rest[count:]
        else:
            count = self._link.receive(view, self._share, whole=True)
        self._left -= count
        return count

    def read(self, limit: int) -> bytes:
        """The body, but no more than `limit` bytes of it. Raises as `readinto`; a cut is an end."""
        if self._odd is not None:
            return self._odd.read(limit)
        data = memoryview(bytearray(min(limit, self._left)))
        received = 0
        while received < len(data) and (count := self.readinto(data[received:])):
            received += count
        return bytes(data[:received])

    def finish(self) -> None:
        """Read what is left and worth reading, so that the connection is good for another exchange."""
        self.read(_HEAD)

    # --- the head ----------------------------------------------------------------------------------------

    def _receive_head(self, method: str) -> None:
        data = bytearray(_HEAD)
        filled = 0
        while True:
            end = data.find(b"\r\n\r\n", 0, filled)
            if end >= 0 and data[9:10] == b"1" and data.startswith(b"HTTP/1.1 1"):  # 100, 103: not the answer
                filled -= end + 4
                data[:filled] = data[end + 4 : end + 4 + filled]
                continue
            if end >= 0 or filled >= _LARGEST_HEAD:
                break
            if filled == len(data):
                data.extend(bytes(len(data)))
            with memoryview(data) as view:
                count = self._link.receive(view[filled:])
            if count == 0:
                if filled == 0:
                    raise connection.CutError
                break
            filled += count
        if end < 0 or not self._understand(data[:end].decode("latin-1"), method):
            self._hand_over(bytes(data[:filled]), method)
            return
        self._rest = memoryview(data)[end + 4 : filled]

    def _understand(self, head: str, method: str) -> bool:
        """Take a plain head apart; False for any other."""
        first, *lines = head.split("\r\n")
        protocol, _, rest = first.partition(" ")
        status = rest.partition(" ")[0]
        if protocol != "HTTP/1.1" or len(status) != 3 or not (status.isascii() and status.isdigit()):
            return False
        headers: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.partition(":")
            name = name.lower()
            if not colon or not name or name.strip() != name or "\n" in line or name in headers:
                return False
            headers[name] = value.strip(" \t")
        if "transfer-encoding" in headers or "upgrade" in headers:
            return False
        self.status, self.headers = int(status), headers
        if method == "HEAD" or self.status in _BODILESS or (method == "CONNECT" and self.status < 300):
            self._left = 0
        else:
            length = headers.get("content-length", "")
            if not (length.isascii() and length.isdigit()):
                return False
            self._left = int(length)
        self._closing = headers.get("connection", "").lower() not in {"", "keep-alive"}
        return True

    def _hand_over(self, data: bytes, method: str) -> None:
        """Let http.client read it, from its first byte."""
        replay = _Replay(data, self._link, self._share)
        odd = http.client.HTTPResponse(cast("socket.socket", replay), method=method)
        odd.begin()
        self._odd = odd
        self.status = odd.status
        self.headers = {name.lower(): value for name, value in odd.getheaders()}


class _Replay(io.RawIOBase):
    """What was received already, then the connection: a "socket" for http.client, and its file."""

    def __init__(self, data: bytes, link: connection.Connection, share: bandwidth.Share | None) -> None:
        self._data = memoryview(data)
        self._link = link
        self._share = share

    def makefile(self, mode: str) -> IO[bytes]:  # noqa: ARG002 - always "rb"
        return cast("IO[bytes]", io.BufferedReader(self))

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        if self._data:
            count = min(len(self._data), len(view))
            view[:count] = self._data[:count]
            self._data = self._data[count:]
            return count
        return self._link.receive(view, self._share)

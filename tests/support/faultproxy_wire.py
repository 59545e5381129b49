"""The fault proxy's connections: HTTP/1.1 heads and bodies passed on as they are, but for a fault's changes.

Runs in the proxy's trio thread. Knows bytes, sockets and framing; which request meets which fault is the
proxy's to say.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import NamedTuple

import trio

from tests.support import faultproxy_faults as faults

PIECE = 256 * 1024
LARGEST_HEAD = 64 * 1024

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: closing resets the connection."""

_GONE = {errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, errno.ECONNABORTED, errno.EBADF}


class CutError(Exception):
    """This connection ends here; `gently` by an end of file, else by a reset."""

    def __init__(self, *, gently: bool = False) -> None:
        super().__init__("cut")
        self.gently = gently


class SinkGoneError(CutError):
    """The one who should receive the bytes has closed; it may have said something before."""


class Rate:
    """Bytes per second, for all who share it; None is no limit."""

    def __init__(self, rate: float | None = None) -> None:
        self.rate = rate
        self._free_at = 0.0

    def piece(self) -> int:
        """How many bytes are worth passing at a time: a twentieth of a second's."""
        return PIECE if self.rate is None else max(1, min(PIECE, int(self.rate / 20)))

    async def take(self, count: int) -> None:
        """Wait until `count` bytes may pass."""
        if self.rate is None:
            return
        now = trio.current_time()
        start = max(now, self._free_at)
        self._free_at = start + count / self.rate
        await trio.sleep_until(self._free_at)


class Link:
    """What all connections share: rates, latency (seconds a request), and whether anything passes at all."""

    def __init__(self) -> None:
        self.up, self.down = Rate(), Rate()
        self.latency = 0.0
        self.passing = trio.Event()
        self.passing.set()


class Wire:
    """A socket with what was read too far."""

    def __init__(self, sock: trio.socket.SocketType) -> None:
        self.sock = sock
        self._rest = b""

    def has_rest(self) -> bool:
        """Whether bytes wait here that were read too far."""
        return bool(self._rest)

    async def receive_into(self, view: memoryview) -> int:
        """As `recv_into`; 0 at the end, however it comes."""
        if self._rest:
            count = min(len(view), len(self._rest))
            view[:count] = self._rest[:count]
            self._rest = self._rest[count:]
            return count
        try:
            return await self.sock.recv_into(view)
        except OSError as error:
            if error.errno in _GONE:
                return 0
            raise

    async def until(self, mark: bytes) -> bytes:
        """Bytes up to and with `mark`; b"" when the connection ends before."""
        data = bytearray(self._rest)
        searched = 0
        while (found := data.find(mark, max(0, searched - len(mark)))) < 0:
            assert len(data) < LARGEST_HEAD, "an endless head"
            searched = len(data)
            try:
                piece = await self.sock.recv(65536)
            except OSError as error:
                if error.errno not in _GONE:
                    raise
                piece = b""
            if not piece:
                self._rest = bytes(data)
                return b""
            data += piece
        end = found + len(mark)
        self._rest = bytes(data[end:])
        return bytes(data[:end])

    async def send(self, data: bytes | memoryview) -> None:
        """Send it all; SinkGoneError when the peer is gone."""
        view = memoryview(data)
        try:
            while view:
                view = view[await self.sock.send(view) :]
        except OSError as error:
            if error.errno in _GONE:
                raise SinkGoneError from None
            raise

    def half_close(self) -> None:
        """Nothing more will be sent."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            if error.errno not in _GONE:
                raise

    async def wait_gone(self) -> None:
        """Swallow whatever comes until the peer has gone."""
        view = memoryview(bytearray(65536))
        while await self.receive_into(view):
            pass

    def close(self, *, reset: bool) -> None:
        """Close; a reset throws away what has not arrived."""
        if reset and self.sock.fileno() >= 0 and self.sock.family != socket.AF_UNIX:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.sock.close()


# --- messages --------------------------------------------------------------------------------------------


class Head(NamedTuple):
    """A request's or an answer's first lines; header names in lower case."""

    first: list[str]
    headers: dict[str, str]

    @property
    def chunked(self) -> bool:
        return "chunked" in self.headers.get("transfer-encoding", "").lower()

    @property
    def length(self) -> int | None:
        value = self.headers.get("content-length")
        return None if value is None else int(value)

    @property
    def last(self) -> bool:
        """Whether the connection is closed after this message."""
        return "close" in self.headers.get("connection", "").lower() or self.first[0] == "HTTP/1.0"


def parse(data: bytes) -> Head:
    """Take a head apart. `first`: a request's method, target, version, or version, status, reason."""
    first, *rest = data.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in rest if line)
    return Head(first.split(" ", 2), {name.strip().lower(): value.strip() for name, _, value in pairs})


def with_length(data: bytes, length: int) -> bytes:
    """The same head with another Content-Length."""
    lines = data.split(b"\r\n")
    fixed = [
        b"Content-Length: %d" % length if line[:15].lower() == b"content-length:" else line for line in lines
    ]
    return b"\r\n".join(fixed)


class Passage:
    """One body on its way from one wire to the other."""

    def __init__(self, source: Wire, sink: Wire | None, way: faults.Way, link: Link, shared: Rate) -> None:
        self._source, self._sink, self._way, self._link = source, sink, way, link
        self._rates = [shared, Rate(way.rate)]
        self._buffer = memoryview(bytearray(PIECE))
        self.passed = 0
        """Bytes of the body that went through."""

        self.closed = False
        """The direction was half-closed; the rest is swallowed."""

    async def message(self, head: Head, *, bodyless: bool = False) -> None:
        """Pass on the body that `head` announces. CutError when it does not arrive, or must not."""
        await self._check()
        if bodyless:
            pass
        elif head.chunked:
            await self._chunks()
        elif head.length is not None:
            await self._exactly(head.length)
        else:
            await self.rest()
        way = self._way
        reached = [at is None or at <= self.passed for at in (way.cut_at, way.half_close_at)]
        reached.append(way.corrupt_at is None or way.corrupt_at < self.passed)
        assert all(reached), f"the body has {self.passed} bytes only: the fault did nothing"

    async def rest(self) -> None:
        """Pass on everything until the source ends, and its end."""
        while count := await self._source.receive_into(self._window(PIECE)):
            await self._deliver(self._buffer[:count])
        await self._link.passing.wait()
        if self._sink is not None:
            self._sink.half_close()

    async def _exactly(self, length: int) -> None:
        kept = length - self._way.shorten
        while length:
            count = await self._source.receive_into(self._window(length))
            if count == 0:
                raise CutError
            view = self._buffer[:count]
            length -= count
            await self._deliver(view[: max(0, kept)])
            kept -= count

    async def _chunks(self) -> None:
        while True:
            line = await self._line()
            size = int(line.split(b";")[0], 16)
            if size == 0:
                while await self._line() != b"\r\n":
                    pass
                return
            await self._exactly(size)
            await self._line()

    async def _line(self) -> bytes:
        line = await self._source.until(b"\r\n")
        if not line:
            raise CutError
        if self._sink is not None and not self.closed:
            await self._sink.send(line)
        return line

    def _window(self, most: int) -> memoryview:
        return self._buffer[: min(most, *(rate.piece() for rate in self._rates))]

    async def _deliver(self, view: memoryview) -> None:
        """Pass on a piece, with what the fault does to it."""
        way = self._way
        if way.corrupt_at is not None and 0 <= way.corrupt_at - self.passed < len(view):
            view[way.corrupt_at - self.passed] ^= 1
        stop = min((at for at in (way.cut_at, way.half_close_at) if at is not None), default=None)
        if stop is not None:
            view = view[: max(0, stop - self.passed)]
        await self._link.passing.wait()
        for rate in self._rates:
            await rate.take(len(view))
        await self._link.passing.wait()
        if view and self._sink is not None and not self.closed:
            await self._sink.send(view)
            self.passed += len(view)
        await self._check()

    async def _check(self) -> None:
        """Cut or half-close where that is due; a body may be shorter than the offset, then it never is."""
        if self._way.cut_at is not None and self.passed >= self._way.cut_at:
            raise CutError(gently=self._way.gently)
        if self._way.half_close_at is not None and self.passed >= self._way.half_close_at and not self.closed:
            self.closed = True
            if self._sink is not None:
                self._sink.half_close()

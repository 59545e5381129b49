"""TLS on an accepted connection, with as much of a socket's face as `connection` needs.

One task may receive while another sends; a lock keeps them and the threads out of each other's OpenSSL calls,
none of which blocks. Bodies are encrypted in threads, handshakes too: arithmetic of one client never keeps
the others waiting. A peer that takes nothing for `STALL` is cut, which a Unix socket's peers never are: they
are users of this host.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any

import trio

from tygerd import clock
from tygerd.osutil import sendfile

HANDSHAKE = 10.0
"""Seconds for a handshake."""

STALL = 150.0
"""Seconds that a peer may take nothing of an answer: as long as it may say nothing (`connection.IDLE`)."""

PIECE = 128 * 1024
"""Bytes that are encrypted at a time, a TLS record being 16 KiB; others wait for the lock no longer than this
takes, some 50 microseconds."""

RECORDS = 64
"""Records that one call receives at most: of one byte each there are many in what has arrived."""

PLAIN = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: 29\r\n\r\n"
    b"This port speaks HTTPS only.\n"
)

_handshakes = trio.CapacityLimiter(2)  # processor, not waiting: more would only take turns


_Pieces = Callable[[int], memoryview]
"""The bytes of a body from an offset on, at most `PIECE`."""


class HandshakeError(OSError):
    """The peer did not get as far as a secure connection; its words say why."""


class Secured:
    """The server's side of a TLS connection. The socket becomes this object's."""

    def __init__(
        self, sock: trio.socket.SocketType, context: ssl.SSLContext, *, stall: float = STALL
    ) -> None:
        plain = socket.socket(fileno=sock.detach())
        plain.setblocking(False)
        self._tls = context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
        self._lock = threading.Lock()
        self._stall = stall
        self.last_sent = clock.boottime()
        """When something was last sent to the peer (`clock.boottime`); at first when it came."""
        self.strange = True
        """Nothing was sent to it yet: it has not asked for anything."""

    async def handshake(self, patience: float = HANDSHAKE) -> None:
        """Agree on keys. Raises HandshakeError; nothing else may be called before it has returned."""
        with trio.move_on_after(patience) as scope:
            shaken = False
            while not shaken:
                try:
                    await trio.to_thread.run_sync(self._tls.do_handshake, limiter=_handshakes)
                    shaken = True
                except ssl.SSLWantReadError:
                    await trio.lowlevel.wait_readable(self._tls)
                except ssl.SSLWantWriteError:
                    await trio.lowlevel.wait_writable(self._tls)
                except ssl.SSLError as error:
                    if error.reason == "HTTP_REQUEST":
                        with contextlib.suppress(OSError):
                            os.write(self._tls.fileno(), PLAIN)
                    raise HandshakeError(error.reason or str(error)) from None
                except OSError as error:
                    raise HandshakeError(error.strerror or str(error)) from None
        if scope.cancelled_caught:
            raise HandshakeError(f"no handshake within {patience:g} s")

    # --- the face of a socket ----------------------------------------------------------------------------

    def fileno(self) -> int:
        """The descriptor, for waiting only."""
        return self._tls.fileno()

    async def recvmsg(
        self,
        size: int,
        _ancillary: int = 0,
        _flags: int = 0,
    ) -> tuple[bytes, list[tuple[int, int, bytes]], int, Any]:
        """What has arrived, up to `size` bytes, b"" at the end; never anything beside the bytes.

        Raises:
            OSError: the connection broke.
        """
        while not (data := self._receive(size)):
            if data is None:
                return b"", [], 0, None
            await trio.lowlevel.wait_readable(self._tls)
        await trio.lowlevel.checkpoint()
        return bytes(data), [], 0, None

    def _receive(self, size: int) -> bytearray | None:
        """What is there; empty: nothing yet; None: the end."""
        data = bytearray()
        with self._lock:
            for _ in range(RECORDS):
                try:
                    piece = self._tls.recv(size - len(data))
                except (ssl.SSLWantReadError, BlockingIOError):
                    break
                except ssl.SSLError as error:
                    raise ConnectionResetError(errno.ECONNRESET, str(error)) from None
                if not piece:
                    return data or None  # the end is seen again by the next call
                data += piece
                if len(data) >= size:
                    break
        return data

    async def send(self, data: bytes | memoryview) -> int:
        """Send some of `data`; how many bytes. Raises ConnectionResetError, also for a peer that stalls."""
        await trio.lowlevel.checkpoint()
        while not (sent := self._send(memoryview(data)[:PIECE])):
            await self._writable()
        return sent

    async def send_file(self, file: int, offset: int, length: int, limiter: trio.CapacityLimiter) -> None:
        """As `sendfile.send_file`."""
        end = offset + length

        def piece(start: int) -> memoryview:
            # The same bytes each time: OpenSSL goes on with what it has begun to send.
            data = os.pread(file, min(PIECE, end - start), start)
            if not data:
                raise OSError(errno.EIO, "the file is shorter than it should be")
            return memoryview(data)

        await self._send_all(piece, offset, end, limiter)

    async def send_memory(self, data: memoryview, limiter: trio.CapacityLimiter) -> None:
        """As `sendfile.send_memory`."""
        await self._send_all(lambda start: data[start : start + PIECE], 0, len(data), limiter)

    async def _send_all(self, piece: _Pieces, start: int, end: int, limiter: trio.CapacityLimiter) -> None:
        while start < end:
            stop = min(end, start + sendfile.VISIT)
            start = await trio.to_thread.run_sync(self._visit, piece, start, stop, limiter=limiter)
            if start < stop:
                await self._writable()

    def _visit(self, piece: _Pieces, start: int, stop: int) -> int:
        """Send up to or past `stop`, or until the peer took nothing for a moment; how far that came."""
        room = select.poll()
        room.register(self._tls, select.POLLOUT)
        while start < stop:
            left = piece(start)
            while left:
                if sent := self._send(left):
                    start += sent
                    left = left[sent:]
                elif not room.poll(sendfile.PATIENCE):
                    return start
        return start

    def _send(self, data: memoryview) -> int:
        """Send what there is room for; 0 where there is none. Raises ConnectionResetError."""
        with self._lock:
            try:
                sent = self._tls.send(data)
            except ssl.SSLWantWriteError:
                return 0
            except OSError as error:
                # In one word: of a peer that has vanished there are others, such as that it timed out.
                raise ConnectionResetError(errno.ECONNRESET, str(error)) from None
        self.strange = False
        self.last_sent = clock.boottime()
        return sent

    async def _writable(self) -> None:
        with trio.move_on_after(self._stall) as scope:
            await trio.lowlevel.wait_writable(self._tls)
        if scope.cancelled_caught:
            raise ConnectionResetError(errno.ECONNRESET, f"the peer took nothing for {self._stall:g} s")

    def shutdown(self, _how: int) -> None:
        """Say that nothing more will be sent. Raises OSError."""
        with self._lock, contextlib.suppress(ssl.SSLError, ValueError):
            self._tls.unwrap()
        # Not `SSLSocket.shutdown`: what still comes would then be taken for plain text.
        socket.socket.shutdown(self._tls, socket.SHUT_WR)

    def close(self) -> None:
        """Close it, whatever was going on."""
        if self._tls.fileno() >= 0:
            trio.lowlevel.notify_closing(self._tls)
        self._tls.close()


Socket = trio.socket.SocketType | Secured
"""What a connection can be on."""

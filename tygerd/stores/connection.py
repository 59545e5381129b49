"""One connection: bytes and files out, bytes in, and the watch that tells a slow peer from a dead one.

Blocking, for one thread at a time. A plain socket blocks in the kernel and is woken by it every `TICK`; then
its send queue is looked at: a queue that shrinks is a peer that takes what it was sent, however slowly.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import ssl
import struct
import termios
import time
from collections.abc import Callable

from tygerd.stores import bandwidth

TICK = 1.0
"""Seconds between looks at a connection on which nothing moves."""

ENCRYPTED_PIECE = 128 * 1024
"""Bytes of a file that are encrypted at a time."""


class SilentError(TimeoutError):
    """Nothing came and nothing went for as long as the watch allows."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"no sign of life for {seconds:.0f} s")


class CutError(ConnectionError):
    """The connection was closed before an answer came."""

    def __init__(self) -> None:
        super().__init__("the connection was closed before an answer came")


class ShortFileError(OSError):
    """A file that should have been sent holds less than was promised."""


class _AnsweredError(Exception):
    """The peer answers although it does not have all of the request."""


def _is_tick(error: OSError) -> bool:
    """Whether a call ended because its time was up; the kernel's ETIMEDOUT is another thing."""
    return isinstance(error, BlockingIOError) or (isinstance(error, TimeoutError) and error.errno is None)


def set_timeouts(sock: socket.socket, seconds: float) -> None:
    """Let the kernel end each call on a plain socket after `seconds`, with BlockingIOError.

    Python's own time-outs would make each call two, one to poll and one to transfer.
    """
    sock.settimeout(None)
    timeval = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)


class Connection:
    """A connected socket, which becomes this object's."""

    def __init__(self, sock: socket.socket, stopped: Callable[[], bool]) -> None:
        """`stopped` says whether the owner has broken it off."""
        self.sock = sock
        self._stopped = stopped
        self.exchanges = 0
        """How many exchanges it has carried to their end."""
        self.idle_since = 0.0
        self.received = 0
        """Bytes of the answer, in this exchange."""
        self.spoilt = False
        """Not all of a request was sent, so that no other can follow."""
        self._limit = 0.0
        self._alive = 0.0
        self._queued = 0
        self._tls = sock if isinstance(sock, ssl.SSLSocket) else None
        self._piece: memoryview | None = None
        """Memory for what is about to be encrypted, where something is."""

    def watch(self, limit: float) -> None:
        """An exchange begins: from now on silence of `limit` seconds ends it."""
        tick = max(0.01, min(TICK, limit / 8))
        if self._tls is not None:
            self._tls.settimeout(tick)
        else:
            set_timeouts(self.sock, tick)
        self.received = 0
        self._limit = limit
        self._alive = time.monotonic()
        self._queued = 0

    def is_usable(self) -> bool:
        """Whether an idle connection is still open: it has nothing to say, so its end would be readable."""
        return not self._is_readable()

    def close(self) -> None:
        """Close it, whatever was going on."""
        self.sock.close()

    # --- out ---------------------------------------------------------------------------------------------

    def send(self, data: bytes, share: bandwidth.Share | None = None, *, more: bool = False) -> None:
        """Send all of `data`, as fast as `share` allows; with `more`, other bytes follow at once.

        A peer that answers before it has all is heard: the rest is not sent, and `spoilt` is set.

        Raises:
            OSError: SilentError, or the connection broke.
        """
        view = memoryview(data)
        flags = socket.MSG_MORE if more and self._tls is None else 0
        allowed = 0
        try:
            while view:
                allowed = allowed or self._allowed(len(view), share)
                count = self._send(view[:allowed], flags)
                view = view[count:]
                allowed -= count
        except _AnsweredError:
            self.spoilt = True

    def send_file(self, fd: int, length: int, share: bandwidth.Share | None = None) -> None:
        """Send the first `length` bytes of a file, as `send`.

        Raises:
            ShortFileError: there are fewer.
            OSError: as `send`.
        """
        sent = allowed = 0
        try:
            while sent < length:
                allowed = allowed or self._allowed(length - sent, share)
                count = self._send_piece(fd, sent, allowed)
                if count == 0:
                    raise ShortFileError(f"the file ends after {sent} of {length} bytes")
                sent += count
                allowed -= count
        except _AnsweredError:
            self.spoilt = True

    def _allowed(self, most: int, share: bandwidth.Share | None) -> int:
        if share is None:
            return most
        count = share.take(most, self._stopped)
        self._alive = time.monotonic()  # it was we who were silent
        return count

    def _send_piece(self, fd: int, offset: int, length: int) -> int:
        if self._tls is not None:
            self._piece = self._piece or memoryview(bytearray(ENCRYPTED_PIECE))
            read = os.preadv(fd, [self._piece[:length]], offset)
            view = self._piece[:read]
            while view:
                view = view[self._send(view, 0) :]
            return read
        while True:
            try:
                count = os.sendfile(self.sock.fileno(), fd, offset, length)
            except BlockingIOError:
                self._tick(sending=True)
                continue
            self._alive = time.monotonic()
            if 0 < count < length and self._is_readable():
                raise _AnsweredError
            return count

    def _send(self, view: memoryview, flags: int) -> int:
        while True:
            try:
                count = self.sock.send(view, flags)
            except OSError as error:
                if not _is_tick(error):
                    raise
                self._tick(sending=True)  # the same bytes again: TLS may have begun to send them
                continue
            self._alive = time.monotonic()
            return count

    # --- in ----------------------------------------------------------------------------------------------

    def receive(self, view: memoryview, share: bandwidth.Share | None = None, *, whole: bool = False) -> int:
        """Receive into `view`; 0 at the end. `whole`: if it can be done in one call, until `view` is full.

        Raises:
            OSError: SilentError, or the connection broke.
        """
        flags = socket.MSG_WAITALL if whole and self._tls is None else 0
        if share is not None:
            view = view[: self._allowed(len(view), share)]
        while True:
            try:
                count = self.sock.recv_into(view, 0, flags)
            except OSError as error:
                if not _is_tick(error):
                    raise
                self._tick(sending=False)
                continue
            self._alive = time.monotonic()
            self.received += count
            return count

    # --- the watch ---------------------------------------------------------------------------------------

    def _tick(self, *, sending: bool) -> None:
        """Nothing could be sent or received for a tick: is the peer alive?"""
        now = time.monotonic()
        queued = self._unacknowledged()
        if queued < self._queued:
            self._alive = now
        self._queued = queued
        if sending and self._tls is None and self._is_readable():  # TLS has other things to say, too
            raise _AnsweredError
        if now - self._alive >= self._limit:
            raise SilentError(now - self._alive)

    def _unacknowledged(self) -> int:
        """Bytes that were sent and that the peer's kernel (a Unix socket: the peer) has not taken."""
        found: int = struct.unpack("i", fcntl.ioctl(self.sock.fileno(), termios.TIOCOUTQ, bytes(4)))[0]
        return found

    def _is_readable(self) -> bool:
        poller = select.poll()
        poller.register(self.sock, select.POLLIN)
        return bool(poller.poll(0))

"""Connections to one data plane, kept alive, and one HTTP/1.1 exchange on one of them.

Blocking, for worker threads; any number may work at once, each on a connection of its own. A file leaves by
`sendfile`, an answer's body is received into the caller's memory. `abort` ends every exchange under way, so
that threads in them return soon. Nothing here knows blobs, retries or sleeps.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import os
import select
import socket
import ssl
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from tygerd.stores import access

CONNECT_TIMEOUT = 10.0
"""Seconds for one address to accept; a host that drops packets must not hold a thread for minutes."""

SILENCE_TIMEOUT = 60.0
"""Seconds without a byte, in either direction, after which a connection counts as dead (contract 8.4)."""

_PIECE = 1024 * 1024
"""Bytes of a file that are encrypted at a time."""


class File(NamedTuple):
    """A request's body: the first `length` bytes of an open file, which stays the caller's."""

    fd: int
    length: int


Body = bytes | File


class AbortedError(OSError):
    """`abort` was called."""


class ShortFileError(OSError):
    """A file that should have been sent holds less than was promised."""


class Connections:
    """The connections to where a URL leads. Safe from any thread."""

    def __init__(self, url: access.Url, *, tls: ssl.SSLContext | None = None) -> None:
        self._url = url
        self._tls = (tls or ssl.create_default_context()) if url.tls else None
        self._lock = threading.Lock()
        self._idle: deque[_Connection] = deque()
        self._busy: set[socket.socket] = set()
        self._aborted = False

    @contextlib.contextmanager
    def request(
        self, method: str, target: str, headers: Mapping[str, str], body: Body | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        """Send a request; yields the answer, whose body the caller reads.

        The connection is kept for the next request only if the body was read to its end.

        Raises:
            OSError: there is no connection, or it broke; AbortedError among them.
            http.client.HTTPException: the answer is not HTTP.
            ShortFileError: the body's file is too short; the connection was closed.
        """
        connection = self._take()
        whole = False
        try:
            connection.send_request(method, target, headers, body)
            with connection.getresponse() as response:
                yield response
                whole = response.isclosed() and not response.will_close
        except OSError as error:
            if self._aborted and not isinstance(error, AbortedError):
                raise AbortedError("the request was broken off") from error
            raise
        finally:
            self._give(connection, keep=whole)

    def abort(self) -> None:
        """Break off every request under way and refuse new ones. Idempotent.

        A thread that is looking up a host's name is the exception: the resolver cannot be interrupted.
        """
        with self._lock:
            self._aborted = True
            for sock in self._busy:
                with contextlib.suppress(OSError):
                    # Not sock.shutdown(): of a TLS socket that drops the encryption under its user's feet.
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)
            idle, self._idle = self._idle, deque()
        for connection in idle:
            connection.close()

    # --- for connections ---------------------------------------------------------------------------------

    def hold(self, sock: socket.socket) -> None:
        """From now on `abort` reaches `sock`."""
        with self._lock:
            if self._aborted:
                raise AbortedError("the request was broken off")
            self._busy.add(sock)

    def forget(self, sock: socket.socket) -> None:
        """No more: it is about to be closed, or to become idle."""
        with self._lock:
            self._busy.discard(sock)

    def _take(self) -> _Connection:
        while True:
            with self._lock:
                if not self._idle:
                    return _Connection(self._url, self._tls, self)
                connection = self._idle.pop()
                self._busy.add(connection.sock)
            if connection.is_usable():
                return connection
            self._give(connection, keep=False)

    def _give(self, connection: _Connection, *, keep: bool) -> None:
        with self._lock:
            if connection.held is not None:
                self._busy.discard(connection.held)
            if keep and not self._aborted:
                self._idle.append(connection)
                return
        connection.close()


class _Connection(http.client.HTTPConnection):
    """One connection; it connects at its first request."""

    sock: socket.socket
    held: socket.socket | None = None
    """What `abort` reaches; `sock` is forgotten once an answer has said that it is the last."""

    def __init__(self, url: access.Url, tls: ssl.SSLContext | None, owner: Connections) -> None:
        super().__init__(url.host, url.port)
        self._to = url
        self._tls = tls
        self._owner = owner

    def connect(self) -> None:
        """Connect to the first address that accepts."""
        failure: OSError = OSError("the host has no address")
        for family, address in self._addresses():
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                self._owner.hold(sock)
                sock.settimeout(CONNECT_TIMEOUT)
                sock.connect(address)
                if family != socket.AF_UNIX:
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.sock = self.held = self._secured(sock) if self._tls else sock
                self.sock.settimeout(SILENCE_TIMEOUT)
            except OSError as error:
                self._owner.forget(sock)
                sock.close()
                if isinstance(error, ssl.SSLError | AbortedError):
                    raise
                failure = error
            else:
                return
        raise failure

    def _addresses(self) -> list[tuple[int, str | tuple[object, ...]]]:
        if self._to.socket is not None:
            return [(socket.AF_UNIX, self._to.socket)]
        found = socket.getaddrinfo(self._to.host, self._to.port, type=socket.SOCK_STREAM)
        return [(family, address) for family, _, _, _, address in found]

    def _secured(self, sock: socket.socket) -> socket.socket:
        assert self._tls is not None  # noqa: S101 - for the type checker
        secured = self._tls.wrap_socket(sock, server_hostname=self._to.host, do_handshake_on_connect=False)
        self._owner.forget(sock)
        try:
            self._owner.hold(secured)
            secured.do_handshake()
        except OSError:
            self._owner.forget(secured)
            secured.close()
            raise
        return secured

    def is_usable(self) -> bool:
        """Whether an idle connection is still open: it has nothing to say, so its end would be readable."""
        poller = select.poll()
        poller.register(self.sock, select.POLLIN)
        return not poller.poll(0)

    def send_request(self, method: str, target: str, headers: Mapping[str, str], body: Body | None) -> None:
        """Send it all. A server that answers before it has all of the body is heard all the same."""
        self.putrequest(method, target, skip_accept_encoding=True)
        for name, value in headers.items():
            self.putheader(name, value)
        if not isinstance(body, File):
            self.endheaders(body)
            return
        self.endheaders()
        try:
            self._send_file(body)
        except ShortFileError:
            raise
        except (BrokenPipeError, ConnectionResetError):
            # A refusal may have come before the connection was closed; without one getresponse fails alike.
            return

    def _send_file(self, body: File) -> None:
        if isinstance(self.sock, ssl.SSLSocket):
            sent = self._send_encrypted(self.sock, body)
        elif body.length:
            with io.FileIO(body.fd, closefd=False) as file:
                sent = self.sock.sendfile(file, 0, body.length)
        else:
            sent = 0
        if sent < body.length:
            raise ShortFileError(f"the file ends after {sent} of {body.length} bytes")

    def _send_encrypted(self, sock: ssl.SSLSocket, body: File) -> int:
        piece = memoryview(bytearray(min(_PIECE, body.length)))
        sent = 0
        while sent < body.length:
            count = os.preadv(body.fd, [piece[: body.length - sent]], sent)
            if count == 0:
                break
            sock.sendall(piece[:count])
            sent += count
        return sent

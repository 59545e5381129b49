"""Connections to one data plane, kept alive, and one HTTP/1.1 exchange on one of them.

Blocking, for worker threads; any number may work at once, each on a connection of its own. A file leaves by
`sendfile`, an answer's body is received into the caller's memory. `abort` ends every exchange under way, so
that threads in them return soon. Nothing here knows blobs, retries or sleeps; only a connection that was idle
and turns out to have been closed meanwhile is replaced, unseen by the caller.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from tygerd.stores import access, answer, bandwidth, connection, dialing, network, silence

IDLE_LIMIT = 32
"""Connections kept for the next request: as many as one transfer ever has under way."""

IDLE_AGE = 45.0
"""Seconds that an unused connection is kept; what stands in between forgets connections without a word."""

CONNECT_SHARE = 2 / 3
"""How much of the time that silence may last a host has to accept a connection: 20 s on a fast link."""

JOINED = 64 * 1024
"""Bytes of a body that are sent in one piece with the head; a large one is not worth a copy of it."""

_HEADER = re.compile(r"[\t -~\x80-\xff]*")


class File(NamedTuple):
    """A request's body: the first `length` bytes of an open file, which stays the caller's."""

    fd: int
    length: int


Body = bytes | File


class AbortedError(OSError):
    """`abort` was called."""


class Connections:
    """The connections to where a URL leads. Safe from any thread."""

    def __init__(self, url: access.Url, settings: network.Network | None = None) -> None:
        self._url = url
        self._settings = settings or network.Network()
        self._silence = silence.Silence(self._settings.silence)
        self._lock = threading.Lock()
        self._idle: deque[connection.Connection] = deque()
        self._busy: set[socket.socket] = set()
        self._aborted = False
        self._hooks = dialing.Hooks(self._hold, self._forget, lambda: self._aborted)
        self._proxy = None if url.tls else self._settings.proxy_for(url)
        """One that is given whole requests; to a server with TLS it only connects."""

    def again(self) -> Connections:
        """Others to the same place, which know what these have learned of it: for after an `abort`."""
        fresh = Connections(self._url, self._settings)
        fresh._silence = self._silence
        return fresh

    @contextlib.contextmanager
    def request(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: Body | None = None,
        *,
        share: bandwidth.Share | None = None,
    ) -> Iterator[answer.Answer]:
        """Send a request, which must be safe to repeat; yields the answer, whose body the caller reads.

        The connection is kept for the next request only if the body was read to its end.

        Raises:
            OSError: there is no connection, or it broke; AbortedError, connection.SilentError and
                dialing.ProxyError among them.
            http.client.HTTPException: the answer is not HTTP.
            connection.ShortFileError: the body's file is too short; the connection was closed.
        """
        head = self._head(method, target, headers)
        length = body.length if isinstance(body, File) else len(body or b"")
        limit = self._silence.limit(length)
        started = time.monotonic()
        try:
            used, said = self._ask(method, head, body, share, limit)
            keep = False
            try:
                yield said
                keep = said.is_whole and not used.spoilt
                self._silence.moved(length + used.received, time.monotonic() - started)
            finally:
                self._give(used, keep=keep)
        except OSError as error:
            if self._aborted and not isinstance(error, AbortedError):
                raise AbortedError("the request was broken off") from error
            if isinstance(error, connection.SilentError):
                self._silence.timed_out(length, limit)
            raise

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
        for unused in idle:
            unused.close()

    # --- one exchange ------------------------------------------------------------------------------------

    def _head(self, method: str, target: str, headers: Mapping[str, str]) -> bytes:
        host = dialing.authority(self._url)
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
        if self._proxy is not None:
            lines[0] = f"{method} http://{host}{target} HTTP/1.1"
            if self._proxy.authorization is not None:
                lines.append(f"Proxy-Authorization: {self._proxy.authorization}")
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if not all(_HEADER.fullmatch(line) for line in lines):
            raise ValueError("a header holds a character that none can hold")
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def _ask(
        self, method: str, head: bytes, body: Body | None, share: bandwidth.Share | None, limit: float
    ) -> tuple[connection.Connection, answer.Answer]:
        """Send the request and wait for the head of its answer, on a connection that is then the caller's."""
        while True:
            used = self._take(limit)
            try:
                used.watch(limit)
                self._send(used, head, body, share)
                return used, answer.Answer(used, method, share)
            except (ConnectionError, connection.CutError):
                stale = used.exchanges > 0 and used.received == 0 and not self._aborted
                self._give(used, keep=False)
                if not stale:
                    raise
                self._close_idle()  # its server was restarted, most likely: the others fare no better
            except BaseException:
                self._give(used, keep=False)
                raise

    def _send(
        self, used: connection.Connection, head: bytes, body: Body | None, share: bandwidth.Share | None
    ) -> None:
        """Send it all. A server that answers before it has all of the body is heard all the same."""
        try:
            if isinstance(body, File):
                used.send(head, more=body.length > 0)
                used.send_file(body.fd, body.length, share)
            elif body and (share is not None or len(body) > JOINED):
                used.send(head, more=True)
                used.send(body, share)
            else:
                used.send(head + (body or b""))
        except (BrokenPipeError, ConnectionResetError):
            # A refusal may have come before the connection was closed; without one the answer fails alike.
            used.spoilt = True

    # --- the connections ---------------------------------------------------------------------------------

    def _take(self, limit: float) -> connection.Connection:
        """A connection, held: the idle one that was used last, or a new one."""
        while True:
            with self._lock:
                if self._aborted:
                    raise AbortedError("the request was broken off")
                if not self._idle:
                    break
                found = self._idle.pop()
                self._busy.add(found.sock)
            if time.monotonic() - found.idle_since < IDLE_AGE and found.is_usable():
                return found
            self._give(found, keep=False)
        return dialing.dial(self._url, self._settings, limit * CONNECT_SHARE, self._hooks)

    def _give(self, used: connection.Connection, *, keep: bool) -> None:
        surplus: list[connection.Connection] = []
        with self._lock:
            self._busy.discard(used.sock)
            if keep and not self._aborted:
                used.exchanges += 1
                used.idle_since = time.monotonic()
                self._idle.append(used)
            else:
                surplus.append(used)
            oldest = time.monotonic() - IDLE_AGE
            while self._idle and (len(self._idle) > IDLE_LIMIT or self._idle[0].idle_since < oldest):
                surplus.append(self._idle.popleft())
        for unused in surplus:
            unused.close()

    def _close_idle(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, deque()
        for unused in idle:
            unused.close()

    def _hold(self, sock: socket.socket) -> None:
        """From now on `abort` reaches `sock`."""
        with self._lock:
            if self._aborted:
                raise AbortedError("the request was broken off")
            self._busy.add(sock)

    def _forget(self, sock: socket.socket) -> None:
        """No more: it is about to be closed."""
        with self._lock:
            self._busy.discard(sock)

"""A connection to the daemon's socket: how it is made, how bytes are taken from it, how it ends.

Knows nothing of HTTP. Standard library only: this module is on the start path of every command, and the
supervisor beside a run uses it too.
"""

from __future__ import annotations

import errno
import os
import select
import socket

from tyger import errors

RECV = 256 * 1024
"""Bytes asked of a socket at once."""


LONGEST_LINE = 64 * 1024
"""Bytes of a line of a head; our daemon's have a few hundred."""


class Disconnected(errors.Problem):
    """Nobody answers, or the connection ended before the answer did.

    The request may have been carried out.
    """

    def __init__(self, message: str) -> None:
        super().__init__(errors.UNAVAILABLE, message)


class Channel:
    """A connected socket and the bytes that were read from it beyond what was asked for.

    Reading raises `Disconnected` at end of file and on a reset. `wake` is a descriptor that, when readable,
    makes a waiting read raise `Interrupted`.
    """

    def __init__(self, sock: socket.socket, wake: int | None = None) -> None:
        self.sock = sock
        self.pending = bytearray()
        self._wake = wake

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self.sock.fileno()

    def fill(self) -> None:
        """Read at least one more byte into `pending`."""
        self.wait_readable()
        self.receive()

    def receive(self) -> None:
        """Read what the socket has into `pending`, once; waits only where it has nothing."""
        try:
            data = self.sock.recv(RECV)
        except ConnectionError as error:
            raise Disconnected(f"the connection to the daemon broke: {error.strerror}") from error
        if not data:
            raise Disconnected("the daemon closed the connection")
        self.pending += data

    def wait_readable(self) -> None:
        """Block until the socket has something to read; raise `Interrupted` when `wake` fires first."""
        if self._wake is None:
            return
        poller = select.poll()
        poller.register(self.sock, select.POLLIN)
        poller.register(self._wake, select.POLLIN)
        ready = dict(poller.poll())
        if self._wake in ready:
            raise Interrupted

    def line(self) -> bytes:
        """The next line, without its line ending. Raises `Problem` (PROTOCOL) where it does not end."""
        searched = 0
        while (end := self.pending.find(b"\n", searched)) < 0:
            searched = len(self.pending)
            if searched > LONGEST_LINE:
                raise errors.Problem(errors.PROTOCOL, "the answer's head has a line without an end")
            self.fill()
        line = bytes(self.pending[:end])
        del self.pending[: end + 1]
        return line.removesuffix(b"\r")

    def take(self, limit: int) -> bytes:
        """Up to `limit` bytes, at least one."""
        if not self.pending:
            self.fill()
        data = bytes(self.pending[:limit])
        del self.pending[: len(data)]
        return data

    def exactly(self, count: int) -> bytes:
        """Exactly `count` bytes."""
        while len(self.pending) < count:
            self.fill()
        data = bytes(self.pending[:count])
        del self.pending[:count]
        return data

    def close(self) -> None:
        """Close the socket. Idempotent."""
        self.sock.close()


class Interrupted(Exception):  # noqa: N818 - not an error: somebody asked us to stop
    """A read was ended by its `wake` descriptor."""


def connect(path: str) -> socket.socket:
    """A connected Unix socket.

    Raises:
        Disconnected: nobody listens at `path`.
        Problem: the socket may not be opened (FORBIDDEN), or its path is too long (CONFIG).
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sock.connect(path)
    except OSError as error:
        sock.close()
        if error.errno in (errno.EACCES, errno.EPERM):
            raise errors.Problem(
                errors.FORBIDDEN,
                f"cannot open {path}: permission denied; ask to be put in the group that owns it",
            ) from None
        if error.errno is None:
            raise errors.Problem(errors.CONFIG, f"the socket path {path} is longer than 107 bytes") from None
        raise Disconnected(f"no daemon answers on {path}: {os.strerror(error.errno)}") from None
    except BaseException:
        sock.close()
        raise
    return sock

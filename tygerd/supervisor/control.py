"""The supervisor's control socket: newline-delimited JSON, version `spec.VERSION`, any number of peers.

The supervisor speaks first: `{"event":"hello","protocol":"tyger-supervisor","version":1,"run":N}`, then
`{"event":"state",...}` with all that is known (see `supervise`), then events as they happen: `started`,
`running` (`running`: so many of several replicas run now), `log` (`size`: the log has so many bytes now),
`exited` (`exitCode`: all of the job has) and last `finished` (`status`: the content of status.json). A peer
may send `{"command":"cancel","reason":TEXT}`, which is answered with `{"event":"accepted"}`, and
`{"command":"state"}`; what else it sends is answered with `{"event":"error","message":TEXT}`. A peer that
doesn't read loses `log` events first, then the connection; it never holds up the run. The socket stands in a
directory that only the daemon's user may enter.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator

from tygerd.supervisor import spec

MAX_LINE = 64 * 1024
"""Bytes of a command; ours have some hundred."""

MAX_QUEUE = 1024 * 1024
"""Bytes that wait for a peer that doesn't read before it is dropped."""

Message = dict[str, object]


@contextlib.contextmanager
def address(directory: str) -> Iterator[str]:
    """A path for bind or connect within 107 bytes, however deep the run's directory lies."""
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{spec.SOCKET}"
    finally:
        os.close(fd)


class Peer:
    """One connection. Nothing here blocks."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._received = bytearray()
        self._queue = bytearray()
        self.closed = False

    def fileno(self) -> int:
        """The connection's descriptor."""
        return self._sock.fileno()

    @property
    def waiting(self) -> bool:
        """There is something to send that the peer had no room for."""
        return bool(self._queue)

    def send(self, message: Message, *, droppable: bool = False) -> None:
        """Send a message, or queue it; one that is `droppable` is left out when others are waiting."""
        if self.closed or (droppable and self._queue):
            return
        self._queue += json.dumps(message, separators=(",", ":")).encode() + b"\n"
        self.flush()
        if len(self._queue) > MAX_QUEUE:
            self.close()

    def flush(self) -> None:
        """Send what is queued, as far as the peer takes it."""
        try:
            while self._queue:
                del self._queue[: self._sock.send(self._queue)]
        except BlockingIOError:
            pass
        except OSError:
            self.close()

    def receive(self) -> list[Message]:
        """The commands that have arrived, an empty one for what isn't JSON; closes at end of file."""
        try:
            data = self._sock.recv(MAX_LINE)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self.close()
            return []
        self._received += data
        *lines, self._received = self._received.split(b"\n")
        if len(self._received) > MAX_LINE:
            self.close()
        return [_decode(line) for line in lines]

    def close(self) -> None:
        """End the connection. Idempotent."""
        self.closed = True
        self._sock.close()


def _decode(line: bytearray) -> Message:
    try:
        message = json.loads(line)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


class Listener:
    """The socket in the run's directory and its peers."""

    def __init__(self, directory: str) -> None:
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._sock.setblocking(False)
        self._path = os.path.join(directory, spec.SOCKET)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)  # of a supervisor that died; we hold the lock
        with address(directory) as short:
            self._sock.bind(short)
        self._sock.listen(16)
        self.peers: list[Peer] = []

    def fileno(self) -> int:
        """The listening descriptor."""
        return self._sock.fileno()

    def accept(self) -> Peer | None:
        """The next peer that waits; None when it went away again or descriptors are short."""
        try:
            sock, _ = self._sock.accept()
        except OSError:
            return None
        peer = Peer(sock)
        self.peers.append(peer)
        return peer

    def broadcast(self, message: Message, *, droppable: bool = False) -> None:
        """Send a message to every peer."""
        for peer in self.peers:
            peer.send(message, droppable=droppable)

    def forget_closed(self) -> None:
        """Take the peers whose connection has ended off the list."""
        self.peers = [peer for peer in self.peers if not peer.closed]

    def close(self) -> None:
        """End every connection and remove the socket."""
        for peer in self.peers:
            peer.close()
        self._sock.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)

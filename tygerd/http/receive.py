"""Bytes and descriptors from one client's socket, and the bounds on what one user may hold.

`recvmsg` is the only way in: descriptors ride with bytes, are owned from the instant they arrive, and are
taken in their order of arrival.
"""

from __future__ import annotations

import array
import collections
import contextlib
import socket
import struct

import trio

from tyger import errors
from tygerd.http import messages, tls
from tygerd.osutil import fds

READ_SIZE = 256 * 1024
"""Bytes asked for at once: a whole head and body of most requests; larger ones gained nothing when
measured.
"""

MAX_FDS = 16
"""Descriptors that one message may bring; our client sends one."""


class Quota:
    """Counts what each uid holds, up to a limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: collections.Counter[int] = collections.Counter()

    def acquire(self, uid: int) -> bool:
        """Take one; False when the uid has its limit."""
        if self._held[uid] >= self._limit:
            return False
        self._held[uid] += 1
        return True

    def release(self, uid: int) -> None:
        """Give one back."""
        self._held[uid] -= 1
        if not self._held[uid]:
            del self._held[uid]

    @property
    def total(self) -> int:
        """How many are held by all."""
        return self._held.total()


def peer_of(sock: trio.socket.SocketType) -> messages.Peer:
    """Who connected, as the kernel noted it then."""
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("iII"))
    pid, uid, gid = struct.unpack("iII", raw)
    return messages.Peer(uid=uid, gid=gid, pid=pid)


class Receiver:
    """The reading half of a connection. One task uses it at a time."""

    def __init__(self, sock: tls.Socket, peer: messages.Peer, quota: Quota) -> None:
        self._sock = sock
        self._peer = peer
        self._quota = quota
        self._arrived: collections.deque[fds.OwnedFd] = collections.deque()

    async def receive(self) -> bytes:
        """The next bytes, b"" at end of file. Cancelled, nothing is lost.

        Raises:
            OSError: the connection broke.
            Problem: more descriptors came than fit into one message (BAD_REQUEST) or than this user may hold
                (TRY_AGAIN). Those that came with these bytes are closed.
        """
        data, ancillary, flags, _ = await self._sock.recvmsg(
            READ_SIZE, socket.CMSG_SPACE(MAX_FDS * array.array("i").itemsize), socket.MSG_CMSG_CLOEXEC
        )
        numbers = array.array("i")
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                numbers.frombytes(payload[: len(payload) - len(payload) % numbers.itemsize])
        new = [self._own(number) for number in numbers]
        with contextlib.ExitStack() as undo:
            for fd in new:
                undo.callback(fd.close)
            if flags & socket.MSG_CTRUNC:
                raise errors.Problem(
                    errors.BAD_REQUEST,
                    f"a message may bring {MAX_FDS} descriptors; more came, or none could be made",
                )
            if any(fd.refused for fd in new):
                raise errors.Problem(errors.TRY_AGAIN, "you have too many descriptors with the daemon")
            undo.pop_all()
        self._arrived.extend(new)
        return data

    def _own(self, number: int) -> _CountedFd:
        return _CountedFd(number, self._quota, self._peer.uid)

    @property
    def arrived(self) -> int:
        """How many descriptors are waiting to be taken."""
        return len(self._arrived)

    def take(self) -> list[fds.OwnedFd]:
        """All descriptors that arrived, in order; the caller's from now on."""
        taken = list(self._arrived)
        self._arrived.clear()
        return taken

    async def aclose(self) -> None:
        """Close the descriptors that nobody took."""
        for fd in self.take():
            await fd.aclose()


class _CountedFd(fds.OwnedFd):
    """A passed descriptor, on its user's account as long as it is open."""

    def __init__(self, number: int, quota: Quota, uid: int) -> None:
        self.refused = not quota.acquire(uid)
        super().__init__(number, on_close=None if self.refused else lambda: quota.release(uid))

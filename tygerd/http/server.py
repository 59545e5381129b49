"""Accepts connections and ends them: limits per user, the lost socket path, and the graceful stop.

A stop is a deadline on the nursery of connections; because `kill -9` is safe there is no second clean-up
path.
"""

from __future__ import annotations

import http
import json
import logging
import socket
from typing import NamedTuple

import trio

from tyger import errors
from tygerd import clock
from tygerd.http import accepting, connection, heads, listener, messages, receive, sending

PATH_CHECK = 2.0
"""Seconds between looks at the socket's path. A timer and not inotify: it costs one `lstat`, and also sees
a parent directory that was renamed, unmounted or mounted over, which a watch on the directory does not."""

SEND_BUFFER = 1024 * 1024
"""Bytes asked for a connection's send buffer (the kernel caps it): fewer wake-ups a block."""

TURNED_AWAY = 64
"""Connections that are turned away and whose first request is waited for: a client takes an answer to nothing
for a broken connection. More of them are answered at once, so that they cost nothing."""

TURNED_AWAY_PATIENCE = 2.0
"""Seconds that it is waited for."""

logger = logging.getLogger(__name__)


class Statistics(NamedTuple):
    """What the server holds."""

    connections: int
    passed_fds: int
    requests_total: int


class Server:
    """Serves a `connection.Site` on a `listener.Listener`."""

    def __init__(
        self,
        site: connection.Site,
        listening: listener.Listener,
        *,
        connections_per_uid: int,
        stop_deadline: float,
        path_check: float = PATH_CHECK,
        turned_away: int = TURNED_AWAY,
        turned_away_patience: float = TURNED_AWAY_PATIENCE,
    ) -> None:
        self._site = site
        self._listening = listening
        self._connections: set[connection.Connection] = set()
        self._quota = receive.Quota(connections_per_uid)
        self._stop_deadline = stop_deadline
        self._path_check = path_check
        self._accepting = trio.CancelScope()
        self._turning_away = 0
        self._turned_away = turned_away
        self._turned_away_patience = turned_away_patience
        self._overflow_uid = _overflow_uid()
        self.quiet_since = clock.boottime()
        """When the last connection ended (`clock.boottime`)."""

    def statistics(self) -> Statistics:
        """A snapshot, for /status and /metrics."""
        return Statistics(
            connections=len(self._connections),
            passed_fds=self._site.fds.total,
            requests_total=self._site.requests,
        )

    async def serve(self) -> None:
        """Serve until `stop` was called and all connections have ended, or their deadline has passed.

        Raises:
            Problem: the socket's path was lost and cannot be bound again.
        """
        async with trio.open_nursery() as connections:
            with self._accepting:
                await self._accept_wherever_we_listen(connections)
            for conn in tuple(self._connections):
                conn.stop()
            connections.cancel_scope.deadline = trio.current_time() + self._stop_deadline

    def stop(self) -> None:
        """Accept no more, end streams, and let requests in progress finish until the deadline."""
        self._accepting.cancel()

    async def _accept_wherever_we_listen(self, connections: trio.Nursery) -> None:
        try:
            while True:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._accept, connections)
                    await self._path_lost()
                    nursery.cancel_scope.cancel()
                self._bind_again()
        finally:
            self._listening.close()

    async def _path_lost(self) -> None:
        while not self._listening.lost():  # noqa: ASYNC110 - the file system sends no event that says all
            await trio.sleep(self._path_check)

    def _bind_again(self) -> None:
        """A daemon that holds the state and cannot be reached helps nobody: bind again or end."""
        old = self._listening
        if old.again is None:
            raise errors.Problem(
                errors.CONFIG, f"the socket {old.path} that the service manager made is no longer there"
            )
        logger.warning("the socket %s was removed or replaced: binding it again", old.path)
        self._listening = old.again()
        old.close()

    async def _accept(self, connections: trio.Nursery) -> None:
        while True:
            sock, _ = await accepting.accept(self._listening.socket)
            connections.start_soon(self._serve_connection, sock)

    async def _serve_connection(self, sock: trio.socket.SocketType) -> None:
        peer = receive.peer_of(sock)
        if peer.uid == self._overflow_uid:
            await self._turn_away(
                sock, errors.Problem(errors.FORBIDDEN, "your user is unknown on this machine")
            )
            return
        if not self._quota.acquire(peer.uid):
            await self._turn_away(
                sock, errors.Problem(errors.TRY_AGAIN, "you have too many connections open")
            )
            return
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        conn = connection.Connection(sock, peer, self._site)
        self._connections.add(conn)
        try:
            await conn.serve()
        finally:
            self._connections.discard(conn)
            self._quota.release(peer.uid)
            self.quiet_since = clock.boottime()

    async def _turn_away(self, sock: trio.socket.SocketType, problem: errors.Problem) -> None:
        """Answer a connection that is not served, whatever it asks, and close it."""
        body = json.dumps(problem.body())
        lines = [
            f"HTTP/1.1 {problem.status} {http.HTTPStatus(problem.status).phrase}",
            f"Content-Type: {messages.JSON_TYPE}",
            f"Content-Length: {len(body)}",
            "Connection: close",
            *(
                f"{name}: {value}"
                for name, value in sending.common_headers(self._site.next_id(), self._site.version)
            ),
        ]
        with sock:
            try:
                if self._turning_away < self._turned_away:
                    await self._first_words(sock)
                # A fresh socket's buffer has room for this.
                await sock.send("\r\n".join([*lines, "", body]).encode())
            except OSError:
                logger.debug("a client that was turned away did not wait for the reason")

    async def _first_words(self, sock: trio.socket.SocketType) -> None:
        """Wait a little for what a client that is turned away has to say, and throw it away."""
        self._turning_away += 1
        try:
            with trio.move_on_after(self._turned_away_patience):
                await sock.recv(heads.MAX_LENGTH)
        finally:
            self._turning_away -= 1


def _overflow_uid() -> int:
    """The uid that stands for users who have none here: nobody can be told apart behind it."""
    try:
        with open("/proc/sys/kernel/overflowuid", encoding="ascii") as file:
            return int(file.read())
    except OSError:
        return 65534

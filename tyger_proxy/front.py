"""The proxy's TCP listener: who may connect, how many at once, and the end of it all.

What a connection says is `tygerd.http`'s affair, what it may ask `operations`'.
"""

from __future__ import annotations

import collections
import errno
import ipaddress
import logging
import os
import secrets
import socket
from collections.abc import Callable, Sequence

import trio

import tyger
from tyger import errors
from tyger_proxy import operations, settings
from tygerd import config
from tygerd.http import accepting, connection, messages, receive, router

CONNECTIONS = 512
CONNECTIONS_PER_ADDRESS = 128
"""A client opens as many as it reads blocks at once, a few dozen. Who holds more gets no answer."""

STOP_DEADLINE = 5.0
"""Seconds for requests that are under way when the proxy is stopped."""

_LIMITS = config.Limits(block_body_size=config.Size(1 << 40))
"""How long a body may be is the server's to say; none is kept here."""

logger = logging.getLogger(__name__)

Ip = ipaddress.IPv4Address | ipaddress.IPv6Address


def listen(port: int) -> socket.socket:
    """A listening socket on all interfaces; port 0 takes any.

    Raises:
        Problem: CONFIG, with the system's reason.
    """
    try:
        try:
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=128)
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno in (errno.EADDRINUSE, errno.EACCES):
                raise
            return socket.create_server(("", port), backlog=128)  # a machine without IPv6
    except OSError as error:
        raise errors.Problem(
            errors.CONFIG, f"cannot listen on port {port}: {os.strerror(error.errno or 0)}"
        ) from None


def table_for(peer: Ip, networks: Sequence[settings.Network]) -> router.Router:
    """The operations that a client at this address may ask for."""
    if not networks or any(peer in network for network in networks):
        return operations.EVERYBODY
    return operations.NEIGHBOURS if peer.is_loopback else operations.NOBODY


def address_of(name: Sequence[object]) -> Ip:
    """The address in a peer's name; one of IPv4 that comes through an IPv6 socket is of IPv4."""
    found = ipaddress.ip_address(str(name[0]).partition("%")[0])
    return getattr(found, "ipv4_mapped", None) or found


class Front:
    """Serves `proxy` on a listening socket, which it closes."""

    def __init__(
        self,
        proxy: operations.Proxy,
        listening: socket.socket,
        networks: Sequence[settings.Network],
        *,
        per_address: int = CONNECTIONS_PER_ADDRESS,
    ) -> None:
        self._proxy = proxy
        self._listening = trio.socket.from_stdlib_socket(listening)
        self._networks = networks
        self._per_address = per_address
        self._connections: set[connection.Connection] = set()
        self._held: collections.Counter[Ip] = collections.Counter()
        self._accepting = trio.CancelScope()
        self._threads = trio.CapacityLimiter(4)
        self._sites: dict[router.Router, connection.Site] = {}

    async def serve(self) -> None:
        """Serve until `stop` was called and all connections have ended, or their deadline has passed."""
        with self._listening:
            async with trio.open_nursery() as connections:
                with self._accepting:
                    await self._accept(connections.start_soon)
                for conn in tuple(self._connections):
                    conn.stop()
                connections.cancel_scope.deadline = trio.current_time() + STOP_DEADLINE

    def stop(self) -> None:
        """Accept no more, end streams, and let requests in progress finish until the deadline."""
        self._accepting.cancel()

    async def _accept(self, start: Callable[..., None]) -> None:
        while True:
            sock, name = await accepting.accept(self._listening)
            peer = address_of(name)
            if len(self._connections) >= CONNECTIONS or self._held[peer] >= self._per_address:
                sock.close()
                continue
            start(self._serve, sock, peer)

    async def _serve(self, sock: trio.socket.SocketType, peer: Ip) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        conn = connection.Connection(sock, messages.NOBODY, self._site(table_for(peer, self._networks)))
        self._connections.add(conn)
        self._held[peer] += 1
        try:
            await conn.serve()
        finally:
            self._connections.discard(conn)
            self._held[peer] -= 1
            if not self._held[peer]:
                del self._held[peer]

    def _site(self, table: router.Router) -> connection.Site:
        if table not in self._sites:
            self._sites[table] = connection.Site(
                app=self._proxy,
                router=table,
                limits=_LIMITS,
                version=tyger.__version__,
                fds=receive.Quota(0),
                threads=self._threads,
                life=secrets.token_hex(4),
            )
        return self._sites[table]

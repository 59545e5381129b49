"""The data plane's TCP listener: TLS on every connection, and bounds on what strangers can take.

Anybody in the network may connect. An address gets so many new connections a second, a handshake being
arithmetic, and whoever was refused something has to make another one (`api.outside`). When there are too
many, of all or of one address, the one is closed that has asked for nothing, or for nothing for the longest
time; a client replaces a connection that went stale by another. Requests under way are never cut for that:
when there is nothing else, newcomers wait in the kernel's queue.
"""

from __future__ import annotations

import collections
import ipaddress
import logging
import os
import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import trio

from tyger import errors
from tygerd import clock
from tygerd.http import accepting, connection, messages, tls

BACKLOG = 512
"""Connections that may wait to be accepted; the kernel caps it (somaxconn)."""

SHARE = 4
"""One address may have a quarter of all connections; a node of a cluster may show all its pods as one."""

RATE = 100.0
"""New connections a second from one address, beyond as many as it may have open. Each costs a processor here
a millisecond, and a client keeps those it has."""

ADDRESSES = 4096
"""So many addresses' rates are remembered; then those are forgotten that have not come for some seconds."""

UNSENT = 256 * 1024
"""Bytes of an answer that wait in the kernel and are not yet on their way, at most: a block has many such."""

_TCP_NOTSENT_LOWAT = 25
"""Linux's number; `socket` has it since Python 3.12."""

LOOK_AGAIN = 0.1
"""Seconds between looks, while all are busy, for one that has become idle: it says nothing then."""

logger = logging.getLogger(__name__)


class Statistics(NamedTuple):
    """What the listener holds, how many connections it has closed to make room, and at once."""

    connections: int
    closed_for_others_total: int
    turned_away_total: int


class Rates:
    """How many connections each address may still make: `burst` at once, then `rate` a second."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._left: dict[str, tuple[float, float]] = {}

    def take(self, peer: str) -> bool:
        """Count one more; False where it is one too many."""
        now = clock.boottime()
        left, since = self._left.get(peer, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._rate)
        if len(self._left) >= ADDRESSES:
            full_after = self._burst / self._rate
            self._left = {each: at for each, at in self._left.items() if now - at[1] < full_after}
        self._left[peer] = max(0.0, left - 1), now
        return left >= 1


@dataclass(eq=False)
class _Held:
    """A connection, from its acceptance on. `served` is None until there is TLS on it."""

    peer: str
    scope: trio.CancelScope
    secured: tls.Secured
    served: connection.Connection | None = None

    @property
    def is_spare(self) -> bool:
        """Whether nothing is lost but a connection when it is closed."""
        return self.served is None or self.served.is_idle()

    @property
    def rank(self) -> tuple[bool, float]:
        """The lowest of those that are spare is closed first: who never got an answer, then by age."""
        return not self.secured.strange, self.secured.last_sent


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; an empty `host` means all interfaces, port 0 any port.

    Raises:
        Problem: CONFIG, with the system's reason.
    """
    try:
        if host:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, _, _, _, address = found[0]
            return socket.create_server(address[:2], family=family, backlog=BACKLOG)
        if socket.has_dualstack_ipv6():
            return socket.create_server(
                ("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG
            )
        return socket.create_server(("", port), backlog=BACKLOG)
    except OSError as error:
        reason = error.strerror or str(error)
        if not isinstance(error, socket.gaierror) and error.errno:
            reason = os.strerror(error.errno)
        raise errors.Problem(
            errors.CONFIG, f"store.local.listen: cannot listen on {host or '*'} port {port}: {reason}"
        ) from None


class Plane:
    """Serves `site` with TLS on a listening socket, which it closes.

    `context` gives the certificate for a new connection; it is asked each time. There are `connections` at
    most, and for a moment one more.
    """

    def __init__(
        self,
        site: connection.Site,
        listening: socket.socket,
        context: Callable[[], ssl.SSLContext],
        *,
        connections: int,
        stop_deadline: float,
        stall: float = tls.STALL,
        handshake: float = tls.HANDSHAKE,
        rate: float = RATE,
    ) -> None:
        self._site = site
        self._listening = trio.socket.from_stdlib_socket(listening)
        self._context = context
        self._most = connections
        self._most_of_one = max(1, connections // SHARE)
        self._stop_deadline = stop_deadline
        self._stall = stall
        self._handshake = handshake
        self._held: set[_Held] = set()
        self._of: collections.Counter[str] = collections.Counter()
        self._rates = Rates(rate, self._most_of_one)
        self._closed_for_others = 0
        self._turned_away = 0
        self._accepting = trio.CancelScope()
        self._ended = trio.Event()

    def statistics(self) -> Statistics:
        """A snapshot, for /status and /metrics."""
        return Statistics(len(self._held), self._closed_for_others, self._turned_away)

    async def serve(self) -> None:
        """Serve until `stop` was called and all connections have ended, or their deadline has passed."""
        async with trio.open_nursery() as connections:
            with self._listening, self._accepting:
                await self._accept(connections)
            for held in tuple(self._held):
                if held.served is None:
                    held.scope.cancel()
                else:
                    held.served.stop()
            connections.cancel_scope.deadline = trio.current_time() + self._stop_deadline

    def stop(self) -> None:
        """Accept no more, and let requests in progress finish until the deadline."""
        self._accepting.cancel()

    async def _accept(self, connections: trio.Nursery) -> None:
        while True:
            sock, name = await accepting.accept(self._listening)
            held = self._hold(sock, address_of(name))
            if held is None:
                continue
            connections.start_soon(self._serve, held)
            while len(self._held) > self._most and not self._make_room(self._held - {held}):
                with trio.move_on_after(LOOK_AGAIN):
                    await self._ended.wait()

    def _hold(self, sock: trio.socket.SocketType, peer: str) -> _Held | None:
        """Count a new connection; None where it has ended already, or its address may have no more."""
        if not self._rates.take(peer) or (
            self._of[peer] >= self._most_of_one
            and not self._make_room(held for held in self._held if held.peer == peer)
        ):
            logger.debug("%s has or makes too many connections", peer)
            self._turned_away += 1
            sock.close()
            return None
        try:
            sock.getpeername()  # of one that is gone Python's TLS would leave the descriptor to the collector
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, UNSENT)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            secured = tls.Secured(sock, self._context(), stall=self._stall)
        except OSError as error:
            logger.debug("%s was gone before it said anything: %s", peer, error)
            sock.close()
            return None
        held = _Held(peer, trio.CancelScope(), secured)
        self._held.add(held)
        self._of[peer] += 1
        return held

    def _make_room(self, among: Iterable[_Held]) -> bool:
        """Close the connection that is missed least; False where each of them has something to do."""
        spare = [held for held in among if held.is_spare]
        if not spare:
            return False
        victim = min(spare, key=lambda held: held.rank)
        self._closed_for_others += 1
        victim.scope.cancel()
        self._forget(victim)
        return True

    def _forget(self, held: _Held) -> None:
        if held in self._held:
            self._held.discard(held)
            self._of[held.peer] -= 1
            if not self._of[held.peer]:
                del self._of[held.peer]
            self._ended.set()
            self._ended = trio.Event()

    async def _serve(self, held: _Held) -> None:
        try:
            with held.scope:
                await held.secured.handshake(self._handshake)
                held.served = connection.Connection(held.secured, messages.NOBODY, self._site)
                await held.served.serve()
        except tls.HandshakeError as error:
            logger.debug("%s: no secure connection: %s", held.peer, error)
        finally:
            held.secured.close()
            self._forget(held)


def address_of(name: Sequence[object]) -> str:
    """Whom connections of this peer count for: an IPv4 address, or the 64 bits that an IPv6 host may have."""
    found = ipaddress.ip_address(str(name[0]).partition("%")[0])
    found = getattr(found, "ipv4_mapped", None) or found
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((found, 64), strict=False).network_address)
    return str(found)

"""Making connections: to the first address that answers, through a proxy, with TLS.

Blocking. What it opens it shows to `hold`, so that its owner can break it off at any time; the name of a host
is looked up by the system's resolver, which alone can't be interrupted.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tygerd.stores import access, answer, connection, network

STAGGER = 0.3
"""Seconds until the next of a host's addresses is tried as well: one that drops packets is no obstacle."""

_KERNELS_WATCH = [
    (socket.TCP_KEEPIDLE, 20),
    (socket.TCP_KEEPINTVL, 10),
    (socket.TCP_KEEPCNT, 6),
    (socket.TCP_USER_TIMEOUT, 120_000),
]
"""The kernel's own watch: it finds a host that is gone also where silence is allowed to be long."""


class ProxyError(OSError):
    """The proxy refuses. `status` is its answer's."""

    def __init__(self, proxy: network.Proxy, goal: str, status: int) -> None:
        super().__init__(f"the proxy {proxy.place} refuses to connect to {goal} with status code {status}")
        self.status = status


class Hooks(NamedTuple):
    """What the owner of a connection wants to know while it is made."""

    hold: Callable[[socket.socket], None]
    """This socket is in use from now on. Raises when all was broken off."""

    forget: Callable[[socket.socket], None]
    """It no longer is."""

    stopped: Callable[[], bool]


def dial(url: access.Url, settings: network.Network, limit: float, hooks: Hooks) -> connection.Connection:
    """A connection to where `url` leads, held. `limit` is in seconds, for each step.

    Raises:
        OSError: nobody answers; ProxyError; ssl.SSLError.
        http.client.HTTPException: the proxy does not speak HTTP.
        Problem: CONFIG, the certificates to trust cannot be used.
    """
    proxy = settings.proxy_for(url)
    if url.socket is not None:
        sock = _connect_unix(url.socket, limit, hooks)
    else:
        host, port = (url.host, url.port) if proxy is None else (proxy.host, proxy.port)
        sock = _Race(limit, hooks).run(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    try:
        if proxy is not None and url.tls:
            _tunnel(sock, url, proxy, limit, hooks)
        if url.tls:
            sock = _secure(sock, url, settings, limit, hooks)
    except BaseException:
        hooks.forget(sock)
        sock.close()
        raise
    return connection.Connection(sock, hooks.stopped)


def authority(url: access.Url, *, always_port: bool = False) -> str:
    """Host and port as a request names them; the usual port goes without saying."""
    host = f"[{url.host}]" if ":" in url.host else url.host.encode("idna").decode()
    usual = 443 if url.tls else 80
    return host if url.port == usual and not always_port else f"{host}:{url.port}"


def _connect_unix(path: str, limit: float, hooks: Hooks) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        hooks.hold(sock)
        connection.set_timeouts(sock, limit)  # the server's queue may be full
        sock.connect(path)
    except OSError as error:
        hooks.forget(sock)
        sock.close()
        if isinstance(error, BlockingIOError):
            raise TimeoutError(f"no connection within {limit:.0f} s") from None
        raise
    return sock


class _Race:
    """Connecting to several addresses; the first that accepts has won."""

    def __init__(self, limit: float, hooks: Hooks) -> None:
        self._limit = limit
        self._hooks = hooks
        self._running: dict[int, socket.socket] = {}
        self._poller = select.poll()
        self._failure: OSError = OSError("the host has no address")

    def run(self, addresses: Sequence[tuple[Any, ...]]) -> socket.socket:
        """Raises OSError: what the last one said."""
        deadline = time.monotonic() + self._limit
        coming = deque(addresses)
        try:
            while coming or self._running:
                if coming:
                    family, _, _, _, address = coming.popleft()
                    self._start(family, address)
                if not self._running:
                    continue
                patience = STAGGER if coming else max(0.0, deadline - time.monotonic())
                for fd, _ in self._poller.poll(patience * 1000):
                    if (winner := self._settle(fd)) is not None:
                        return winner
                if time.monotonic() >= deadline:
                    raise TimeoutError(f"no connection within {self._limit:.0f} s")
            raise self._failure
        finally:
            for sock in self._running.values():
                self._hooks.forget(sock)
                sock.close()

    def _start(self, family: int, address: Any) -> None:
        sock = socket.socket(family, socket.SOCK_STREAM)
        fd = sock.fileno()
        self._running[fd] = sock
        self._hooks.hold(sock)
        sock.setblocking(False)
        self._poller.register(fd, select.POLLOUT)
        code = sock.connect_ex(address)
        if self._hooks.stopped():  # who broke it off before this call found nothing to shut down
            raise ConnectionAbortedError(errno.ECONNABORTED, os.strerror(errno.ECONNABORTED))
        if code not in {0, errno.EINPROGRESS}:
            self._drop(fd, code)

    def _settle(self, fd: int) -> socket.socket | None:
        """The attempt of `fd` is over: its socket, if it has won."""
        sock = self._running[fd]
        if code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._drop(fd, code)
            return None
        del self._running[fd]
        sock.setblocking(True)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KERNELS_WATCH:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
        return sock

    def _drop(self, fd: int, code: int) -> None:
        self._failure = OSError(code, os.strerror(code))
        sock = self._running.pop(fd)
        self._poller.unregister(fd)
        self._hooks.forget(sock)
        sock.close()


def _tunnel(sock: socket.socket, url: access.Url, proxy: network.Proxy, limit: float, hooks: Hooks) -> None:
    """Have the proxy connect us to the server."""
    goal = authority(url, always_port=True)
    lines = [f"CONNECT {goal} HTTP/1.1", f"Host: {goal}"]
    if proxy.authorization is not None:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    through = connection.Connection(sock, hooks.stopped)
    through.watch(limit)
    through.send("\r\n".join([*lines, "", ""]).encode("latin-1"))
    said = answer.Answer(through, "CONNECT")
    if not 200 <= said.status < 300:
        raise ProxyError(proxy, goal, said.status)


def _secure(
    sock: socket.socket, url: access.Url, settings: network.Network, limit: float, hooks: Hooks
) -> socket.socket:
    """The same connection with TLS on it; `sock` is no longer to be used."""
    secured = settings.trust().wrap_socket(sock, server_hostname=url.host, do_handshake_on_connect=False)
    hooks.forget(sock)
    try:
        hooks.hold(secured)
        secured.settimeout(limit)
        secured.do_handshake()
    except BaseException:
        hooks.forget(secured)
        secured.close()
        raise
    return secured

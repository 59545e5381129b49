"""What the proxy does for a client: the routes of contract cli.md 9, and its one answer to everything else.

Handlers of `tygerd.http`. A request is passed on as it came but for what is about its connection, and for
credentials, of which a client has none; an answer too.
"""

from __future__ import annotations

import functools
import http
import json
import math
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

import trio

from tyger import addresses, autostart, errors, paths
from tyger_proxy import dataplane, logs, upstream
from tygerd.http import messages, router

LARGEST = 1024 * 1024
"""Bytes of an answer that is rewritten; a server's metadata are some hundred."""

AUTHENTICATION = ("authority", "audience", "apiAppUri", "apiAppId", "cliAppUri", "cliAppId", "rbacEnabled")
"""Members of a server's metadata that say how to log in. Nobody does, here."""

REFUSAL = "The operation cannot be proxied."

_ID = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_AUTHORITY = re.compile(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")
_OWN = ("content-length", "transfer-encoding", "authorization", "tyger-fds", "origin", "cookie")
# The daemon's HTTP server gives each answer its own.
_COMMON = ("date", "request-id", "tyger-version", "server")


@dataclass
class Proxy:
    """One proxy. `own` is set where the server is the user's own daemon, which leaves when it is idle."""

    address: addresses.Address
    here: dataplane.Endpoint | None
    log: logs.Log
    authority: str
    """Where clients find it that do not say where they found it."""
    own: paths.Paths | None = None
    published: Mapping[str, object] = field(default_factory=dict)
    """What it adds to the server's metadata."""
    _starting: trio.Lock = field(default_factory=trio.Lock)

    async def begin(
        self,
        socket: str,
        method: str,
        target: str,
        headers: messages.Pairs = (),
        body: AsyncIterator[bytes] | None = None,
        *,
        patience: float = upstream.PATIENCE,
    ) -> upstream.Exchange:
        """Begin an exchange with a server. Raises BrokenOff, and what `body` raises."""
        try:
            sock = await self._connect(socket)
        except OSError as error:
            raise upstream.BrokenOff(f"cannot connect to {socket}: {error.strerror or error}") from None
        return await upstream.Exchange.begin(sock, method, target, headers, body, patience=patience)

    async def _connect(self, socket: str) -> trio.socket.SocketType:
        try:
            return await upstream.connect(socket)
        except (FileNotFoundError, ConnectionRefusedError):
            if self.own is None or socket != self.own.socket:
                raise
        async with self._starting:
            try:
                await trio.to_thread.run_sync(autostart.ensure, self.own)
            except errors.Problem as problem:
                raise upstream.BrokenOff(problem.message) from None
        return await upstream.connect(socket)


_Handler = Callable[[Proxy, messages.Request], Awaitable[messages.Answer]]


def _guarded(handler: _Handler) -> _Handler:
    """A handler that refuses other sites' pages in a browser, and answers for a server that does not."""

    @functools.wraps(handler)
    async def guarded(proxy: Proxy, request: messages.Request) -> messages.Answer:
        if "Origin" in request.headers:
            return plain(403)
        try:
            return await handler(proxy, request)
        except upstream.BrokenOff as broken:
            proxy.log("warn", "Request failed", method=request.method, path=request.path, error=str(broken))
            return plain(502)

    return guarded


def plain(status: int) -> messages.Response:
    """An answer that says nothing but its status."""
    phrase = http.HTTPStatus(status).phrase
    return messages.Response(status, phrase.encode(), [("Content-Type", "text/plain; charset=utf-8")])


@_guarded
async def metadata(proxy: Proxy, _request: messages.Request) -> messages.Answer:
    """The server's, without how to log in, and with what the proxy is."""
    exchange = await proxy.begin(proxy.address.socket, "GET", "/metadata")
    told = _object(await exchange.whole(LARGEST))
    if exchange.status != 200 or told is None:
        raise upstream.BrokenOff(f"the server answers {exchange.status} to GET /metadata")
    kept = {name: value for name, value in told.items() if name not in AUTHENTICATION}
    return messages.Response(body={**kept, **proxy.published})


@_guarded
async def run(proxy: Proxy, request: messages.Request) -> messages.Answer:
    """A run, once or watched."""
    return await _passed(proxy, request, "/runs/{}")


@_guarded
async def run_logs(proxy: Proxy, request: messages.Request) -> messages.Answer:
    """A run's logs."""
    return await _passed(proxy, request, "/runs/{}/logs")


async def _passed(proxy: Proxy, request: messages.Request, path: str) -> messages.Answer:
    target = _target(request, path)
    return _streamed(await proxy.begin(proxy.address.socket, request.method, target, _headers(request)))


@_guarded
async def access(proxy: Proxy, request: messages.Request) -> messages.Answer:
    """Have an access URL signed; one of the local data plane is made to lead through here."""
    exchange = await proxy.begin(
        proxy.address.socket,
        "POST",
        _target(request, "/buffers/{}/access"),
        [*_headers(request), ("Content-Length", "0")],
    )
    body = await exchange.whole(LARGEST)
    told = _object(body)
    if exchange.status == 201 and told is not None and isinstance(uri := told.get("uri"), str):
        said = request.headers.get("Host", "") or ""
        authority = said if _AUTHORITY.fullmatch(said) else proxy.authority
        return messages.Response(201, {**told, "uri": dataplane.through(uri, authority)})
    return messages.Response(_status(exchange), body, _kept(exchange, but="content-length"))


@_guarded
async def data(proxy: Proxy, request: messages.Request) -> messages.Answer:
    """Pass a request, its body with it, on to the data plane."""
    if proxy.here is None:
        return await refused(proxy, request)
    blob = dataplane.blob(request.query.all("original"), request.params.get("blob", ""), proxy.here)
    chunked, length = request.headers.get("Transfer-Encoding"), request.headers.get("Content-Length")
    framing = (
        [("Transfer-Encoding", "chunked")] if chunked else [("Content-Length", length)] if length else []
    )
    exchange = await proxy.begin(
        blob.socket,
        request.method,
        blob.target,
        [*_headers(request), *framing],
        request.data if framing else None,
        patience=math.inf if blob.relayed else upstream.PATIENCE,
    )
    return _streamed(exchange)


async def refused(_proxy: Proxy, request: messages.Request) -> messages.Answer:
    """Say that this is not one of the few operations."""
    more = " CONNECT is for storage in the cloud." if request.method == "CONNECT" else ""
    raise errors.Problem(errors.UNAUTHORIZED, REFUSAL + more)


async def forbidden(_proxy: Proxy, _request: messages.Request) -> messages.Answer:
    """Say that this client is none of ours."""
    return plain(403)


class Table(router.Router):
    """The routes; what is in none of them goes to `otherwise`."""

    def __init__(self, routes: list[router.Route], otherwise: router.Handler) -> None:
        super().__init__(routes)
        self._otherwise = router.Match(
            router.Route("GET", "/", otherwise, "Everything else", versioned=False, streams_body=True), {}
        )
        router.check(self._otherwise.route)

    def target(self, method: str, text: str) -> router.Target:
        """Any target, also one that is no path."""
        try:
            return super().target(method, text)
        except errors.Problem:
            return router.Target(text, (text,), messages.Fields(), legacy_version_conflict=False)

    def match(self, method: str, target: router.Target) -> router.Match:
        """The route for this request; there always is one."""
        try:
            return super().match(method, target)
        except errors.Problem:
            return self._otherwise


_METADATA = router.Route("GET", "/metadata", metadata, "The server's metadata", versioned=False)
_DATA = [
    router.Route(
        method,
        path,
        data,
        "The local data plane",
        versioned=False,
        streams_body=method in ("PUT", "POST", "DELETE"),
        endless=method == "PUT" and path == "/dataplane",  # a relay's; the server bounds what is not
    )
    for method in ("GET", "HEAD", "PUT", "POST", "DELETE")
    for path in ("/dataplane", "/dataplane/{blob...}")
]
ROUTES = [
    _METADATA,
    router.Route("GET", "/runs/{id}", run, "Show or watch a run", versioned=False),
    router.Route("GET", "/runs/{id}/logs", run_logs, "A run's logs", versioned=False),
    router.Route(
        "POST", "/buffers/{id}/access", access, "Get an access URL", versioned=False, streams_body=True
    ),
    *_DATA,
]

EVERYBODY = Table(ROUTES, refused)
"""For the clients that are allowed."""

NEIGHBOURS = Table([_METADATA], forbidden)
"""For programs on this machine where they are not."""

NOBODY = Table([], forbidden)
"""For all others."""


def _target(request: messages.Request, path: str) -> str:
    """A request's path and query, as they were but for their spelling.

    Raises:
        Problem: UNAUTHORIZED, the ID is none, and could be another path to a server that tidies paths up.
    """
    if not _ID.fullmatch(request.params["id"]):
        raise errors.Problem(errors.UNAUTHORIZED, REFUSAL)
    query = urlencode(list(request.query))
    return path.format(request.params["id"]) + (f"?{query}" if query else "")


def _headers(request: messages.Request) -> list[tuple[str, str]]:
    passed_on = upstream.passed_on(request.headers)
    return [(name, value) for name, value in passed_on if name.lower() not in _OWN]


def _kept(exchange: upstream.Exchange, but: str = "") -> list[tuple[str, str]]:
    return [
        (name, value)
        for name, value in exchange.headers
        if name.lower() not in _COMMON and name.lower() != but
    ]


def _status(exchange: upstream.Exchange) -> int:
    """An answer's status, if it has a meaning."""
    try:
        return http.HTTPStatus(exchange.status).value
    except ValueError:
        exchange.close()
        raise upstream.BrokenOff(f"the server answers with the unknown status {exchange.status}") from None


def _streamed(exchange: upstream.Exchange) -> messages.StreamResponse:
    """Pass an answer on as it comes. One that is cut is cut here, too."""
    status = _status(exchange)

    async def stream(sink: messages.Sink) -> None:
        try:
            while (piece := await exchange.next_piece()) is not None:
                await sink.send(piece)
            for name, value in exchange.trailers:
                sink.trailer(name, value)
        except upstream.BrokenOff as broken:
            raise errors.Problem(errors.PROTOCOL, str(broken)) from None
        finally:
            exchange.close()

    announced = [("Trailer", exchange.announced)] if exchange.announced else []
    return messages.StreamResponse(stream, status, [*_kept(exchange), *announced])


def _object(body: bytes) -> dict[str, object] | None:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None

"""Requests and the three kinds of answers, as handlers see them. No I/O: `connection` reads and writes them.

A handler is `async def f(app, request) -> Answer`, or `f(app, request, body: T)` where its route names the
body type T. It raises `tyger.errors.Problem` for everything that its user did or must hear. Before a
`StreamResponse` is returned errors are ordinary answers; once `run` is called the status is on the wire.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from tygerd.osutil import fds as fds_module

Pairs = Iterable[tuple[str, str]]
"""Names and values, in order; names may repeat."""

JSON_TYPE = "application/json; charset=utf-8"


class Peer(NamedTuple):
    """Who is on the other end, as the kernel says (SO_PEERCRED).

    The pid is for logs only: it may be reused.
    """

    uid: int
    gid: int
    pid: int


class Fields:
    """Names and values whose names are compared without regard to case: a query, or headers."""

    def __init__(self, pairs: Pairs = ()) -> None:
        self.pairs: tuple[tuple[str, str], ...] = tuple(pairs)

    def get(self, name: str, default: str | None = None) -> str | None:
        """The first value of `name`."""
        return next(iter(self._values(name)), default)

    def all(self, name: str) -> list[str]:
        """All values of `name`, in order."""
        return list(self._values(name))

    def _values(self, name: str) -> Iterator[str]:
        wanted = name.lower()
        return (value for key, value in self.pairs if key.lower() == wanted)

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.pairs)

    def __repr__(self) -> str:
        # Values are left out: a query may hold a signature, a header a token.
        return f"<Fields {[name for name, _ in self.pairs]}>"


async def _no_data() -> AsyncIterator[bytes]:
    nothing: tuple[bytes, ...] = ()
    for piece in nothing:
        yield piece


NOBODY = Peer(uid=0xFFFFFFFF, gid=0xFFFFFFFF, pid=0)
"""The peer of a request that no socket brought."""


@dataclass(slots=True, eq=False)
class Request:
    """One request.

    `path` is decoded and without a `/v1` prefix; `params` are the template's parts of it. `fds` are the
    descriptors that came with it: those still in the list when the handler has returned (a stream: has
    ended) are closed, so a handler that keeps one calls `take_fds`. `id` is the answer's `Request-Id`.
    """

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    query: Fields = field(default_factory=Fields)
    headers: Fields = field(default_factory=Fields)
    peer: Peer = NOBODY
    fds: list[fds_module.OwnedFd] = field(default_factory=list)
    id: str = ""
    data: AsyncIterator[bytes] = field(default_factory=_no_data)
    """The body of a route with `streams_body`: pieces as they arrive, each once. Raises `Problem` when it
    is cut or longer than the route allows."""

    def take_fds(self) -> list[fds_module.OwnedFd]:
        """The descriptors, which are the caller's to close from now on."""
        taken, self.fds = self.fds, []
        return taken


@dataclass(slots=True)
class Response:
    """A whole answer.

    `body`: None for no body, bytes as they are (without a content type of ours), anything else as JSON.
    """

    status: int = 200
    body: object = None
    headers: Pairs = ()


class EndedBy(enum.Enum):
    """Why a stream was cancelled from outside."""

    PEER_GONE = "the client is gone"
    DAEMON_STOPS = "the daemon stops"


class Sink(Protocol):
    """Where a `StreamResponse` puts its body. One task uses it at a time.

    When the client closes its connection (also only its sending half), and when the daemon stops, `run` is
    cancelled; `ended_by` then says which, and is set before the cancellation is delivered. A stream that
    ends on its own sees None.
    """

    @property
    def ended_by(self) -> EndedBy | None:
        """Why `run` was cancelled, None while it is not."""

    async def send(self, data: bytes) -> None:
        """Send one chunk. Cancelled in the middle, the connection is cut. Empty data are nothing."""

    async def send_file(self, fd: int, offset: int, length: int) -> None:
        """Send `length` bytes of `fd` as one chunk; `fd` stays the caller's and must outlive the call.

        Raises:
            OSError: the file could not be read, or is shorter; the connection is then cut.
        """

    async def send_memory(self, data: memoryview) -> None:
        """Send a large piece as one chunk, copied by a thread. `data` must stay as it is until it returns."""

    def trailer(self, name: str, value: str) -> None:
        """Set a trailer; `name` must be announced in the `Trailer` header."""


@dataclass(slots=True)
class StreamResponse:
    """An answer whose body is made while it is sent, chunked. The head goes out before `run` is called.

    A `Problem` raised in `run` becomes the trailer `Tyger-Error: <code>: <message>` if the headers announce
    it; every other exception cuts the connection before the terminal chunk.
    """

    run: Callable[[Sink], Awaitable[None]]
    status: int = 200
    headers: Pairs = ()


@dataclass(slots=True)
class FileResponse:
    """An answer whose body is a part of a file: `Content-Length`, never chunked. The server closes `fd`.

    To a HEAD request the head alone is sent.
    """

    fd: fds_module.OwnedFd
    length: int
    offset: int = 0
    status: int = 200
    headers: Pairs = ()


Answer = Response | StreamResponse | FileResponse

"""Access URLs as their holder uses them: the four forms, and where a fresh one comes from.

Contract buffers.md 2.1 to 2.3 and 9.1. The query string is the key to a whole container: it is sent exactly
as it was given and never shown. Nothing here speaks HTTP.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import stat
import threading
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from tyger import errors
from tygerd.stores import serverclock

FILE_LIMIT = 2048
"""A file of so many bytes or more is not an access file (contract)."""

INVALID = (
    "the buffer access string is invalid. It must be a URL or the path of a file whose contents is a URL"
)

AHEAD = 300.0
"""Seconds before its end from which on a URL is replaced; a quarter of its life where that is less."""

AHEAD_PAUSE = 30.0
"""Seconds between attempts at that, at most."""

_SCHEMES = {"http": False, "https": True, "http+unix": False, "https+unix": True}
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_TARGET = re.compile(r"[!-~]*")  # what a request line can carry
_SOCKET_LIMIT = 107
"""Bytes of a Unix socket's path (sun_path without its final zero)."""


class Url(NamedTuple):
    """An access URL, taken apart. Without `socket` it is reached over TCP."""

    tls: bool
    socket: str | None
    host: str
    port: int
    path: str
    query: str

    @property
    def name(self) -> str:
        """What logs call the buffer."""
        return self.path.rpartition("/")[2]

    @property
    def place(self) -> str:
        """Where it leads, for a person; nothing of the query."""
        return self.socket or f"{self.host}:{self.port}"

    @property
    def relayed(self) -> bool:
        """Whether it leads to the relay of an ephemeral buffer, which is another protocol."""
        return parse_qs(self.query).get("relay") == ["true"]

    def target(self, blob: str) -> str:
        """The request target of a blob, query included."""
        return f"{self.path}/{blob}?{self.query}" if self.query else f"{self.path}/{blob}"


def parse(text: str) -> Url:
    """Take an access URL apart.

    Raises:
        Problem: INVALID_INPUT; the text itself is not repeated, as it may be a key.
    """
    if not text.isprintable():  # urlsplit would drop what is not
        raise _invalid()
    try:
        parts = urlsplit(text)
        tls = _SCHEMES[parts.scheme]
        port = parts.port or (443 if tls else 80)
        host = parts.hostname or ""
        host.encode("idna")  # what the resolver will do; it refuses labels of the wrong length
    except (ValueError, KeyError):
        raise _invalid() from None
    path, socket = parts.path, None
    if parts.scheme.endswith("+unix"):
        socket, _, path = path.partition(":")
        socket, host = unquote(socket), "localhost"
        if parts.netloc or not socket.startswith("/"):
            raise _invalid()
        if len(os.fsencode(socket)) > _SOCKET_LIMIT:
            raise errors.Problem(
                errors.INVALID_INPUT, f"the socket path {socket} is longer than {_SOCKET_LIMIT} bytes"
            )
    if not host or not _TARGET.fullmatch(path + parts.query):
        raise _invalid()
    return Url(tls, socket, host, port, path.rstrip("/"), parts.query)


class Access:
    """The access URL of one container, as it is now. Safe from any thread.

    Only the query is ever renewed; place and path are those of the first URL (contract 9.1). Whether it is
    still valid is judged by the time of the server that will judge it, as soon as that is known.
    """

    def __init__(
        self,
        url: Url,
        renew: Callable[[], str] | None = None,
        *,
        clock: serverclock.ServerClock | None = None,
    ) -> None:
        """`renew` is the source of fresh URLs: it blocks as long as it takes and raises `Problem`s."""
        self.url = url
        self.clock = clock or serverclock.ServerClock()
        """The time of the server behind the URL; learned from its answers."""
        self._source = renew
        self._generation = 0
        self._life = life(url)
        self._not_before = dt.datetime.min.replace(tzinfo=dt.UTC)
        """The server's time before which nobody asks ahead again."""
        self._lock = threading.Lock()
        self._asking = threading.Lock()

    @property
    def renewable(self) -> bool:
        """Whether there is a source of fresh URLs; a URL that was given literally has none."""
        return self._source is not None

    def current(self) -> tuple[int, Url]:
        """The URL and its generation, which `renew` wants back."""
        with self._lock:
            return self._generation, self.url

    def left(self) -> float | None:
        """Seconds until the URL expires, negative when it has; None where that can't be told."""
        if self._life.end is None or not self.clock.is_known:
            return None
        return (self._life.end - self.clock.now()).total_seconds()

    def is_expired(self) -> bool:
        """Whether the server will certainly refuse it."""
        left = self.left()
        return left is not None and left < 0

    def is_due(self) -> bool:
        """Whether `renew_ahead` should be called."""
        if self._source is None or (left := self.left()) is None:
            return False
        whole = (self._life.length or dt.timedelta.max).total_seconds()
        return left < min(AHEAD, whole / 4) and self.clock.now() >= self._not_before

    def renew_ahead(self) -> None:
        """Replace the URL if that `is_due` and nobody is about to. Blocking: as long as the source takes.

        Raises:
            Problem: as `renew`. That is no harm as long as the URL is valid; it is due again in a while.
        """
        if not self._asking.acquire(blocking=False):
            return
        try:
            if self.is_due():
                pause = min(AHEAD_PAUSE, max(1.0, (self.left() or 0.0) / 4))
                self._not_before = self.clock.now() + dt.timedelta(seconds=pause)
                self._ask()
        finally:
            self._asking.release()

    def renew(self, generation: int) -> bool:
        """Replace the URL of `generation`, unless somebody has; False if the source gives the same again.

        Blocking: as long as the source takes. One caller at a time asks it.

        Raises:
            Problem: the source failed, or what it gave is no access URL.
        """
        with self._asking:
            return generation != self._generation or self._ask()

    def _ask(self) -> bool:
        if self._source is None:
            return False
        fresh = parse(self._source())
        if fresh.query == self.url.query:
            return False
        with self._lock:
            self.url = self.url._replace(query=fresh.query)
            self._life = life(fresh)
            self._generation += 1
        return True


class Life(NamedTuple):
    """When a URL expires, and how long it was meant to live."""

    end: dt.datetime | None
    length: dt.timedelta | None


def life(url: Url) -> Life:
    """What `se` and `st` of the query say, as Azure writes them and the local server (contract 2.4, 2.5)."""
    fields = parse_qs(url.query)
    start, end = (_moment(fields.get(name, [""])[0]) for name in ("st", "se"))
    return Life(end, end - start if start is not None and end is not None else None)


def _moment(text: str) -> dt.datetime | None:
    """Days, minutes or seconds, all of them of UTC."""
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)


def locate(text: str) -> Access:
    """The access that a command's argument means: a URL, or a small file that holds one. Blocking.

    The file is opened by path at each renewal: it is replaced by renaming.

    Raises:
        Problem: INVALID_INPUT, it is neither.
    """
    if _URL.match(text):
        return Access(parse(text))
    return Access(parse(_read(text)), lambda: _read(text))


def _read(path: str) -> str:
    try:
        status = os.stat(path)  # before it is opened: opening a named pipe would wait for a writer
        if stat.S_ISREG(status.st_mode) and status.st_size < FILE_LIMIT:
            with open(path, encoding="utf-8") as file:
                return file.read(FILE_LIMIT).rstrip(" \r\n")
    except UnicodeDecodeError:
        raise _invalid() from None
    except OSError as error:
        message = f"{path} is not an access URL, and as a file it cannot be read: {error.strerror}"
        raise errors.Problem(errors.INVALID_INPUT, message) from None
    message = f"{path} is not an access file: it must be a regular file of less than {FILE_LIMIT} bytes"
    raise errors.Problem(errors.INVALID_INPUT, message)


def _invalid() -> errors.Problem:
    return errors.Problem(errors.INVALID_INPUT, INVALID)

"""Bytes that are said to a daemon's socket as they are, for tests of what is no good request.

heard = rawhttp.say(host, rawhttp.request("POST", "/buffers", b"{nope"))
assert rawhttp.status(heard) == 400
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Sequence

from tests.support import daemon

PATIENCE = 60
"""Seconds without a byte until a test gives up."""


def say(host: daemon.Daemon, data: bytes, *, fds: Sequence[int] = (), end: bool = True) -> bytes:
    """Say it on a connection of its own; all that comes back until the daemon closes."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(host.socket)
        with contextlib.suppress(ConnectionError):  # the daemon may not want all of it
            if fds:
                socket.send_fds(sock, [data], fds)
            else:
                sock.sendall(data)
            if end:
                sock.shutdown(socket.SHUT_WR)
        heard = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := sock.recv(65536):
                heard += piece
        return heard


def request(method: str, path: str, body: bytes = b"", headers: str = "") -> bytes:
    """A request that closes its connection; the api-version is added."""
    separator = "&" if "?" in path else "?"
    head = f"{method} {path}{separator}api-version=1.0 HTTP/1.1\r\nHost: x\r\n{headers}Connection: close\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def status(heard: bytes) -> int:
    """The status of the one answer."""
    assert heard.startswith(b"HTTP/1.1 "), heard
    assert heard.count(b"HTTP/1.1 ") == 1, heard
    return int(heard.split(b" ", 2)[1])


def error(heard: bytes) -> dict[str, object]:
    """The one error object of an answer, which has nothing beside it."""
    body = json.loads(heard.rpartition(b"\r\n\r\n")[2])
    assert list(body) == ["error"]
    found: dict[str, object] = body["error"]
    return found

"""One HTTP/1.1 request in proxy form, as `tyger stdio-proxy` gets it: where it goes, and where its body ends.

Contract cli.md 8. Pure. A head is rewritten as bytes, so that what we do not know passes through; a body is
not looked at beyond its framing. Whether a request is a good one is its server's to say. Standard library
only.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from tyger import addresses, errors

MAX_HEAD = 64 * 1024
"""Bytes of a request's line and headers, as our daemon takes them."""

HOST = b"Host: tyger-server"

_REQUEST = re.compile(rb"([!-~]+) ([!-~]+) HTTP/1\.[01]")
_URL = re.compile(rb"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^?#]*)(\?[^#]*)?.*")
_REPLACED = {b"host", b"connection", b"proxy-connection", b"proxy-authorization", b"keep-alive"}


class Request(NamedTuple):
    """A request's head for the server behind `socket`, and the end of its body."""

    socket: str
    head: bytes
    body: Body


class Body:
    """Finds the end of one request's body in the bytes that follow its head."""

    def __init__(self, length: int, *, chunked: bool) -> None:
        self._left = length
        """Bytes to pass before the next decision: the whole body, or a chunk and its line ending."""
        self._chunked = chunked
        self._line = b""
        self._trailers = False
        self.done = not chunked and length == 0

    def take(self, data: bytes) -> int:
        """How many bytes at the start of `data` are of this body; `done` says whether they are its last.

        Chunks that make no sense end it too: the server sees them, and says so.
        """
        at = 0
        while not self.done and at < len(data):
            if self._left:
                passed = min(self._left, len(data) - at)
                self._left -= passed
                at += passed
                self.done = not self._left and not self._chunked
                continue
            end = data.find(b"\n", at)
            piece = data[at:] if end < 0 else data[at : end + 1]
            at += len(piece)
            self._line += piece
            if end >= 0:
                self._decide(self._line.strip())
                self._line = b""
            elif len(self._line) > MAX_HEAD:
                self.done = True
        return at

    def _decide(self, line: bytes) -> None:
        if self._trailers:
            self.done = not line
            return
        size = line.partition(b";")[0].strip()
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,15}", size):
            self.done = True
        elif count := int(size, 16):
            self._left = count + 2
        else:
            self._trailers = True


def parse(head: bytes) -> Request:
    """The request that `head` begins, up to and with its empty line.

    Raises:
        Problem: INVALID_INPUT, it is none in proxy form, or for no Unix socket.
    """
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    request = _REQUEST.fullmatch(first)
    if request is None:
        raise errors.Problem(errors.INVALID_INPUT, "standard input has no HTTP/1.1 request")
    url = _URL.fullmatch(request[2])
    if url is None:
        raise errors.Problem(
            errors.INVALID_INPUT, "the request is not in proxy form: it names no absolute URL"
        )
    if url[1].lower() != addresses.UNIX.encode():
        raise errors.Problem(errors.INVALID_INPUT, f"the scheme is {url[1].decode('ascii')}, not http+unix")
    written, _, path = url[3].partition(b":")
    socket = unquote_to_bytes(written).decode("utf-8", "surrogateescape")
    if not socket.startswith("/") or "\0" in socket:
        raise errors.Problem(errors.INVALID_INPUT, "the request's URL names no socket")
    length, chunked = 0, False
    kept = []
    for line in lines:
        name, _, value = line.partition(b":")
        match name.strip().lower():
            case b"content-length" if re.fullmatch(rb"[0-9]{1,18}", value.strip()):
                length = int(value)
            case b"transfer-encoding":
                chunked = chunked or b"chunked" in value.lower()
            case word if word in _REPLACED:
                continue
            case _:
                pass
        kept.append(line)
    target = (path or b"/") + (url[4] or b"")
    head = b"\r\n".join(
        [b"%s %s HTTP/1.1" % (request[1], target), HOST, *kept, b"Connection: Close", b"", b""]
    )
    return Request(socket, head, Body(0 if chunked else length, chunked=chunked))


def unreachable(why: str) -> bytes:
    """The answer in place of a server's that cannot be reached."""
    said = "".join(each if "!" <= each <= "~" else " " for each in why)
    head = (
        "HTTP/1.1 502 Bad Gateway",
        f"x-ms-error: {said}",
        "Content-Length: 0",
        "Connection: close",
        "",
        "",
    )
    return "\r\n".join(head).encode("ascii")

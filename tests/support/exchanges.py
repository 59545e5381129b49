"""Recorded exchanges: requests and answers written down as text, spoken as raw HTTP/1.1 on the socket.

Nothing of ours is between the text and the socket: no client, no h11, no model of an answer. A test is

    def test_a_buffer_is_made(talk):
        talk.hold('''
            > POST /buffers?api-version=1.0
            >
            > {"id":"","createdAt":"0001-01-01T00:00:00Z","tags":{"a":"1"}}
            < 201 Created
            < Content-Type: application/json; charset=utf-8
            < ETag: [[etag:etag]]
            < Location: /buffers/[[id:buffer]]
            <
            < {"id":"[[id]]","location":"local","createdAt":"[[:time]]","tags":{"a":"1"},"eTag":"[[etag]]"}
            > GET /buffers/[[id]]?api-version=1.0
            ...
        ''')

**A request** is `> METHOD TARGET`, its headers, and behind an empty `>` its body. Lines of a body are
joined by a newline, so an empty last one ends it with a newline. Headers that the original's Go client
always sends are added (rest-api.md 1.5): `Host: unix----...`, `User-Agent`, `Accept-Encoding: gzip` but
to HEAD, `Content-Type: application/json`, and `Content-Length` where there is a body or the method is
POST or PUT. A header that is written down replaces the added one; `> !Content-Type` leaves it out. At log
level trace (`talk.trace = True`) that client sends a POST without a body as `Transfer-Encoding: chunked`
with no data.

**An answer** is `< STATUS REASON`, all its headers, and its body. Every header must be there in this
spelling, once, and no other; only `Date`, `Request-Id` and `Tyger-Version`, which are on all, and
`Content-Length` are checked without being written down. A chunked body is written `< Transfer-Encoding:
chunked` and compared as a whole.

**Placeholders**: `[[name:kind]]` matches what the kind allows (`KINDS`) and remembers it, `[[:kind]]`
only matches, `[[name]]` stands for what is remembered, in later requests and answers and later in the
same answer. `talk.hold(text, name=value)` remembers beforehand, `talk["name"]` looks.

A stream is heard piece by piece: `talk.hold(request)`, `talk.hear_head(answer)`, `talk.line()`,
`talk.rest()`; `talk.look(request)` only asks. There may be any number of connections:
`with exchanges.talk(host.socket) as other`. `talk.say(bytes)` sends just those. A line that begins with `#`
is a comment.
"""

from __future__ import annotations

import base64
import contextlib
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

PATIENCE = 60
"""Seconds without a byte until a test gives up."""

KINDS = {
    "buffer": r"[a-z2-7]{26}",
    "etag": r"[0-9]{1,20}",
    # Microseconds at most, no trailing zero, never a `Z`.
    "time": r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{0,5}[1-9])?\+00:00",
    "nanos": r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{9}Z",
    "number": r"[0-9]+",
    "token": r"[ybndrfg8ejkmcpqxot1uwisza345h769]+",
    "text": r"[^\"\n]*",
    "escaped": r"[A-Za-z0-9%._~-]+",
    "path": r"/[^?\"\n]*",
    "any": r"[^\n]*",
}

COMMON = {
    "Date": r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT",
    "Request-Id": r"[\x21-\x7e]+",
    "Tyger-Version": r"[\x21-\x7e]+",
}
"""Headers of every answer."""

_PLACEHOLDER = re.compile(r"\[\[([a-z][a-z0-9_]*)?(?::([a-z]+))?\]\]")


@dataclass
class Head:
    """A first line, `GET /x` or `200 OK`, and the headers in order, `!` before one that is left out."""

    first: str
    headers: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Message:
    """One side of an exchange as it is written down. `body` is None where there is no empty line."""

    head: Head
    body: str | None
    is_request: bool


def parse(text: str) -> list[Message]:
    """The messages that a text writes down; a plain AssertionError for a text that is none."""
    found: list[Message] = []
    body: list[str] | None = None
    for line in (indented.lstrip() for indented in text.split("\n")):
        if not line or line.startswith("#"):
            continue
        assert line[0] in "<>", f"neither a request nor an answer: {line}"
        is_request, rest = line[0] == ">", line[2:]
        last = found[-1] if found else None
        begins = is_request and re.fullmatch(r"[A-Z]+ /\S*", rest)
        if last is None or last.is_request is not is_request or begins:
            body = None
            found.append(Message(Head(rest), None, is_request))
        elif body is not None:
            body.append(rest)
        elif not rest:
            body = []
        else:
            name, colon, value = rest.partition(":")
            assert colon or name.startswith("!"), f"no header: {line}"
            last.head.headers.append((name.strip(), value.strip()))
        found[-1].body = None if body is None else "\n".join(body)
    return found


class Talk:
    """One connection to a daemon, kept for all that is said on it, as the Go client keeps its own.

    `path` is its socket's; a number is a port of this machine, for what stands before a daemon.
    """

    def __init__(self, path: str | int) -> None:
        self.path = path
        self.trace = False
        """Whether the client has log level trace."""
        self.values: dict[str, str] = {}
        self.headers: dict[str, str] = {}
        """Those of the last answer."""
        self.sock = socket.socket(socket.AF_INET if isinstance(path, int) else socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(("127.0.0.1", path) if isinstance(path, int) else path)
        self._stream = self.sock.makefile("rb")
        self._method = ""
        self._chunk = 0
        self._chunks_end = True

    def close(self) -> None:
        """Close the connection, whatever the daemon still says."""
        self._stream.close()
        self.sock.close()

    def __getitem__(self, name: str) -> str:
        return self.values[name]

    # --- whole exchanges -----------------------------------------------------------------------------------

    def hold(self, text: str, **values: object) -> None:
        """Say every request and compare every answer, in the order of the text."""
        self.values.update({name: str(value) for name, value in values.items()})
        for message in parse(text):
            if message.is_request:
                self._send(message)
            else:
                self._hear(message)

    def look(self, text: str) -> tuple[int, str]:
        """Say one request; status and body of its answer, compared with nothing: to wait for something."""
        (message,) = parse(text)
        self._send(message)
        status = int(self._line_of_head().split(" ")[1])
        headers: dict[str, str] = {}
        while line := self._line_of_head():
            name, _, value = line.partition(": ")
            headers[name] = value
        return status, self._body(headers)

    # --- requests ------------------------------------------------------------------------------------------

    def say(self, data: bytes, method: str = "") -> None:
        """Send these bytes. `method`: that of a request whose answer is heard next."""
        self._method = method or self._method
        self.sock.sendall(data)

    def _send(self, message: Message) -> None:
        method, _, target = self._filled(message.head.first).partition(" ")
        body = None if message.body is None else self._filled(message.body).encode()
        written = {name.lower() for name, _ in message.head.headers}
        added = [("Host", self._host()), ("User-Agent", "Go-http-client/1.1")]
        chunked = self.trace and method == "POST" and body is None
        if chunked:
            added.append(("Transfer-Encoding", "chunked"))
        elif body is not None or method in {"POST", "PUT"}:
            added.append(("Content-Length", str(len(body or b""))))
        added.append(("Content-Type", "application/json"))
        if method != "HEAD":
            added.append(("Accept-Encoding", "gzip"))
        pairs = [(name, value) for name, value in added if not {name.lower(), f"!{name.lower()}"} & written]
        pairs += [(name, self._filled(value)) for name, value in message.head.headers if name[0] != "!"]
        head = "".join(f"{name}: {value}\r\n" for name, value in pairs)
        data = f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + (body or b"")
        self.say(data + (b"0\r\n\r\n" if chunked else b""), method)

    def _host(self) -> str:
        """What the original's client makes of a socket's path; longer than any name of a host may be."""
        if isinstance(self.path, int):
            return f"localhost:{self.path}"
        return "unix----" + base64.b32encode(self.path.encode()).decode().rstrip("=")

    def _filled(self, text: str) -> str:
        return _PLACEHOLDER.sub(lambda found: self.values[found[1]], text)

    # --- answers -------------------------------------------------------------------------------------------

    def hear_head(self, text: str) -> None:
        """Compare the next answer's head, and leave its body to `line` and `rest`."""
        (message,) = parse(text)
        self._hear_head(message)

    def line(self) -> str:
        """The next line of a chunked body, without its newline. "" at the end of the body."""
        data = b""
        while not data.endswith(b"\n") and (piece := self._next_piece(to_newline=True)):
            data += piece
        return data.decode().removesuffix("\n")

    def rest(self) -> str:
        """What is left of the body, until the stream's proper end."""
        return b"".join(iter(self._next_piece, b"")).decode()

    def closed(self) -> bool:
        """Whether the daemon closes without a further word. Waits for it."""
        with contextlib.suppress(ConnectionResetError):
            return self._stream.read(1) == b""
        return True

    def _hear(self, message: Message) -> None:
        self._hear_head(message)
        self._match(message.body or "", self._body(self.headers))

    def _body(self, headers: dict[str, str]) -> str:
        if self._method == "HEAD":
            return ""
        if headers.get("Transfer-Encoding") == "chunked":
            self._chunk, self._chunks_end = 0, False
            return self.rest()
        length = int(headers.get("Content-Length", "0"))
        data = self._stream.read(length)
        assert len(data) == length, "the answer is cut"
        return data.decode()

    def _hear_head(self, message: Message) -> None:
        line = self._line_of_head()
        self._match("HTTP/1.1 " + message.head.first, line)
        heard: list[tuple[str, str]] = []
        while line := self._line_of_head():
            name, _, value = line.partition(": ")
            heard.append((name, value))
        self.headers = dict(heard)
        assert len(self.headers) == len(heard), f"a header twice: {heard}"
        for name, pattern in COMMON.items():
            assert re.fullmatch(pattern, self.headers.get(name, "")), f"{name} of {heard}"
        written = dict(message.head.headers)
        unsaid = set(COMMON) | {"Content-Length"}
        assert set(self.headers) - unsaid == set(written) - unsaid, f"instead of {written}: {heard}"
        for name, value in message.head.headers:
            self._match(value, self.headers[name])
        self._chunk, self._chunks_end = 0, self.headers.get("Transfer-Encoding") != "chunked"

    def _line_of_head(self) -> str:
        line = self._stream.readline()
        assert line.endswith(b"\r\n"), f"the answer is cut: {line!r}"
        return line[:-2].decode("latin-1")

    def _next_piece(self, *, to_newline: bool = False) -> bytes:
        """What is left of a chunk, or its bytes up to a newline; nothing at the end of the body."""
        if self._chunks_end:
            return b""
        if not self._chunk:
            size = self._line_of_head()
            self._chunk = int(size, 16)
            if not self._chunk:
                self._chunks_end = True
                while trailer := self._line_of_head():
                    raise AssertionError(f"a trailer: {trailer}")
                return b""
        piece = self._stream.readline(self._chunk) if to_newline else self._stream.read(self._chunk)
        assert piece, "the answer is cut"
        self._chunk -= len(piece)
        if not self._chunk:
            assert self._stream.readline() == b"\r\n"
        return piece

    def _match(self, expected: str, actual: str) -> None:
        """Compare, and remember what the placeholders stand for."""
        pattern, at, names = "", 0, set()
        for found in _PLACEHOLDER.finditer(expected):
            name, kind = found[1], found[2]
            pattern += re.escape(expected[at : found.start()])
            at = found.end()
            if kind is None and name in names:
                pattern += f"(?P={name})"
            elif kind is None:
                pattern += re.escape(self.values[name])
            elif name is None:
                pattern += f"(?:{KINDS[kind]})"
            else:
                names.add(name)
                pattern += f"(?P<{name}>{KINDS[kind]})"
        match = re.fullmatch(pattern + re.escape(expected[at:]), actual, re.DOTALL)
        assert match, f"\nexpected: {expected}\n  filled: {_shown(pattern)}\n   heard: {actual}"
        self.values.update(match.groupdict())


def _shown(pattern: str) -> str:
    return re.sub(r"\\(.)", r"\1", pattern)


@contextlib.contextmanager
def talk(path: str | int) -> Iterator[Talk]:
    """A connection to the socket at `path`, or to a port."""
    it = Talk(path)
    try:
        yield it
    finally:
        it.close()

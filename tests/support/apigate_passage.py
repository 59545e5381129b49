"""The way through a gate before a cluster: each request goes there, and its answer comes back as it is sent.

Watches and logs are answers that last, and port-forwards are connections that become another protocol's: such
a `Stream` can be cut, or be told a line more.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import socket
import ssl
import sys
import threading
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from tests.support import apigate_rules

SKIPPED = {
    "host",
    "connection",
    "transfer-encoding",
    "content-length",
    "authorization",
    "keep-alive",
    "upgrade",
    "date",
    "server",
}
"""Headers that each connection has of its own."""


class Passing(NamedTuple):
    """How a request fails, if it does; whether its answer is held; whether nobody waits for it any more."""

    rule: apigate_rules.Rule | None
    waits_behind: bool
    is_dropped: bool


class Stream:
    """An answer on its way."""

    def __init__(self, path: str, upstream: http.client.HTTPConnection, ours: socket.socket) -> None:
        self.path = path
        self._upstream = upstream.sock
        self._ours = ours
        self._lock = threading.Lock()

    def send(self, data: bytes) -> None:
        """A piece of it. Raises OSError."""
        with self._lock:
            self._ours.sendall(b"%x\r\n%s\r\n" % (len(data), data))

    def say(self, line: bytes) -> None:
        """A line more."""
        with contextlib.suppress(OSError):
            self.send(line + b"\n")

    def cut(self) -> None:
        """End it on both sides."""
        for sock in (self._ours, self._upstream):
            with contextlib.suppress(OSError, AttributeError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)


class Gate(Protocol):
    """What decides (`apigate.Gate`)."""

    headers: Mapping[str, str]
    broken: list[str]
    """Why connections ended, where nobody had ended them in order."""

    def accepts(self, sock: socket.socket) -> bool:
        """Whether a new connection is served."""
        ...

    def passing(self, method: str, path: str) -> Passing:
        """A request has come: wait where it has to; what becomes of it."""
        ...

    def wait_behind(self) -> None:
        """Wait until the gate is open again, or forgets."""
        ...

    def connect(self) -> http.client.HTTPSConnection:
        """One connection to the server."""
        ...

    def streaming(self, stream: Stream) -> contextlib.AbstractContextManager[None]:
        """An answer, while it is on its way."""
        ...


class Server(http.server.ThreadingHTTPServer):
    """Listens for a gate, on a port of its own."""

    daemon_threads = True
    request_queue_size = 1000

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        super().__init__(("127.0.0.1", 0), type("Handler", (_Handler,), {"gate": gate}))

    def handle_error(self, *_: object) -> None:
        """A connection that was cut, or so it seems."""
        self._gate.broken.append(repr(sys.exc_info()[1]))


class _Handler(http.server.BaseHTTPRequestHandler):
    gate: Gate
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def handle(self) -> None:
        if self.gate.accepts(self.connection):
            super().handle()

    def log_message(self, *_: object) -> None:
        """Tests look at `requests`."""

    def serve(self) -> None:
        """One request."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        rule, waits_behind, is_dropped = self.gate.passing(self.command, self.path)
        if is_dropped:
            self.close_connection = True
            return
        if rule is not None and not rule.arrives:
            self._refuse(rule)
            return
        upstream = self.gate.connect()
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in SKIPPED}
            headers |= self.gate.headers
            if "upgrade" in self.headers.get("Connection", "").lower():
                self._tunnel(upstream, headers)
                return
            upstream.request(self.command, self.path, body or None, headers)
            answer = upstream.getresponse()
            if waits_behind:
                self.gate.wait_behind()
            if rule is not None:
                answer.read()
                self._refuse(rule)
                return
            self._pass_on(upstream, answer)
        finally:
            upstream.close()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = serve  # noqa: N815 - http.server's names

    def _refuse(self, rule: apigate_rules.Rule) -> None:
        if not rule.status:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        body = json.dumps(apigate_rules.failure(rule.status, rule.message)).encode()
        self.send_response(rule.status)
        for name, value in {"Content-Type": "application/json", **rule.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _pass_on(self, upstream: http.client.HTTPConnection, answer: http.client.HTTPResponse) -> None:
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in SKIPPED:
                self.send_header(name, value)
        if not answer.chunked:
            body = answer.read()
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        stream = Stream(self.path, upstream, self.connection)
        with self.gate.streaming(stream):
            try:
                while data := answer.read1(65536):
                    stream.send(data)
            except (OSError, http.client.HTTPException, ValueError):
                self.close_connection = True
                return
        self.connection.sendall(b"0\r\n\r\n")

    def _tunnel(self, upstream: http.client.HTTPSConnection, headers: Mapping[str, str]) -> None:
        """A connection that becomes another protocol's: bytes both ways until one side ends."""
        upstream.connect()
        sock: Any = upstream.sock
        lines = [f"{self.command} {self.path} HTTP/1.1", f"Host: {upstream.host}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += ["Connection: Upgrade", f"Upgrade: {self.headers['Upgrade']}"]
        sock.sendall("\r\n".join(lines).encode() + b"\r\n\r\n")
        self.close_connection = True
        stream = Stream(self.path, upstream, self.connection)
        with self.gate.streaming(stream):
            back = threading.Thread(target=_copy, args=(sock, self.connection), daemon=True)
            back.start()
            _copy(self.rfile, sock)
            stream.cut()
            back.join()


def _copy(source: Any, target: Any) -> None:
    read = source.read1 if hasattr(source, "read1") else source.recv
    with contextlib.suppress(OSError, ssl.SSLError, ValueError):
        while data := read(65536):
            target.sendall(data)

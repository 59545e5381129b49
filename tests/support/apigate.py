"""An HTTP server before a cluster's API server, which sees every request and can stop, cut, fail or forge it.

with apigate.gate(cluster, directory) as gate:        # a daemon is told of gate.kubeconfig
    with gate.held("POST", "/pods$"):                 # the next such request waits here
        ...
    gate.fail("PATCH", "/pods/", 409, times=2)        # two such requests are refused, and never arrive
    gate.fail("POST", "/pods$", 500, arrives=True)    # it is done, but the answer says something else
    gate.lose("POST", "/pods$")                       # it is done, and the connection ends without an answer
    gate.cut("watch=")                                # ends what answers such a request at present
    gate.say("watch=", apigate.TOO_OLD)               # a line more in these answers
    gate.shut()                                       # nobody answers any more; open() again
    gate.close_after(3, arrives=False)                # three requests pass; at the next `closed` is set
    gate.requests                                     # all that came, as "POST /api/v1/namespaces/x/pods"

Patterns are searched for in the path with its query. The gate has the cluster's rights, whoever asks.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import pathlib
import re
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import yaml

from tests.support import cluster as cluster_support

PATIENCE = 60
"""Seconds until a test gives up on a request that does not come."""

TOO_OLD = json.dumps(
    {
        "type": "ERROR",
        "object": {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "message": "too old resource version: 1 (2)",
            "reason": "Expired",
            "code": 410,
        },
    }
).encode()
"""What a watch says whose version is no longer kept."""

REASONS = {
    401: "Unauthorized",
    403: "Forbidden",
    409: "Conflict",
    410: "Expired",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


class Rule(NamedTuple):
    """What becomes of requests. `status` 0: the connection ends."""

    method: str
    pattern: str
    status: int
    headers: Mapping[str, str]
    message: str
    arrives: bool


class Passing(NamedTuple):
    """How a request fails, if it does; whether its answer is held; whether nobody waits for it any more."""

    rule: Rule | None
    waits_behind: bool
    is_dropped: bool


class Hold:
    """One request that is stopped: `arrived` when it is there, `release` lets it pass."""

    def __init__(self, method: str, pattern: str) -> None:
        self.method = method
        self.pattern = pattern
        self.there = threading.Event()
        self.free = threading.Event()

    def arrived(self) -> None:
        """Until the request is there."""
        assert self.there.wait(PATIENCE), f"nobody asked for {self.method} {self.pattern}"

    def release(self) -> None:
        """Let it pass. Idempotent."""
        self.free.set()


class _Stream:
    """An answer on its way: `lines` are to be put in."""

    def __init__(self, path: str, upstream: http.client.HTTPConnection, ours: socket.socket) -> None:
        self.path = path
        self.upstream = upstream.sock
        self.ours = ours
        self.lines: list[bytes] = []
        self.lock = threading.Lock()

    def cut(self) -> None:
        """End it on both sides."""
        for sock in (self.ours, self.upstream):
            with contextlib.suppress(OSError, AttributeError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)


class Gate:
    """See above."""

    def __init__(self, cluster: cluster_support.Cluster, directory: pathlib.Path) -> None:
        self._cluster = cluster
        self.token = _token(cluster.kubeconfig)
        self._server_at = urllib.parse.urlsplit(cluster.server)
        self.requests: list[str] = []
        self.moments: list[float] = []
        self.closed = threading.Event()
        self._left: int | None = None
        self._arrives = False
        self._counted = ""
        self._open = threading.Event()
        self._open.set()
        self._is_shut = False
        self._generation = 0
        self._holds: list[Hold] = []
        self._rules: list[Rule] = []
        self._streams: list[_Stream] = []
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        gate = self

        class Handler(_Handler):
            the_gate = gate

        self._listener = _Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._listener.server_port}"
        self._thread = threading.Thread(target=self._listener.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        self.kubeconfig = str(directory / "gate-kubeconfig")
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "gate",
            "clusters": [{"name": "gate", "cluster": {"server": self.url}}],
            "users": [{"name": "gate", "user": {"token": "gate"}}],
            "contexts": [{"name": "gate", "context": {"cluster": "gate", "user": "gate"}}],
        }
        pathlib.Path(self.kubeconfig).write_text(json.dumps(document))

    # --- for tests ---------------------------------------------------------------------------------------

    def fail(
        self,
        method: str,
        pattern: str,
        status: int,
        *,
        times: int = 1,
        message: str = "a test wants it",
        arrives: bool = False,
        **headers: str,
    ) -> None:
        """Answer the next such requests with this status; `_` in names of headers stands for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with self._lock:
            self._rules += [Rule(method, pattern, status, named, message, arrives)] * times

    def lose(self, method: str, pattern: str, *, times: int = 1) -> None:
        """Let the next such requests through, and end the connection instead of the answer."""
        self.fail(method, pattern, 0, times=times, arrives=True)

    @property
    def unused(self) -> list[Rule]:
        """What was to fail and did not: a test that leaves some has not tested what it says."""
        return self._rules

    @contextlib.contextmanager
    def held(self, method: str, pattern: str) -> Iterator[Hold]:
        """Stop the next such request, until the block ends or it is released."""
        hold = Hold(method, pattern)
        with self._lock:
            self._holds.append(hold)
        try:
            yield hold
        finally:
            hold.release()
            with self._lock:
                self._holds.remove(hold)

    def close_after(self, requests: int, *, arrives: bool = False, pattern: str = "") -> None:
        """Let so many such requests pass, hold others, set `closed`; with `arrives` the next one is done."""
        with self._lock:
            self._counted = pattern
            self._left = requests
            self._arrives = arrives
            self._open.clear()
            self.closed.clear()

    def reopen(self) -> None:
        """Let everything pass that was stopped by `close_after`."""
        with self._lock:
            self._left = None
            self._open.set()

    def forget(self) -> None:
        """End all connections; requests that are held are not passed on: who asked is dead."""
        with self._lock:
            self._left = None
            self._generation += 1
            sockets, self._sockets = self._sockets, set()
        for sock in sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self.cut("")
        self._open.set()

    def cut(self, pattern: str) -> int:
        """End the answers to such requests; how many there were."""
        with self._lock:
            found = [one for one in self._streams if re.search(pattern, one.path)]
        for one in found:
            one.cut()
        return len(found)

    def say(self, pattern: str, line: bytes) -> int:
        """Put a line into the answers to such requests, behind what they have said; how many there were."""
        with self._lock:
            found = [one for one in self._streams if re.search(pattern, one.path)]
        for one in found:
            with one.lock, contextlib.suppress(OSError):
                one.ours.sendall(_chunk(line + b"\n"))
        return len(found)

    def shut(self) -> None:
        """End all connections, and every new one at once."""
        self._is_shut = True
        self.forget()

    def open(self) -> None:
        """Answer again."""
        self._is_shut = False

    def close(self) -> None:
        """End everything."""
        for hold in self._holds:
            hold.release()
        self.shut()
        self._listener.shutdown()
        self._thread.join()
        self._listener.server_close()

    # --- for connections ---------------------------------------------------------------------------------

    def accepts(self, sock: socket.socket) -> bool:
        """Whether a new connection is served."""
        with self._lock:
            if not self._is_shut:
                self._sockets.add(sock)
            return not self._is_shut

    def passing(self, method: str, path: str) -> Passing:
        """A request has come: wait where it has to; what becomes of it."""
        with self._lock:
            self.requests.append(f"{method} {path}")
            self.moments.append(time.monotonic())
            generation = self._generation
            fresh = [one for one in self._holds if not one.there.is_set()]
            hold = next((one for one in fresh if _matches(one, method, path)), None)
            rule = next((one for one in self._rules if _matches(one, method, path)), None)
            if rule is not None:
                self._rules.remove(rule)
            left = self._left if re.search(self._counted, path) else None
            if left is not None:
                self._left = left - 1
        waits_behind = left == 0 and self._arrives
        if left is not None and left <= 0 and not waits_behind:
            self.wait_behind()
        if hold is not None:
            hold.there.set()
            hold.free.wait(PATIENCE * 4)
        return Passing(rule, waits_behind, self._generation != generation)

    def wait_behind(self) -> None:
        """Wait until the gate is open again, or forgets."""
        self.closed.set()
        self._open.wait(PATIENCE * 4)

    def connect(self) -> http.client.HTTPSConnection:
        """One connection to the server."""
        port = self._server_at.port or 443
        return http.client.HTTPSConnection(
            self._server_at.hostname or "", port, context=self._cluster.trust, timeout=PATIENCE * 10
        )

    @property
    def headers(self) -> dict[str, str]:
        """By which the cluster knows us."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    @contextlib.contextmanager
    def streaming(self, stream: _Stream) -> Iterator[None]:
        """An answer, while it is on its way."""
        with self._lock:
            self._streams.append(stream)
        try:
            yield
        finally:
            with self._lock:
                self._streams.remove(stream)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1000

    def handle_error(self, *_: object) -> None:
        """A connection that was cut."""


class _Handler(http.server.BaseHTTPRequestHandler):
    the_gate: Gate
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def handle(self) -> None:
        if self.the_gate.accepts(self.connection):
            super().handle()

    def log_message(self, *_: object) -> None:
        """Tests look at `requests`."""

    def serve(self) -> None:
        """One request."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        rule, waits_behind, is_dropped = self.the_gate.passing(self.command, self.path)
        if is_dropped:
            self.close_connection = True
            return
        if rule is not None and not rule.arrives:
            self._refuse(rule)
            return
        upstream = self.the_gate.connect()
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in SKIPPED}
            headers |= self.the_gate.headers
            if "upgrade" in self.headers.get("Connection", "").lower():
                self._tunnel(upstream, headers)
                return
            upstream.request(self.command, self.path, body or None, headers)
            answer = upstream.getresponse()
            if waits_behind:
                self.the_gate.wait_behind()
            if rule is not None:
                answer.read()
                self._refuse(rule)
                return
            self._pass_on(upstream, answer)
        finally:
            upstream.close()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = serve  # noqa: N815 - http.server's names

    def _refuse(self, rule: Rule) -> None:
        if not rule.status:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        status = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "message": rule.message,
            "reason": REASONS.get(rule.status, ""),
            "code": rule.status,
        }
        body = json.dumps(status).encode()
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
        stream = _Stream(self.path, upstream, self.connection)
        with self.the_gate.streaming(stream):
            try:
                while data := answer.read1(65536):
                    with stream.lock:
                        self.connection.sendall(_chunk(data))
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
        stream = _Stream(self.path, upstream, self.connection)
        with self.the_gate.streaming(stream):
            back = threading.Thread(target=_copy, args=(sock, self.connection), daemon=True)
            back.start()
            _copy(self.rfile, sock)
            stream.cut()
            back.join()


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


def _token(path: str) -> str:
    """The token of a kubeconfig's user; empty where a certificate says who that is."""
    document = yaml.safe_load(pathlib.Path(path).read_text())
    contexts = {each["name"]: each["context"] for each in document["contexts"]}
    users = {each["name"]: each["user"] for each in document["users"]}
    return str(users[contexts[document["current-context"]]["user"]].get("token", ""))


def _copy(source: Any, target: Any) -> None:
    read = source.read1 if hasattr(source, "read1") else source.recv
    with contextlib.suppress(OSError, ssl.SSLError, ValueError):
        while data := read(65536):
            target.sendall(data)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _matches(wanted: Rule | Hold, method: str, path: str) -> bool:
    return wanted.method in (method, "*") and bool(re.search(wanted.pattern, path))


@contextlib.contextmanager
def gate(cluster: cluster_support.Cluster, directory: pathlib.Path) -> Iterator[Gate]:
    """One before this cluster; its kubeconfig goes into the directory."""
    made = Gate(cluster, directory)
    try:
        yield made
    finally:
        made.close()

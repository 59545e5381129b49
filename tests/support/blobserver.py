"""A data plane of its own, small and complete, that fails on demand: by operation, blob and count.

with blobserver.BlobServer() as server:
    server.fault("PUT", "00/001", blobserver.LOST_REPLY, blobserver.Refusal(503))
    dataplane.DataPlane(access.locate(server.url("buffer1")))

A fault that no request met fails the test: a test that ends a transfer by itself waits for `until_met` first.
"""

import base64
import collections
import contextlib
import hashlib
import http.server
import os
import select
import shutil
import socket
import socketserver
import sys
import tempfile
import threading
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit


class Refusal(NamedTuple):
    """An answer in place of the right one; the operation is not carried out."""

    status: int
    code: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    early: bool = False
    """Before the request's body was read; the connection is closed."""


HANG_UP = "no answer, and the operation is not carried out"
LOST_REPLY = "carried out, and no answer"
SILENCE = "no answer until the server is closed, or the client goes"
CORRUPT = "a wrong byte in the body"
SHORT = "half of the body"
GARBAGE = "an answer that is not HTTP"
CHUNKED = "a body without a length"

PATIENCE = 60
"""Seconds until what should happen never will: no test is as slow as that."""


class Blob(NamedTuple):
    data: bytes
    meta: dict[str, str]

    @property
    def md5(self):
        return base64.b64encode(hashlib.md5(self.data).digest()).decode()


class Seen(NamedTuple):
    method: str
    blob: str
    headers: dict[str, str]


class BlobServer:
    """Containers, blobs and who may open them; `overwrite` is the code that a second PUT gets."""

    def __init__(self, *, tls=None, tcp=False, overwrite="UnauthorizedBlobOverwrite"):
        self.overwrite = overwrite
        self.containers = {"buffer1": {}}
        self.signatures = {"good": "cr", "reader": "r"}
        self.seen = []
        self.failures = []
        self.changed = threading.Condition()
        self.most_at_once = 0
        self.connections = set()
        self._at_once = 0
        self._faults = collections.defaultdict(collections.deque)
        self._closing = threading.Event()
        self._directory = tempfile.mkdtemp(prefix="tyger-")
        self._socket = os.path.join(self._directory, "s")
        self._server = _TcpServer(self) if tcp else _UnixServer(self, self._socket)
        self._scheme = "https" if tls else "http"
        if tls:
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, kind, error, trace):
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.finish()
        shutil.rmtree(self._directory)
        if kind is None:
            assert not self.failures
            unmet = {key: list(faults) for key, faults in self._faults.items() if faults}
            assert not unmet, f"no request met these faults: {unmet}"

    def url(self, container="buffer1", sig="good"):
        """An access URL; `sig` decides what it allows."""
        if isinstance(self._server, _TcpServer):
            place = f"{self._scheme}://localhost:{self._server.server_address[1]}"
        else:
            place = f"{self._scheme}+unix://{self._socket}:"
        return f"{place}/containers/{container}?api-version=1.0&sp=any&sig={sig}"

    @property
    def port(self):
        """With `tcp`."""
        return self._server.server_address[1]

    def fault(self, method, blob, *faults):
        """The next requests of this kind meet these, one each."""
        self._faults[method, blob].extend(faults)

    @property
    def blobs(self):
        """What is in the one container that tests mostly use."""
        return self.containers["buffer1"]

    def stored(self, name):
        """A blob's bytes, None without it."""
        blob = self.blobs.get(name)
        return blob and blob.data

    def put(self, name, data, **meta):
        """Put a blob there as another writer would."""
        with self.changed:
            self.blobs[name] = Blob(data, meta)
            self.changed.notify_all()

    def count(self, method, blob):
        """How many such requests have come."""
        return sum(1 for seen in self.seen if (seen.method, seen.blob) == (method, blob))

    def wait(self, predicate):
        """Block until `predicate()`; it is looked at after every request."""
        with self.changed:
            assert self.changed.wait_for(predicate, PATIENCE), "it did not happen"

    def until_met(self):
        """Block until every fault has met its request."""
        self.wait(lambda: not any(self._faults.values()))

    # --- for requests ------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def noted(self, seen):
        """The fault that a request meets, if any; who sees the request can rely on it."""
        with self.changed:
            self.seen.append(seen)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            faults = self._faults.get((seen.method, seen.blob))
            fault = faults.popleft() if faults else None
            self.changed.notify_all()
        try:
            yield fault
        finally:
            with self.changed:
                self._at_once -= 1
                self.changed.notify_all()

    def wait_for_close(self, connection):
        """Until the server is closed, or the client has gone."""
        connection.settimeout(0.02)
        while not self._closing.is_set():
            try:
                if not connection.recv(4096):
                    return
            except TimeoutError:
                continue


class _Quiet:
    """A client that goes away, or distrusts us, is not the test's failure; anything else is.

    At the end every request that was sent is heard, and no thread stays: it would still have its descriptor
    when the next test counts what is open.
    """

    request_queue_size = 64
    daemon_threads = False

    def process_request(self, request, client_address):
        with self.owner.changed:
            self.owner.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        with self.owner.changed:  # so that `finish` shuts down no number that is somebody else's by then
            self.owner.connections.discard(request)
            super().shutdown_request(request)

    def finish(self):
        self.timeout = 0
        while select.select([self.socket], [], [], 0)[0]:
            self.handle_request()
        with self.owner.changed:
            for connection in self.owner.connections:
                with contextlib.suppress(OSError):  # what came before is read all the same
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)
        self.server_close()

    def handle_error(self, *_):
        error = sys.exception()
        if not isinstance(error, OSError):
            self.owner.failures.append(error)


class _UnixServer(_Quiet, socketserver.ThreadingUnixStreamServer):
    def __init__(self, owner, path):
        self.owner = owner
        super().__init__(path, _Handler)

    def get_request(self):
        connection, _ = super().get_request()
        return connection, ("unix", 0)


class _TcpServer(_Quiet, http.server.ThreadingHTTPServer):
    def __init__(self, owner):
        self.owner = owner
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self._handle()

    def do_GET(self):
        self._handle()

    def do_PUT(self):
        self._handle()

    def _handle(self):
        parts = urlsplit(self.path)
        _, container, name = parts.path.lstrip("/").split("/", 2)
        server = self.server.owner
        headers = {key.lower(): value for key, value in self.headers.items()}
        with server.noted(Seen(self.command, name, headers)) as fault:
            if isinstance(fault, Refusal) and fault.early:
                self.close_connection = True
                self._answer(fault)
                return
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            if len(body) < length:  # the client has broken off
                self.close_connection = True
                return
            if isinstance(fault, Refusal):
                self._answer(fault)
                return
            if fault == SILENCE:
                server.wait_for_close(self.connection)
            if fault == GARBAGE:
                self.wfile.write(b"what?\r\n\r\n")
            if fault in {HANG_UP, GARBAGE, SILENCE}:
                self.close_connection = True
                return
            answer = self._carry_out(server, parse_qs(parts.query), container, name, body)
            if fault == LOST_REPLY:
                self.close_connection = True
                return
            self._answer(*answer, fault=fault)

    def _carry_out(self, server, query, container, name, body):
        allowed = server.signatures.get(query["sig"][0])
        if allowed is None:
            return (Refusal(403, "AuthenticationFailed"),)
        if ("c" if self.command == "PUT" else "r") not in allowed:
            return (Refusal(403, "AuthorizationPermissionMismatch"),)
        with server.changed:
            blobs = server.containers.get(container)
            if blobs is None:
                return (Refusal(404, "ContainerNotFound"),)
            if self.command == "PUT":
                return (self._put(server, blobs, name, body),)
            if name not in blobs:
                return (Refusal(404, "BlobNotFound"),)
            blob = blobs[name]
        headers = [("Content-MD5", blob.md5), *((f"x-ms-meta-{k}", v) for k, v in blob.meta.items())]
        return Refusal(200, headers=tuple(headers)), blob.data

    def _put(self, server, blobs, name, body):
        meta = {k.lower()[10:]: v for k, v in self.headers.items() if k.lower().startswith("x-ms-meta-")}
        blob = Blob(body, meta)
        claimed = self.headers.get("Content-MD5")
        if claimed is not None and claimed != blob.md5:
            return Refusal(400, "Md5Mismatch")
        if name in blobs:
            return Refusal(403, server.overwrite)
        blobs[name] = blob
        return Refusal(201)

    def _answer(self, answer, data=None, fault=None):
        self.send_response_only(answer.status)
        if "Date" not in dict(answer.headers):
            self.send_header("Date", self.date_time_string())
        if answer.code:
            self.send_header("x-ms-error-code", answer.code)
        for name, value in answer.headers:
            self.send_header(name, value)
        data = answer.body if data is None else data
        if fault == CHUNKED:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data))
            return
        if "Content-Length" not in dict(answer.headers):
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if fault == CORRUPT:
            data = bytes([data[0] ^ 1]) + data[1:]
        if fault == SHORT:
            data = data[: len(data) // 2]
            self.close_connection = True
        if self.command != "HEAD":
            self.wfile.write(data)

    def handle(self):
        with contextlib.suppress(ConnectionError, TimeoutError):
            super().handle()

    def log_message(self, *args):
        """pytest's stderr stays clean."""

    def address_string(self):
        return "unix"

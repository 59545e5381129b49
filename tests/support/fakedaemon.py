"""A small complete daemon for tests of commands: buffers in memory, runs whose program is a function.

It speaks the wire of docs/design.md ("Transfers") and contract rest-api.md on a Unix socket, one thread a
connection, and takes descriptors. `requests` records what was asked. Answers of a path may be overridden with
`answers[(method, path)] = (status, body, headers)`.

A buffer of a store elsewhere (`buffer.spooled = True`) is spooled first, and complete after `ship`. `say`
makes a write's answer say something; `access` maps the access URLs that have not expired to buffers;
`transfers` are shown and watched, and changed with `change`.
"""

import array
import contextlib
import json
import os
import queue
import select
import shutil
import socket
import tempfile
import threading
from urllib.parse import parse_qsl, unquote, urlsplit

CREATED = "2026-01-02T03:04:05.678901+00:00"


class Request:
    def __init__(self, method, target, headers, body, fds, sock):
        parts = urlsplit(target)
        self.method, self.path = method, unquote(parts.path)
        self.query = [
            pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] != "api-version"
        ]
        self.headers, self.raw_body, self.fds, self.sock = headers, body, fds, sock

    @property
    def body(self):
        return json.loads(self.raw_body) if self.raw_body else None

    def asked(self, name, default=None):
        return dict(self.query).get(name, default)


class Failure(Exception):  # noqa: N818 - an answer, not an error of the test
    def __init__(self, status, code, message):
        super().__init__(message)
        self.status, self.body = status, {"error": {"code": code, "message": message}}


def not_found():
    return Failure(404, "NotFound", "The resource was not found")


class Gone(Exception):  # noqa: N818 - the test is over
    """Ends a thread that still waited for something."""


class Buffer:
    """Bytes that grow until the buffer is complete or failed."""

    def __init__(self, name):
        self.name, self.data, self.state, self.reason = name, bytearray(), "new", None
        self.changed = threading.Condition()
        self.gone = False
        self.spooled = self.told = False
        self.transfer, self.sayings = "", queue.SimpleQueue()
        self.nudge = os.eventfd(0, os.EFD_NONBLOCK)

    def __del__(self):
        os.close(self.nudge)

    def say(self, **event):
        """Let the open answer of its write say this next; `failed` is its last word."""
        self.sayings.put(event)
        os.eventfd_write(self.nudge, 1)

    def ship(self):
        """All of it has arrived at its store."""
        self.update(state="complete")
        os.eventfd_write(self.nudge, 1)

    def update(self, data=b"", state=None, reason=None):
        with self.changed:
            self.data += data
            if state and self.state not in ("complete", "failed"):
                self.state, self.reason = state, reason
            self.changed.notify_all()

    def wait(self, ready):
        with self.changed:
            assert self.changed.wait_for(lambda: ready() or self.gone, 10)
            if not ready():
                raise Gone

    def leave(self):
        with self.changed:
            self.gone = True
            self.changed.notify_all()

    @property
    def ended(self):
        return self.state in ("complete", "failed")


class FakeDaemon:
    """`program(input bytes) -> (output bytes, status, reason)` is what each run does."""

    def __init__(self, program=lambda data: (data, "Succeeded", None), version="0.1.0"):
        self.directory = tempfile.mkdtemp(prefix="tyger-")
        self.path = os.path.join(self.directory, "s")
        self.program, self.version = program, version
        self.requests, self.answers = [], {}
        self.buffers, self.codespecs, self.runs, self.outcomes, self.logs = {}, {}, {}, {}, {}
        self.access, self.transfers, self.made = {}, {}, {}
        self.changed = threading.Condition()
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(self.path)
        self._listening.listen()
        self._gone = False
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # Its thread ends first: one that is about to accept would accept for the next daemon, whose socket
        # may get the same number.
        if self._listening.fileno() >= 0:  # else a test has closed it
            self._listening.shutdown(socket.SHUT_RDWR)
            self._accepting.join()
        self._listening.close()
        shutil.rmtree(self.directory)
        for buffer in self.buffers.values():
            buffer.leave()
        with self.changed:
            self._gone = True
            self.changed.notify_all()

    def buffer(self, name, data=None, state="complete"):
        self.buffers[name] = Buffer(name)
        if data is not None:
            self.buffers[name].update(data, state)
        return self.buffers[name]

    def asked(self, method, path):
        return [request for request in self.requests if (request.method, request.path) == (method, path)]

    # --- serving ----------------------------------------------------------------------------------------

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        with sock, contextlib.suppress(ConnectionError, Gone):
            request = self._read(sock)
            if request is None:
                return
            self.requests.append(request)
            try:
                status, body, headers = self._answer(request)
            except Failure as failure:
                status, body, headers = failure.status, failure.body, {}
            finally:
                for fd in request.fds:
                    os.close(fd)
            if status:
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self._head(sock, status, {**headers, "Content-Length": len(data)})
                sock.sendall(data)

    def _read(self, sock):
        data, fds = b"", []
        while b"\r\n\r\n" not in data:
            piece, ancillary, _, _ = sock.recvmsg(65536, socket.CMSG_SPACE(64))
            if not piece:
                return None
            for _, _, raw in ancillary:
                fds += array.array("i", raw)
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        while len(body) < int(headers.get("content-length", 0)):
            body += sock.recv(65536)
        method, target, _ = first.split(" ")
        return Request(method, target, headers, body, fds, sock)

    def _head(self, sock, status, headers):
        lines = [f"HTTP/1.1 {status} Said", f"Tyger-Version: {self.version}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        sock.sendall("\r\n".join([*lines, "", ""]).encode())

    def _chunked(self, request, status=200, **headers):
        self._head(request.sock, status, {"Transfer-Encoding": "chunked", **headers})
        return lambda data: request.sock.sendall(b"%x\r\n%s\r\n" % (len(data), data))

    def _answer(self, request):
        if (answer := self.answers.get((request.method, request.path))) is not None:
            if callable(answer):
                return answer(request)
            return (*answer, {}) if len(answer) == 2 else answer
        match request.method, request.path.strip("/").split("/"):
            case "GET", ["metadata"]:
                return 200, {"capabilities": [], "apiVersions": ["1.0"], "storageEndpoints": []}, {}
            case "POST", ["buffers"]:
                return 201, self._resource(f"buf{len(self.buffers)}"), {}
            case "GET", ["buffers", name]:
                return 200, self._resource(name), {}
            case "POST", ["transfers"]:
                return self._write(request)
            case "POST", ["transfers", name, "attach"]:
                return self._capture(request, self._of(name))
            case "POST", ["transfers", name, "outcome"]:
                return self._outcome(request, name)
            case "POST", ["transfers", name, "access"]:
                self._granted(request.body["url"])
                return 200, {}, {}
            case "GET", ["transfers", "read", name]:
                asked = dict(request.query)
                return self._deliver(request, name, asked, follow=asked.get("follow") != "false")
            case "POST", ["transfers", "read"]:
                name = self._granted(request.body["url"])
                return self._deliver(request, name, request.body, follow=request.body.get("follow", True))
            case "GET", ["transfers"]:
                return 200, {"items": list(self.transfers.values())}, {}
            case _, ["transfers", name, *_] if name not in self.transfers:
                raise not_found()
            case "GET", ["transfers", name]:
                return 200, self.transfers[name], {}
            case "GET", ["transfers", name, "watch"]:
                return self._tell(request, name)
            case "POST", ["transfers", name, "pause" | "resume" as verb]:
                self.change(name, paused=verb == "pause")
                return 200, self.transfers[name], {}
            case "POST", ["transfers", name, "cancel"]:
                self.change(name, state="failed", reason="cancelled by user")
                return 200, self.transfers[name], {}
            case "GET", ["codespecs", *reference]:
                if reference[0] not in self.codespecs:
                    raise not_found()
                return 200, self.codespecs[reference[0]], {}
            case "POST", ["runs"]:
                return self._create(request)
            case "POST", ["runs", number, "cancel"]:
                self.move(int(number), "Canceled", "Canceled by user")
                return 202, self.runs[int(number)], {}
            case "GET", ["runs", number]:
                if int(number) not in self.runs:
                    raise not_found()
                if request.asked("watch") == "true":
                    return self._watch(request, int(number))
                return 200, self.runs[int(number)], {}
            case "GET", ["runs", number, "logs"]:
                send = self._chunked(request)
                for line in self.logs.get(int(number), []):
                    send(line + b"\n")
                return self._end(request)
        raise not_found()

    def _resource(self, name):
        self.buffers.setdefault(name, Buffer(name))
        tags = {"tags": {"bufferName": self.made[name]}} if name in self.made else {}
        return {
            "id": name,
            "location": "local",
            "createdAt": CREATED,
            "eTag": "1",
            "isSoftDeleted": False,
        } | tags

    def _end(self, request, trailer=b""):
        request.sock.sendall(b"0\r\n" + trailer + b"\r\n")
        return None, None, {}

    # --- transfers --------------------------------------------------------------------------------------

    def change(self, name, **fields):
        """Change a transfer, and tell those who watch it."""
        with self.changed:
            self.transfers[name] = {**self.transfers.get(name, {"id": name}), **fields}
            self.changed.notify_all()

    def _tell(self, request, name):
        send, said = self._chunked(request), None
        while True:
            with self.changed:
                news = lambda told=said: self.transfers[name] is not told or self._gone  # noqa: E731
                assert self.changed.wait_for(news, 10)
                if self._gone:
                    raise Gone
                said = self.transfers[name]
            send(json.dumps(said).encode() + b"\n")
            if said.get("state") in ("complete", "failed"):
                return self._end(request)

    def _granted(self, url):
        if url not in self.access:
            raise Failure(403, "AccessExpired", "Signature not valid in the specified time frame")
        return self.access[url]

    def _of(self, transfer):
        for buffer in self.buffers.values():
            if buffer.transfer == transfer:
                return buffer
        raise not_found()

    def _outcome(self, request, name):
        buffer, body = self._of(name), request.body
        self.outcomes[name] = body
        wanted = "complete" if body["outcome"] == "complete" else "failed"
        if wanted == "complete" and buffer.spooled:
            wanted = "spooled"
        if buffer.state not in ("writing", wanted):
            raise Failure(409, "Conflict", f"the buffer is already {buffer.state}")
        buffer.update(state=wanted, reason=body.get("reason"))
        return 200, {}, {}

    def _write(self, request):
        body = request.body
        name = body["buffer"] if "buffer" in body else self._granted(body["url"])
        buffer = self.buffers.get(name)
        if buffer is None:
            raise not_found()
        if buffer.state != "new":
            raise Failure(409, "Conflict", f"the buffer '{buffer.name}' was already written")
        buffer.transfer, buffer.state = body["id"], "writing"
        self.transfers[body["id"]] = {"id": body["id"], "kind": "write", "buffer": name, "state": "running"}
        try:
            return self._capture(request, buffer)
        except ConnectionError:  # the client has gone
            buffer.update(state="failed", reason="the client went away")
            raise

    def _capture(self, request, buffer):
        send = self._chunked(request, 201)

        def event(**values):
            send(json.dumps(values).encode() + b"\n")

        event(event="attached", transfer={"id": buffer.transfer})
        reader, taking = request.fds[0], True
        while True:
            watched = [request.sock, buffer.nudge] + [reader] * taking
            ready = select.select(watched, [], [], 0.005)[0]
            if request.sock in ready:  # the client has gone
                if buffer.state != "spooled":
                    buffer.update(state="failed", reason="the client went away")
                return None, None, {}
            if buffer.nudge in ready:
                os.eventfd_read(buffer.nudge)
                while not buffer.sayings.empty():
                    said = buffer.sayings.get()
                    event(**said)
                    if said["event"] == "failed":
                        buffer.update(state="failed", reason=said["reason"])
                        return self._end(request)
            if reader in ready:
                data = os.read(reader, 1 << 20)
                taking = bool(data)
                buffer.update(data)
                if data:
                    event(event="progress", bytes=len(buffer.data), blocks=1)
                else:
                    event(event="eof", bytes=len(buffer.data))
            if buffer.gone:
                raise Gone
            if buffer.state == "spooled" and not buffer.told:
                event(event="spooled", bytes=len(buffer.data), blocks=1)
                buffer.told = True
                buffer.update()
            if buffer.ended:
                event(event=buffer.state, bytes=len(buffer.data), blocks=1, reason=buffer.reason)
                return self._end(request)

    def _deliver(self, request, name, asked, *, follow):
        buffer = self.buffers.get(name)
        if buffer is None:
            raise not_found()
        reading = f"read{len(self.requests)}"
        self.transfers[reading] = {"id": reading, "kind": "read", "buffer": name, "state": "running"}
        send = self._chunked(request, Trailer="Tyger-Error", **{"Transfer-Id": reading})
        sent, length = int(asked.get("offset", 0)), asked.get("length")
        end = None if length is None else sent + int(length)
        while end is None or sent < end:
            if follow:
                buffer.wait(lambda sent=sent: buffer.ended or len(buffer.data) > sent)
            if len(buffer.data) > sent:
                data = bytes(buffer.data[sent : min(sent + 65536, end or sent + 65536)])
                send(data)
                sent += len(data)
            elif buffer.state == "failed":
                return self._end(request, b"Tyger-Error: BufferFailed: its writer failed: gone\r\n")
            else:
                break
        return self._end(request)

    # --- runs -------------------------------------------------------------------------------------------

    def _create(self, request):
        run, number = request.body, len(self.runs) + 1
        codespec = run["job"]["codespec"]
        if isinstance(codespec, str):
            name = codespec.partition("/")[0]
            if name not in self.codespecs:
                raise Failure(400, "InvalidInput", f"The codespec '{name}' was not found")
            codespec = self.codespecs[name]
        names = codespec.get("buffers", {})
        mapped = run["job"].setdefault("buffers", {})
        for name in [*names.get("inputs", []), *names.get("outputs", [])]:
            if mapped.get(name, "_") == "_":
                mapped[name] = f"run{number}-{name}"
                self.made[mapped[name]] = name
            self.buffers.setdefault(mapped[name], Buffer(mapped[name]))
        self.runs[number] = {**run, "id": number, "status": "Running", "createdAt": CREATED}
        inputs = [self.buffers[mapped[name]] for name in names.get("inputs", [])]
        outputs = [self.buffers[mapped[name]] for name in names.get("outputs", [])]
        threading.Thread(target=self._execute, args=(number, inputs, outputs), daemon=True).start()
        return 201, self.runs[number], {"Location": f"/runs/{number}"}

    def _execute(self, number, inputs, outputs):
        with contextlib.suppress(Gone):
            self._perform(number, inputs, outputs)

    def _perform(self, number, inputs, outputs):
        for buffer in inputs:
            buffer.wait(lambda buffer=buffer: buffer.ended)
        if any(buffer.state == "failed" for buffer in inputs):
            self.move(number, "Failed", "an input buffer failed")
            return
        output, status, reason = self.program(b"".join(bytes(buffer.data) for buffer in inputs))
        for buffer in outputs:
            buffer.update(output, "complete" if status == "Succeeded" else "failed", reason)
        self.move(number, status, reason)

    def move(self, number, status, reason):
        with self.changed:
            if self.runs[number]["status"] == "Running":
                self.runs[number].update(status=status, statusReason=reason)
            self.changed.notify_all()

    def _watch(self, request, number):
        send = self._chunked(request)
        run = self.runs[number]
        send(json.dumps(run).encode() + b"\n")
        if run["status"] == "Running":
            with self.changed:
                assert self.changed.wait_for(lambda: run["status"] != "Running" or self._gone, 10)
                if run["status"] == "Running":
                    raise Gone
            send(json.dumps(run).encode() + b"\n")
        return self._end(request)

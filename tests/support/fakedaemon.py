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
import shutil
import socket
import tempfile
import threading

from tests.support import fakedaemon_parts as parts
from tests.support import fakedaemon_runs, fakedaemon_transfers

CREATED = parts.CREATED


class FakeDaemon(fakedaemon_transfers.Transfers, fakedaemon_runs.Runs):
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
        self.go_away()
        shutil.rmtree(self.directory)

    def go_away(self):
        """Answer nobody any more, and break off what is being answered. Idempotent."""
        # Its thread ends first: one that is about to accept would accept for the next daemon, whose socket
        # may get the same number.
        if self._listening.fileno() >= 0:
            self._listening.shutdown(socket.SHUT_RDWR)
            self._accepting.join()
            self._listening.close()
        for buffer in list(self.buffers.values()):
            buffer.leave()
        with self.changed:
            self._gone = True
            self.changed.notify_all()

    def buffer(self, name, data=None, state="complete"):
        self.buffers[name] = parts.Buffer(name)
        if data is not None:
            self.buffers[name].update(data, state)
        return self.buffers[name]

    def asked(self, method, path):
        return [request for request in self.requests if (request.method, request.path) == (method, path)]

    def wait_asked(self, method, path):
        """The requests of that kind, once there are any."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.asked(method, path), 60), (
                f"nobody asked {method} {path}"
            )
            return self.asked(method, path)

    # --- serving ----------------------------------------------------------------------------------------

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        with sock, contextlib.suppress(ConnectionError, parts.Gone):
            request = self._read(sock)
            if request is None:
                return
            with self.changed:
                self.requests.append(request)
                self.changed.notify_all()
            try:
                status, body, headers = self._answer(request)
            except parts.Failure as failure:
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
        return parts.Request(method, target, headers, body, fds, sock)

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
            case "GET", ["runs", "_progress"]:
                return 200, b"", {}
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
                raise parts.not_found()
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
                    raise parts.not_found()
                return 200, self.codespecs[reference[0]], {}
            case "POST", ["runs"]:
                return self._create(request)
            case "POST", ["runs", number, "cancel"]:
                self.move(int(number), "Canceled", "Canceled by user")
                return 202, self.runs[int(number)], {}
            case "GET", ["runs", number]:
                if int(number) not in self.runs:
                    raise parts.not_found()
                if request.asked("watch") == "true":
                    return self._watch(request, int(number))
                return 200, self.runs[int(number)], {}
            case "GET", ["runs", number, "logs"]:
                send = self._chunked(request)
                for line in self.logs.get(int(number), []):
                    send(line + b"\n")
                return self._end(request)
        raise parts.not_found()

    def _resource(self, name):
        self.buffers.setdefault(name, parts.Buffer(name))
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

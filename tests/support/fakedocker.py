"""A Docker Engine as its documentation has it, as far as a supervisor uses one; containers are processes.

with fakedocker.docker() as engine:
    engine.socket
    engine.lose("POST /start")              # the next such request is obeyed and not answered, but cut
    engine.drop("POST /start")              # ... is cut and not obeyed
    engine.refuse("GET /json", 500, "no")   # ... is answered so
    engine.cut()                            # ends every connection, as a restart of the engine does
    engine.requests                         # all that came, as "POST /start"

In what Docker differs from Podman it is Docker: a version of the API that is too old is refused, attaching
starts nothing, a container that ends is still `running` when its output has ended, to start twice is 304, and
the log driver `local` loses newlines.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import socket
import socketserver
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from http import server
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support import dockerlog

VERSION = "1.51"
LATE = 0.02
"""Seconds between the end of the output and that of the container."""


class Container:
    """One container: its body, its process, and all that it has printed."""

    def __init__(self, name: str, body: dict[str, Any]) -> None:
        self.name = name
        self.id = os.urandom(32).hex()
        self.body = body
        self.state: dict[str, Any] = {
            "Status": "created",
            "Running": False,
            "OOMKilled": False,
            "Pid": 0,
            "ExitCode": 0,
            "StartedAt": "0001-01-01T00:00:00Z",
        }
        self.log: list[bytes] = []
        self.changed = threading.Condition()
        self.silent = False
        self.process: subprocess.Popen[bytes] | None = None
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Raises OSError where there is no such program."""
        self.process = subprocess.Popen(
            [*(self.body.get("Entrypoint") or ()), *(self.body.get("Cmd") or ())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.state.update(Status="running", Running=True, StartedAt="2026-01-01T00:00:00.5Z")
        self.state["Pid"] = self.process.pid
        for stream, pipe in ((1, self.process.stdout), (2, self.process.stderr)):
            self._threads.append(threading.Thread(target=self._read, args=(stream, pipe)))
        reader = list(self._threads)
        self._threads.append(threading.Thread(target=self._wait, args=(reader,)))
        for thread in self._threads:
            thread.start()

    def _read(self, stream: int, pipe: Any) -> None:
        with pipe:
            while data := os.read(pipe.fileno(), 16384):
                with self.changed:
                    self.log.append(dockerlog.frame(data, stream))
                    self.changed.notify_all()

    def _wait(self, readers: list[threading.Thread]) -> None:
        assert self.process is not None
        for reader in readers:
            reader.join()
        with self.changed:
            self.silent = True
            self.changed.notify_all()
        code = self.process.wait()
        time.sleep(LATE)  # what it is about: Docker notices the end of the output before that of the process
        with self.changed:
            self.state.update(Status="exited", Running=False, ExitCode=code if code >= 0 else 128 - code)

    def frames(self, *, follow: bool) -> Iterator[bytes]:
        """What it prints, from the start."""
        at = 0
        while True:
            with self.changed:
                while follow and at == len(self.log) and not self.silent:
                    self.changed.wait()
                new, at = self.log[at:], len(self.log)
            yield from new
            if not new:
                return

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Signal all of it."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)

    def close(self) -> None:
        """End it and its threads."""
        self.kill()
        with self.changed:
            self.silent = self.silent or self.process is None
            self.changed.notify_all()
        for thread in self._threads:
            thread.join()


class _Handler(server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    engine: Docker

    def handle(self) -> None:
        with self.engine.lock:
            self.engine.connections.append(self.connection)
        with contextlib.suppress(OSError):
            super().handle()

    def finish(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().finish()

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def _serve(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"null")
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        found = re.fullmatch(r"/v([0-9.]+)/containers/(?:([^/]+)/)?([^/]+)", url.path)
        assert found, self.path
        if found[1] != VERSION:
            self._answer(
                400,
                {"message": f"client version {found[1]} is too old. Minimum supported API version is 1.44"},
            )
            return
        verb = found[3] if found[2] or found[3] == "create" else ""
        what = f"{self.command} /{verb}"
        with self.engine.asked:
            self.engine.requests.append(what)
            fault = self.engine.faults.pop(what, None)
            self.engine.asked.notify_all()
        if fault == "drop":
            self._cut()
        elif isinstance(fault, tuple):
            self._answer(fault[0], {"message": fault[1]})
        elif verb == "create":
            self._create(query["name"], body, lose=fault == "lose")
        else:
            name = found[2] or found[3]
            container = self.engine.containers.get(name)
            if container is None:
                self._answer(404, {"message": f"No such container: {name}"})
                return
            obey = getattr(self, f"_{self.command.lower()}_{verb}".rstrip("_"))
            obey(container, query, lose=fault == "lose")

    def _create(self, name: str, body: dict[str, Any], *, lose: bool) -> None:
        with self.engine.lock:
            if name in self.engine.containers:
                conflict = f'Conflict. The container name "/{name}" is already in use by container "0".'
                self._answer(409, {"message": conflict})
                return
            made = self.engine.containers[name] = Container(name, body)
            self.engine.made += 1
        self._answer(201, {"Id": made.id, "Warnings": []}, lose=lose)

    def _post_attach(self, container: Container, _: dict[str, str], *, lose: bool) -> None:
        self.wfile.write(
            b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\n"
            b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        )
        for frame in container.frames(follow=True) if not lose else ():
            self.wfile.write(frame)
        self._cut()

    def _post_start(self, container: Container, _: dict[str, str], *, lose: bool) -> None:
        if container.state["Status"] == "running":
            self._answer(304, None, lose=lose)
            return
        container.state["Starts"] = container.state.get("Starts", 0) + 1
        try:
            container.start()
        except OSError:
            message = (
                "failed to create task for container: failed to create shim task: OCI runtime create failed: "
                "runc create failed: unable to start container process: error during container init: exec: "
                '"nosuch": executable file not found in $PATH: unknown'
            )
            container.state.update(ExitCode=127)
            self._answer(400, {"message": message})
        else:
            self._answer(204, None, lose=lose)

    def _post_kill(self, container: Container, query: dict[str, str], *, lose: bool) -> None:
        if container.state["Status"] != "running":
            self._answer(409, {"message": f"cannot kill container: {container.id}: container is not running"})
            return
        container.kill(signal.Signals[query["signal"]])
        self._answer(204, None, lose=lose)

    def _get_json(self, container: Container, _: dict[str, str], *, lose: bool) -> None:
        found = {
            "Id": container.id,
            "State": container.state,
            "NetworkSettings": {"Networks": {}, "Ports": {}},
        }
        self._answer(200, found, lose=lose)

    def _get_logs(self, container: Container, query: dict[str, str], *, lose: bool) -> None:
        if lose:
            self._cut()
            return
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        frames = container.frames(follow=query["follow"] == "1")
        if container.body.get("HostConfig", {}).get("LogConfig", {}).get("Type") == "local":
            entries = dockerlog.entries(frames, itertools.count())
            frames = dockerlog.answered(entries, stamps=query.get("timestamps") == "1")
        for frame in frames:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(frame), frame))
        self.wfile.write(b"0\r\n\r\n")

    def _delete(self, container: Container, query: dict[str, str], *, lose: bool) -> None:
        assert query["force"] == "1"
        container.close()
        with self.engine.lock:
            self.engine.containers.pop(container.name, None)
        self._answer(204, None, lose=lose)

    def _answer(self, status: int, body: object, *, lose: bool = False) -> None:
        if lose:
            self._cut()
            return
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Api-Version", VERSION)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _cut(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *args: object) -> None:
        """Nothing is logged."""


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 100


class Docker:
    """See above."""

    def __init__(self, directory: str) -> None:
        self.socket = os.path.join(directory, "docker.sock")
        self.requests: list[str] = []
        self.faults: dict[str, Any] = {}
        self.containers: dict[str, Container] = {}
        self.made = 0
        """Containers created so far."""
        self.connections: list[socket.socket] = []
        self.lock = threading.Lock()
        self.asked = threading.Condition(self.lock)
        self._server: _Server | None = None

    def lose(self, request: str) -> None:
        """Obey the next such request, and don't answer."""
        self.faults[request] = "lose"

    def drop(self, request: str) -> None:
        """Don't obey the next such request, nor answer."""
        self.faults[request] = "drop"

    def refuse(self, request: str, status: int, message: str) -> None:
        """Answer the next such request with an error."""
        self.faults[request] = (status, message)

    def wait(self, request: str, count: int = 1) -> None:
        """Until so many such requests have come."""
        with self.asked:
            assert self.asked.wait_for(lambda: self.requests.count(request) >= count, 60), self.requests

    def cut(self) -> None:
        """End every connection."""
        with self.lock:
            connections, self.connections = self.connections, []
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def start(self) -> None:
        """Listen."""
        handler = type("Handler", (_Handler,), {"engine": self})
        self._server = _Server(self.socket, handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}).start()

    def stop(self) -> None:
        """Listen no more, and end every connection. Containers go on."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
            os.unlink(self.socket)
        self.cut()


@contextlib.contextmanager
def docker() -> Iterator[Docker]:
    """An engine that listens."""
    directory = tempfile.mkdtemp(prefix="tyger-", dir="/tmp")
    engine = Docker(directory)
    engine.start()
    try:
        yield engine
    finally:
        engine.stop()
        for container in list(engine.containers.values()):
            container.close()
        shutil.rmtree(directory)

"""A Unix socket before a container engine's, which sees every request and can stop, cut or fail it.

with enginegate.gate(podman.socket) as gate:       # a daemon is told of gate.path
    with gate.held("POST", "/containers/create"):  # the next such request waits here
        ...
    gate.cut("/logs")                              # ends the connections whose last request was such a one
    gate.close_after(3)                            # three requests pass; at the next `closed` is set
    gate.requests                                  # all that came, as "POST /containers/create"

Paths are without the version before them and the query behind them.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator

PATIENCE = 120
"""Seconds until a test gives up on a request that does not come."""


class _Hold:
    """One request that is stopped: `arrived` when it is there, `release` lets it pass."""

    def __init__(self, method: str, pattern: str) -> None:
        self._method = method
        self._pattern = pattern
        self._there = threading.Event()
        self._free = threading.Event()

    def matches(self, request: str) -> bool:
        """Whether it is this one's turn."""
        method, path = request.split(" ", 1)
        return not self._there.is_set() and method == self._method and bool(re.search(self._pattern, path))

    def stop(self) -> None:
        """In the request's thread: until it may pass."""
        self._there.set()
        self._free.wait(PATIENCE * 4)

    def arrived(self) -> None:
        """Until the request is there."""
        assert self._there.wait(PATIENCE), f"nobody asked for {self._method} {self._pattern}"

    def release(self) -> None:
        """Let it pass. Idempotent."""
        self._free.set()


class _Connection:
    """Two sockets and what was asked for last."""

    def __init__(self, gate: Gate, ours: socket.socket) -> None:
        self.gate = gate
        self.ours = ours
        self.engine = socket.socket(socket.AF_UNIX)
        self.last = ""

    def serve(self) -> None:
        """One request after the other, until one side ends it."""
        with self.ours, self.engine, contextlib.suppress(OSError):
            self.engine.connect(self.gate.engine)
            back = threading.Thread(target=self._answer)
            back.start()
            with contextlib.suppress(OSError):
                while self._request():
                    pass
            self.shut(self.engine)
            back.join()

    def _answer(self) -> None:
        with contextlib.suppress(OSError):
            while data := self.engine.recv(65536):
                self.ours.sendall(data)
        self.shut(self.ours)

    def shut(self, sock: socket.socket) -> None:
        """End both directions."""
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    def _request(self) -> bool:
        data = b""
        while b"\r\n\r\n" not in data:
            piece = self.ours.recv(65536)
            if not piece:
                return False
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
        self.last = f"{method} {re.sub(r'^(http://[^/]*)?(/v[0-9.]+)?', '', target).partition('?')[0]}"
        self.gate.passing(self.last)
        self.engine.sendall(data)
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        left = int(length[1]) - len(body) if length else 0
        if re.search(rb"(?i)\r\n(upgrade:|transfer-encoding: *chunked)", head):
            left = 1 << 62  # a stream of its own, or one whose end nobody here looks for
        while left and (piece := self.ours.recv(min(left, 65536))):
            left -= len(piece)
            self.engine.sendall(piece)
        return True


class Gate:
    """See above. `engine` may be changed; new connections go there."""

    def __init__(self, engine: str, directory: pathlib.Path) -> None:
        self.engine = engine
        self.path = str(directory / "engine")
        self.requests: list[str] = []
        self.closed = threading.Event()
        self._left: int | None = None
        self._open = threading.Event()
        self._holds: list[_Hold] = []
        self._connections: list[_Connection] = []
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen(100)
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()

    @contextlib.contextmanager
    def held(self, method: str, pattern: str) -> Iterator[_Hold]:
        """Stop the next request of this method whose path matches, until the block ends or it is released."""
        hold = _Hold(method, pattern)
        with self._lock:
            self._holds.append(hold)
        try:
            yield hold
        finally:
            hold.release()
            with self._lock:
                self._holds.remove(hold)

    def close_after(self, requests: int) -> None:
        """Let so many requests pass, then hold all others, and set `closed`; `reopen` lets them go on."""
        with self._lock:
            self._left = requests
            self._open.clear()
            self.closed.clear()

    def reopen(self) -> None:
        """Let everything pass that was stopped by `close_after`."""
        with self._lock:
            self._left = None
            self._open.set()

    def passing(self, request: str) -> None:
        """A request has come: wait where it has to."""
        with self._lock:
            self.requests.append(request)
            hold = next((one for one in self._holds if one.matches(request)), None)
            stopped = False
            if self._left is not None:
                stopped = self._left <= 0
                self._left -= 1
        if stopped:
            self.closed.set()
            self._open.wait(PATIENCE * 4)
        if hold is not None:
            hold.stop()

    def cut(self, pattern: str) -> int:
        """End the connections whose last request matches; how many there were."""
        with self._lock:
            found = [one for one in self._connections if re.search(pattern, one.last)]
            self._connections = [one for one in self._connections if one not in found]
        for one in found:
            one.shut(one.ours)
            one.shut(one.engine)
        return len(found)

    def close(self) -> None:
        """End everything."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()
        self.reopen()
        for hold in self._holds:
            hold.release()
        self.cut("")
        for thread in self._threads:
            thread.join(PATIENCE)

    def _accept(self) -> None:
        while True:
            try:
                ours, _ = self._listener.accept()
            except OSError:
                return
            connection = _Connection(self, ours)
            with self._lock:
                self._connections.append(connection)
            thread = threading.Thread(target=connection.serve)
            self._threads.append(thread)
            thread.start()


@contextlib.contextmanager
def gate(engine: str) -> Iterator[Gate]:
    """A gate before the engine at this socket."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="tyger-", dir="/tmp"))
    made = Gate(engine, directory)
    try:
        yield made
    finally:
        made.close()
        if os.path.exists(directory):
            shutil.rmtree(directory)

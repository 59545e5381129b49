"""A Unix socket before a container engine's, which sees every request and can stop, cut or fail it.

with enginegate.gate(podman.socket) as gate:       # a daemon is told of gate.path
    with gate.held("POST", "/containers/create"):  # the next such request waits here: see `gating`
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

from tests.support import gating


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
        path = re.sub(r"^(http://[^/]*)?(/v[0-9.]+)?", "", target).partition("?")[0]
        self.last = f"{method} {path}"
        self.gate.stop(method, path)
        self.engine.sendall(data)
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        left = int(length[1]) - len(body) if length else 0
        if re.search(rb"(?i)\r\n(upgrade:|transfer-encoding: *chunked)", head):
            left = 1 << 62  # a stream of its own, or one whose end nobody here looks for
        while left and (piece := self.ours.recv(min(left, 65536))):
            left -= len(piece)
            self.engine.sendall(piece)
        return True


class Gate(gating.Stops):
    """See above. `engine` may be changed; new connections go there."""

    def __init__(self, engine: str, directory: pathlib.Path) -> None:
        super().__init__()
        self.engine = engine
        self.path = str(directory / "engine")
        self._connections: list[_Connection] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen(100)
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()

    def cut(self, pattern: str) -> int:
        """End the connections whose last request matches; how many there were."""
        with self.lock:
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
        self.let_go()
        self.cut("")
        for thread in self._threads:
            thread.join(gating.PATIENCE)

    def _accept(self) -> None:
        while True:
            try:
                ours, _ = self._listener.accept()
            except OSError:
                return
            connection = _Connection(self, ours)
            with self.lock:
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

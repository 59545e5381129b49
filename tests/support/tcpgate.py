"""A way to a cluster's API server that can be cut: bytes pass as they are, TLS goes through.

with tcpgate.gate(cluster, directory) as gate:   # a daemon is told of gate.kubeconfig
    gate.cut()                                   # ends every connection that there is
"""

from __future__ import annotations

import contextlib
import pathlib
import socket
import threading
import urllib.parse
from collections.abc import Iterator

import yaml

from tests.support import cluster as cluster_support


class Gate:
    """Listens on this host; `passed` are the bytes that went through."""

    def __init__(self, kubeconfig: str, directory: pathlib.Path) -> None:
        said = yaml.safe_load(pathlib.Path(kubeconfig).read_text())
        contexts = {each["name"]: each["context"] for each in said["contexts"]}
        clusters = {each["name"]: each["cluster"] for each in said["clusters"]}
        target = clusters[contexts[said["current-context"]]["cluster"]]
        server = urllib.parse.urlsplit(target["server"])
        assert server.hostname is not None
        self._upstream = (server.hostname, server.port or 443)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._closed = False
        self.passed = 0
        target["server"] = f"https://127.0.0.1:{self._listening.getsockname()[1]}"
        target["tls-server-name"] = target.get("tls-server-name", server.hostname)
        self.kubeconfig = str(directory / "gated-kubeconfig")
        pathlib.Path(self.kubeconfig).write_text(yaml.safe_dump(said))
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def cut(self) -> int:
        """End every connection; how many there were."""
        with self._lock:
            for each in self._open:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            return len(self._open) // 2

    def close(self) -> None:
        """Listen no more, and end what there is."""
        self._closed = True
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listening.close()
        self.cut()

    def _accept(self) -> None:
        while not self._closed:
            with contextlib.suppress(OSError):
                ours, _ = self._listening.accept()
                threading.Thread(target=self._join, args=[ours], daemon=True).start()

    def _join(self, ours: socket.socket) -> None:
        with ours, socket.create_connection(self._upstream) as theirs:
            with self._lock:
                self._open |= {ours, theirs}
            back = threading.Thread(target=self._carry, args=[theirs, ours], daemon=True)
            back.start()
            self._carry(ours, theirs)
            back.join()
            with self._lock:
                self._open -= {ours, theirs}

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
                self.passed += len(data)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def gate(cluster: cluster_support.Cluster, directory: pathlib.Path) -> Iterator[Gate]:
    """One, with a kubeconfig in `directory` that leads through it."""
    made = Gate(cluster.kubeconfig, directory)
    try:
        yield made
    finally:
        made.close()

"""An HTTP server before a cluster's API server, which sees every request and can stop, cut, fail or forge it.

with apigate.gate(cluster, directory) as gate:        # a daemon is told of gate.kubeconfig
    with gate.held("POST", "/pods$"):                 # the next such request waits here: see `gating`
        ...
    gate.fail("PATCH", "/pods/", 409, times=2)        # two such requests are refused: see `apigate_rules`
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
import json
import pathlib
import re
import socket
import threading
import urllib.parse
from collections.abc import Iterator

import yaml

from tests.support import apigate_passage, apigate_rules, gating
from tests.support import cluster as cluster_support

TOO_OLD = apigate_rules.TOO_OLD


class Gate(gating.Stops):
    """See above."""

    def __init__(self, cluster: cluster_support.Cluster, directory: pathlib.Path) -> None:
        super().__init__()
        self._cluster = cluster
        self.token = _token(cluster.kubeconfig)
        self._server_at = urllib.parse.urlsplit(cluster.server)
        self._rules = apigate_rules.Rules()
        self.fail, self.lose = self._rules.fail, self._rules.lose
        self.broken: list[str] = []
        self._is_shut = False
        self._generation = 0
        self._streams: list[apigate_passage.Stream] = []
        self._sockets: set[socket.socket] = set()
        self._listener = apigate_passage.Server(self)
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

    @property
    def unused(self) -> list[apigate_rules.Rule]:
        """What was to fail and did not."""
        return self._rules.unused

    def forget(self) -> None:
        """End all connections; requests that are held are not passed on: who asked is dead."""
        with self.lock:
            self._generation += 1
            sockets, self._sockets = self._sockets, set()
        for sock in sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self.cut("")
        self.reopen()

    def cut(self, pattern: str) -> int:
        """End the answers to such requests; how many there were."""
        found = self._going(pattern)
        for one in found:
            one.cut()
        return len(found)

    def say(self, pattern: str, line: bytes) -> int:
        """Put a line into the answers to such requests, behind what they have said; how many there were."""
        found = self._going(pattern)
        for one in found:
            one.say(line)
        return len(found)

    def _going(self, pattern: str) -> list[apigate_passage.Stream]:
        with self.lock:
            return [one for one in self._streams if re.search(pattern, one.path)]

    def shut(self) -> None:
        """End all connections, and every new one at once."""
        self._is_shut = True
        self.forget()

    def open(self) -> None:
        """Answer again."""
        self._is_shut = False

    def close(self) -> None:
        """End everything."""
        self.shut()
        self.let_go()
        self._listener.shutdown()
        self._thread.join()
        self._listener.server_close()

    # --- for connections: see `apigate_passage.Gate` -------------------------------------------------------

    def accepts(self, sock: socket.socket) -> bool:
        """Whether a new connection is served."""
        with self.lock:
            if not self._is_shut:
                self._sockets.add(sock)
            return not self._is_shut

    def passing(self, method: str, path: str) -> apigate_passage.Passing:
        """A request has come: wait where it has to; what becomes of it."""
        generation = self._generation
        rule = self._rules.take(method, path)
        waits_behind = self.stop(method, path)
        return apigate_passage.Passing(rule, waits_behind, self._generation != generation)

    def connect(self) -> http.client.HTTPSConnection:
        """One connection to the server."""
        return http.client.HTTPSConnection(
            self._server_at.hostname or "",
            self._server_at.port or 443,
            context=self._cluster.trust,
            timeout=gating.PATIENCE * 10,
        )

    @property
    def headers(self) -> dict[str, str]:
        """By which the cluster knows us."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    @contextlib.contextmanager
    def streaming(self, stream: apigate_passage.Stream) -> Iterator[None]:
        """An answer, while it is on its way."""
        with self.lock:
            self._streams.append(stream)
        try:
            yield
        finally:
            with self.lock:
                self._streams.remove(stream)


def _token(path: str) -> str:
    """The token of a kubeconfig's user; empty where a certificate says who that is."""
    document = yaml.safe_load(pathlib.Path(path).read_text())
    contexts = {each["name"]: each["context"] for each in document["contexts"]}
    users = {each["name"]: each["user"] for each in document["users"]}
    return str(users[contexts[document["current-context"]]["user"]].get("token", ""))


@contextlib.contextmanager
def gate(cluster: cluster_support.Cluster, directory: pathlib.Path) -> Iterator[Gate]:
    """One before this cluster; its kubeconfig goes into the directory."""
    made = Gate(cluster, directory)
    try:
        yield made
    finally:
        made.close()

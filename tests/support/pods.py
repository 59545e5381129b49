"""A daemon whose runs are pods of a cluster, with a gate between the two, and what that leaves behind.

with pods.host(cluster, namespace) as host:
    run = host.create("echo up; sleep 600")
    host.logged(run, "up")
    host.gate.cut("watch=")
"""

from __future__ import annotations

import contextlib
import http.client
import json
import pathlib
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from typing import Any

import requests

from tests.support import apigate, daemon, unixrequests
from tests.support import cluster as cluster_support
from tests.support import commands as commands_support
from tygerd.engines.kubernetes import probing

CONFIG = """
[store]
flush_interval = "50ms"
[store.local]
listen = "{host}:0"
[engine]
use = "kubernetes"
[engine.kubernetes]
kubeconfig = "{kubeconfig}"
namespace = "{namespace}"
node_selector = {{}}
cancel_grace = 2
pump_image = "{registry}/tyger-pump:latest"
"""

KINDS = ("pods", "secrets", "services")

V = "api-version=1.0"

CLEAN = 120.0
"""Seconds until a test gives up waiting for nothing to be left: a kubelet that is busy takes its time."""


def answered(it: daemon.Daemon) -> None:
    """Until a daemon knows whether its cluster is there: one that has just started may refuse runs before."""
    deadline = time.monotonic() + CLEAN
    with unixrequests.session(it.socket) as session:
        while probing.UNKNOWN in (said := session.get("http://tyger/status").text):
            assert time.monotonic() < deadline, said


class Witness:
    """Sees every pod of a namespace that there ever is: `seen` are their uids, by name.

    `ended` are the moments (of the monotonic clock) at which it heard that all of a pod's containers had. It
    asks the cluster behind the gate. To be closed.
    """

    def __init__(self, gate: apigate.Gate, namespace: str) -> None:
        self.seen: dict[str, list[str]] = {}
        self.ended: dict[str, float] = {}
        self._gate = gate
        self._path = f"/api/v1/namespaces/{namespace}/pods"
        self._lock = threading.Lock()
        self._connection = self._connect()
        self._version = json.loads(self._ask("").read())["metadata"]["resourceVersion"]
        self._closed = False
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def pods(self, run: int) -> list[str]:
        """The uids of all pods that a run ever had."""
        with self._lock:
            return [uid for name, uids in self.seen.items() for uid in uids if name.split("-")[1] == str(run)]

    def name(self, run: int) -> str:
        """The name of a run's one pod."""
        with self._lock:
            (name,) = [name for name in self.seen if name.split("-")[1] == str(run)]
        return name

    def close(self) -> None:
        """Look no more."""
        self._closed = True
        while self._thread.is_alive():  # it may be about to connect
            with self._lock:
                sock = self._connection.sock
            if sock is not None:
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)
            self._thread.join(0.1)
        self._connection.close()

    def _connect(self) -> http.client.HTTPSConnection:
        made = self._gate.connect()
        made.connect()
        return made

    def _ask(self, query: str) -> http.client.HTTPResponse:
        self._connection.request("GET", self._path + query, headers=self._gate.headers)
        return self._connection.getresponse()

    def _watch(self) -> None:
        while not self._closed:
            with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
                for line in self._ask(f"?watch=1&timeoutSeconds=3600&resourceVersion={self._version}"):
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        break
                    self._take(event["object"])
            while not self._closed:
                self._connection.close()
                try:
                    made = self._connect()
                    with self._lock:
                        self._connection = made
                    listed = json.loads(self._ask("").read())
                    self._version = listed["metadata"]["resourceVersion"]
                except (OSError, ValueError, KeyError, http.client.HTTPException):
                    time.sleep(0.1)  # the API server is away: nothing tells when it is back
                else:
                    for pod in listed["items"]:
                        self._take(pod)
                    break

    def _take(self, pod: dict[str, Any]) -> None:
        metadata = pod["metadata"]
        self._version = metadata.get("resourceVersion", self._version)
        statuses = pod["status"].get("containerStatuses")
        with self._lock:
            uids = self.seen.setdefault(metadata["name"], [])
            if metadata["uid"] not in uids:
                uids.append(metadata["uid"])
            if statuses and all("terminated" in each["state"] for each in statuses):
                self.ended.setdefault(metadata["name"], time.monotonic())


class Host(commands_support.Logs):
    """A daemon, commands against it, and the cluster behind it."""

    def __init__(
        self,
        it: daemon.Daemon,
        cluster: cluster_support.Cluster,
        namespace: str,
        gate: apigate.Gate,
        witness: Witness,
    ) -> None:
        self.daemon = it
        self.cluster = cluster
        self.namespace = namespace
        self.at = f"/api/v1/namespaces/{namespace}"
        self.gate = gate
        self.witness = witness
        self.commands = commands_support.Commands(it.env)

    # --- asking the daemon -------------------------------------------------------------------------------

    def session(self) -> requests.Session:
        """To it as it is now."""
        return unixrequests.session(self.daemon.socket)

    def body(self, script: str, **more: Any) -> dict[str, Any]:
        """A run whose job is a line of shell in busybox."""
        given = {"inputs": (), "outputs": (), "image": self.cluster.busybox} | more
        names = {"inputs": list(given.pop("inputs")), "outputs": list(given.pop("outputs"))}
        codespec = {
            "kind": "job",
            "image": given.pop("image"),
            "command": ["sh", "-c", script],
            **({"buffers": names} if any(names.values()) else {}),
            **given.pop("codespec", {}),
        }
        return {"job": {"codespec": codespec, **given.pop("job", {})}, **given}

    def create(self, script: str, **more: Any) -> int:
        """Create a run; its number."""
        with self.session() as session:
            while (
                probing.UNKNOWN
                in (made := session.post(f"http://tyger/runs?{V}", json=self.body(script, **more))).text
            ):
                answered(self.daemon)
        assert made.status_code == 201, (made.text, self.gate.broken)
        return int(made.json()["id"])

    def show(self, run: int) -> dict[str, Any]:
        """A run as it is."""
        with self.session() as session:
            shown: dict[str, Any] = session.get(f"http://tyger/runs/{run}?{V}").json()
        return shown

    def ended(self, run: int) -> dict[str, Any]:
        """A run's last state, which is waited for."""
        return dict(self.commands.ended(run))

    def cancel(self, run: int) -> None:
        """Ask it to end."""
        with self.session() as session:
            assert session.post(f"http://tyger/runs/{run}/cancel?{V}").ok

    def log(self, run: int) -> list[str]:
        """A run's log, line by line.

        By a command, which waits to the end; a session leaves a stream that is quiet for a moment, as this
        one is while a daemon that has just started takes its runs up.
        """
        done = self.commands.run("run", "logs", run)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().splitlines()

    def ends(self, run: int, status: str = "Succeeded", reason: str = "") -> dict[str, Any]:
        """Until it has ended, in this way."""
        last = self.ended(run)
        assert last["status"] == status, last
        assert reason in last.get("statusReason", ""), last
        return last

    def works(self) -> None:
        """A run goes through, and leaves nothing."""
        self.ends(self.create("true"))
        self.clean()

    # --- asking the cluster ------------------------------------------------------------------------------

    @property
    def installation(self) -> str:
        """Whose objects these are."""
        catalog = sqlite3.connect(f"file:{self.daemon.state}/catalog.sqlite3?mode=ro", uri=True)
        with contextlib.closing(catalog):
            query = "SELECT value FROM settings WHERE key = 'installation'"
            ((installation,),) = catalog.execute(query)
        return str(installation)

    def pods(self, run: int) -> list[dict[str, Any]]:
        """Those that there are."""
        return self.cluster.pods(self.namespace, f"tyger-run={run}")

    def objects(self) -> list[str]:
        """All that there is of this installation."""
        paths = [f"{self.at}/{kind}" for kind in KINDS]
        paths.append(f"/apis/apps/v1/namespaces/{self.namespace}/statefulsets")
        query = f"?labelSelector=tyger-installation%3D{self.installation}"
        return [
            f"{path.rpartition('/')[2]}/{each['metadata']['name']}"
            for path in paths
            for each in self.cluster.get(path + query)["items"]
        ]

    def left(self) -> list[str]:
        """What is left of runs that have ended, in the state directory."""
        return sorted(
            f"{part}/{path.name}"
            for part in ("cluster", "runs")
            for path in pathlib.Path(self.daemon.state, part).glob("*")
            if path.name.isdigit()
        )

    def clean(self, seconds: float = CLEAN) -> None:
        """Until nothing is left of any run, which happens soon after its end."""
        deadline = time.monotonic() + seconds
        while found := self.objects() + self.left():
            assert time.monotonic() < deadline, found
            time.sleep(0.05)  # nothing tells when a directory is gone


@contextlib.contextmanager
def host(
    cluster: cluster_support.Cluster,
    namespace: str,
    config: str = "",
    *,
    start: bool = True,
    direct: bool = False,
) -> Iterator[Host]:
    """A daemon whose cluster is this one; `config` are further lines of its table.

    With `direct` it does not go through the gate, which costs processor time.
    """
    with daemon.directory() as place, apigate.gate(cluster, place) as gate:
        text = CONFIG.format(
            host=cluster.host,
            kubeconfig=cluster.kubeconfig if direct else gate.kubeconfig,
            namespace=namespace,
            registry=cluster.registry,
        )
        witness = Witness(gate, namespace)
        try:
            with daemon.daemon(config=text + config, start=start) as it:
                if start:
                    answered(it)
                made = Host(it, cluster, namespace, gate, witness)
                try:
                    yield made
                finally:
                    made.commands.close()
        finally:
            witness.close()

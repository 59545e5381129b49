"""Parts of a cluster stop for a while: what ran goes on, what ended meanwhile is found out, all of it once.

The cluster is one of this module's own. It takes minutes: `./just test-cluster -m long -k
faults_parts`.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import pathlib
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support import cluster as cluster_support
from tests.support import pods

pytestmark = pytest.mark.long

NUMBER = 7
"""Of the cluster: nobody else's."""

ETCD = f"http://127.0.0.1:{23790 + 10 * NUMBER}/v3/kv"
"""Where its etcd listens."""


@pytest.fixture(scope="module")
def own() -> Iterator[cluster_support.Cluster]:
    """One at a time, however many processes there are for tests."""
    lock = pathlib.Path(tempfile.gettempdir(), f"tyger-another-cluster-{NUMBER}.lock")
    with open(lock, "w") as file, contextlib.ExitStack() as stack:
        fcntl.flock(file, fcntl.LOCK_EX)
        made = stack.enter_context(cluster_support.another(NUMBER))
        made.image(made.busybox, {})
        yield made


@pytest.fixture(scope="module")
def host(own: cluster_support.Cluster) -> Iterator[pods.Host]:
    with own.namespace() as namespace, pods.host(own, namespace) as made:
        yield made


@pytest.fixture(autouse=True)
def _is_clean(host: pods.Host) -> Iterator[None]:
    """Nothing is left of any test."""
    yield
    host.clean(120)


def until(holds: Callable[[], object], seconds: float, what: str) -> None:
    """Look until something holds, which nothing tells of."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


def counting(seconds: int) -> str:
    """A job that prints a number ten times a second."""
    return f"for i in $(seq {seconds * 10}); do echo $i; usleep 100000; done"


def numbers(seconds: int) -> list[str]:
    return [str(number) for number in range(1, seconds * 10 + 1)]


def test_the_api_server_is_away_for_a_minute(host: pods.Host, own: cluster_support.Cluster) -> None:
    """One run ends meanwhile, one goes on over it; a new one is refused in a line, and later taken."""
    short, long = host.create(counting(10)), host.create(counting(75))
    for run in (short, long):
        host.logged(run, "1")
    own.script("stop", "apiserver")
    stopped = time.monotonic()
    until(lambda: "is not known" in host.daemon.log, 120, "the daemon has not noticed")
    with host.session() as session:
        time.sleep(6)  # what was found out of the cluster counts for five seconds
        refused = session.post(f"http://tyger/runs?{pods.V}", json=host.body("true"))
    assert refused.status_code == 503, refused.text
    assert "does not answer" in refused.json()["error"]["message"]
    assert {host.show(run)["status"] for run in (short, long)} == {"Running"}
    time.sleep(max(0.0, stopped + 60 - time.monotonic()))
    own.script("start", "apiserver")
    for run, seconds in ((short, 10), (long, 75)):
        host.ends(run)
        assert host.log(run) == numbers(seconds)
        assert len(host.witness.pods(run)) == 1
    host.works()


def test_a_run_is_cancelled_while_the_api_server_is_away(
    host: pods.Host, own: cluster_support.Cluster
) -> None:
    run = host.create("echo up; exec sleep 600")
    host.logged(run, "up")
    own.script("stop", "apiserver")
    host.cancel(run)
    own.script("start", "apiserver")
    host.ends(run, "Canceled", "Canceled by user")


def test_etcd_forgets_what_was(host: pods.Host, own: cluster_support.Cluster) -> None:
    """A watch goes on from a version that is compacted away, of a server that has just started: 410,
    really."""
    run = host.create(counting(8))
    host.logged(run, "1")
    host.gate.shut()
    for number in range(5):  # the newest version is never compacted
        own.post(f"{host.at}/configmaps", {"metadata": {"name": f"something-{number}"}})
    _compact()
    own.script("stop", "apiserver")
    own.script("start", "apiserver")
    before = len(host.gate.requests)
    host.gate.open()
    host.ends(run)
    assert host.log(run) == numbers(8)
    assert len(host.witness.pods(run)) == 1
    assert any("limit=" in request for request in host.gate.requests[before:])


def test_etcd_is_restarted(host: pods.Host, own: cluster_support.Cluster) -> None:
    run = host.create(counting(8))
    host.logged(run, "1")
    own.script("stop", "etcd")
    time.sleep(3)
    own.script("start", "etcd")
    host.ends(run)
    assert host.log(run) == numbers(8)


def test_a_node_is_not_ready(host: pods.Host, own: cluster_support.Cluster) -> None:
    """Its kubelet is away while the job ends; the run ends right once it is back."""
    run = host.create(counting(12))
    host.logged(run, "1")
    own.script("stop", "kubelet")

    def is_ready() -> bool:
        conditions = own.get("/api/v1/nodes/localhost")["status"]["conditions"]
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)

    until(lambda: not is_ready(), 180, "the node is ready without its kubelet")
    assert host.show(run)["status"] == "Running"
    own.script("start", "kubelet")
    host.ends(run)
    assert host.log(run) == numbers(12)
    until(is_ready, 180, "the node does not come back")


def test_the_runtime_is_restarted(host: pods.Host, own: cluster_support.Cluster) -> None:
    """Jobs go on without containerd; what they print meanwhile is in its pipes."""
    run = host.create(counting(8))
    host.logged(run, "1")
    own.script("stop", "containerd")
    time.sleep(1)
    own.script("start", "containerd")
    last = host.ended(run)
    assert last["status"] in ("Succeeded", "Failed"), last
    assert host.log(run)[:5] == numbers(8)[:5]


def _compact() -> None:
    """Have etcd forget all versions but the newest."""

    def ask(what: str, body: object) -> Any:
        request = urllib.request.Request(f"{ETCD}/{what}", json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    newest = ask("range", {"key": base64.b64encode(b"x").decode()})["header"]["revision"]
    ask("compaction", {"revision": newest, "physical": True})

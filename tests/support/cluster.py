"""A real Kubernetes for tests, and the least that asks its API, without any of the engine's code.

def test_it(cluster, namespace):                                # fixtures of tests/cluster/conftest.py
    cluster.post(f"/api/v1/namespaces/{namespace}/pods", pod)   # raises urllib.error.HTTPError
    cluster.host                                                # this machine's address, as pods see it

`tests/cluster/cluster with COMMAND` starts one and names it in the environment, for `./just test-cluster`.
Any other will do:

TYGER_TEST_KUBECONFIG          its kubeconfig: contexts as usual; a token or a client certificate
TYGER_TEST_CLUSTER_HOST        the address at which its pods reach this machine; needed
TYGER_TEST_CLUSTER_REGISTRY    where it pulls `busybox:1` and `tyger-pump:latest` from, or what their names
                               begin with where nodes have them; needed
TYGER_TEST_CLUSTER_NAMESPACE   the one in which the kubeconfig's user may do what packaging/kubernetes gives a
                               daemon, who then is no administrator; unset: tests make namespaces of their own
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import pathlib
import secrets
import ssl
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from tests.support import daemon, imagearchive
from tests.support import podman as podman_support

SCRIPT = daemon.ROOT / "tests/cluster/cluster"

MANIFESTS = daemon.ROOT / "packaging/kubernetes"

PATIENCE = 60
"""Seconds for one request."""

SCRIPT_PATIENCE = 300
"""Seconds for one command of the script: on a busy machine a cluster takes its time."""


class Cluster:
    """One that runs. `own` is the directory of one that the script has started: faults may be done to it."""

    def __init__(
        self,
        kubeconfig: str,
        host: str,
        registry: str,
        own: pathlib.Path | None,
        *,
        only: str | None = None,
    ) -> None:
        """`only` is the one namespace that there is for us, where we are no administrator."""
        self.kubeconfig = kubeconfig
        self.host = host
        self.registry = registry
        self.own = own
        self.only = only
        document = yaml.safe_load(pathlib.Path(kubeconfig).read_text())
        named = {
            kind: {each["name"]: each for each in document[kind]}
            for kind in ("clusters", "users", "contexts")
        }
        context = named["contexts"][document["current-context"]]["context"]
        self._server = named["clusters"][context["cluster"]]["cluster"]
        self._user = named["users"][context["user"]].get("user") or {}
        self.server: str = self._server["server"]
        self.trust = self._trust()

    def _trust(self) -> ssl.SSLContext:
        trust = ssl.create_default_context(cafile=self._file(self._server, "certificate-authority"))
        if self._server.get("insecure-skip-tls-verify"):
            trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
        if (certificate := self._file(self._user, "client-certificate")) is not None:
            trust.load_cert_chain(certificate, self._file(self._user, "client-key"))
        return trust

    def _file(self, table: Mapping[str, str], key: str) -> str | None:
        """The path of what stands in a kubeconfig as a path, or as base64 under the same key with `-data`."""
        if (data := table.get(f"{key}-data")) is None:
            named = table.get(key)
            return str(pathlib.Path(self.kubeconfig).parent / named) if named else None
        path = pathlib.Path(tempfile.mkdtemp(prefix="tyger-kubeconfig-")) / "pem"
        path.write_bytes(base64.b64decode(data))
        return str(path)

    @property
    def busybox(self) -> str:
        """An image of busybox alone, with a link in /bin for each applet; it runs as root."""
        return f"{self.registry}/busybox:1"

    def ask(
        self, method: str, path: str, body: object = None, *, kind: str = "application/json", token: str = ""
    ) -> bytes:
        """One exchange with the API server, as the kubeconfig's user or with this token; the answer's body.

        Raises urllib.error.HTTPError; its text is the server's own words.
        """
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.server + path, data, {"Content-Type": kind}, method=method)
        if token or (token := self._user.get("token", "")):
            request.add_header("Authorization", f"Bearer {token}")
        with urllib.request.urlopen(request, context=self.trust, timeout=PATIENCE) as answer:
            said: bytes = answer.read()
        return said

    def get(self, path: str) -> Any:
        """An object, or a list of objects."""
        return json.loads(self.ask("GET", path))

    def post(self, path: str, body: object) -> Any:
        """Create an object; what has become of it."""
        return json.loads(self.ask("POST", path, body))

    def patch(self, path: str, body: object) -> Any:
        """Change an object by RFC 7396."""
        return json.loads(self.ask("PATCH", path, body, kind="application/merge-patch+json"))

    def delete(self, path: str, *, grace: int | None = None) -> None:
        """Delete an object, or a collection of them; it may be gone already."""
        try:
            self.ask("DELETE", path, {} if grace is None else {"gracePeriodSeconds": grace})
        except urllib.error.HTTPError as error:
            error.close()
            if error.code != 404:
                raise

    def pods(self, namespace: str, selector: str = "") -> list[dict[str, Any]]:
        """Those with these labels (`tyger-run=7`)."""
        found: list[dict[str, Any]] = self.get(
            f"/api/v1/namespaces/{namespace}/pods?labelSelector={selector.replace('=', '%3D')}"
        )["items"]
        return found

    def as_administrator(self) -> None:
        """Skips where the kubeconfig's user is none."""
        if self.only is not None:
            pytest.skip("this needs an administrator of the cluster, which the kubeconfig's user is not")

    def tells_streams(self) -> bool:
        """Whether it can tell the two streams of a log apart: then it names them to who asks for a third."""
        path = f"/api/v1/namespaces/{self.only or 'default'}/pods/tyger-test-none/log?stream=Neither"
        with pytest.raises(urllib.error.HTTPError) as caught:
            self.ask("GET", path)
        with caught.value as error:
            return error.code == 422 and b"Unsupported value" in error.read()

    @contextlib.contextmanager
    def namespace(self, **labels: str) -> Iterator[str]:
        """A namespace of a test's own, with the accounts that runs need; `_` in labels stands for `-`."""
        if self.only is not None:
            if labels:
                self.as_administrator()
            with self._only() as name:
                yield name
            return
        name = f"tyger-test-{secrets.token_hex(4)}"
        marks = {key.replace("_", "-"): value for key, value in labels.items()}
        self.post("/api/v1/namespaces", {"metadata": {"name": name, "labels": marks}})
        at = f"/api/v1/namespaces/{name}"
        try:
            for manifest in ("daemon", "jobs"):
                self.apply(MANIFESTS / f"base/{manifest}.yaml", name)
            # Pods are refused until the account is there, which somebody else makes.
            self.watch_for(f"{at}/serviceaccounts", "default")
            yield name
        finally:
            self.delete(at)
            for pod in self.pods(name):  # nobody else will
                if pod["metadata"].get("finalizers"):
                    with contextlib.suppress(urllib.error.HTTPError):
                        self.patch(f"{at}/pods/{pod['metadata']['name']}", {"metadata": {"finalizers": None}})

    @contextlib.contextmanager
    def _only(self) -> Iterator[str]:
        """The one that there is, for one process at a time; what is made meanwhile is taken away."""
        assert self.only is not None
        name = self.only
        lock = pathlib.Path(tempfile.gettempdir(), f"tyger-test-namespace-{name}.lock")
        with open(lock, "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            before = set(self._everything(name))
            try:
                yield name
            finally:
                for path in set(self._everything(name)) - before:
                    with contextlib.suppress(urllib.error.HTTPError):
                        if "/pods/" in path:
                            self.patch(path, {"metadata": {"finalizers": None}})
                        self.delete(path, grace=0)

    def _everything(self, namespace: str) -> Iterator[str]:
        """The paths of all objects of a kind that tests make."""
        core = f"/api/v1/namespaces/{namespace}"
        kinds = [f"/apis/apps/v1/namespaces/{namespace}/statefulsets"]
        for kind in [*kinds, *(f"{core}/{kind}" for kind in ("pods", "services", "secrets"))]:
            for each in self.get(kind)["items"]:
                yield f"{kind}/{each['metadata']['name']}"

    def apply(self, manifest: pathlib.Path, namespace: str) -> None:
        """Create in this namespace what a file of packaging/kubernetes describes."""
        for document in yaml.safe_load_all(manifest.read_text()):
            document["metadata"]["namespace"] = namespace
            for subject in document.get("subjects", ()):
                subject["namespace"] = namespace
            version = document["apiVersion"]
            group = f"/apis/{version}" if "/" in version else f"/api/{version}"
            self.post(f"{group}/namespaces/{namespace}/{document['kind'].lower()}s", document)

    def watch_for(self, path: str, name: str) -> None:
        """Until an object with this name is in a collection."""
        query = (
            f"{path}?watch=1&resourceVersion=0&timeoutSeconds={PATIENCE}&fieldSelector=metadata.name%3D{name}"
        )
        request = urllib.request.Request(self.server + query)
        if token := self._user.get("token", ""):
            request.add_header("Authorization", f"Bearer {token}")
        with urllib.request.urlopen(request, context=self.trust, timeout=PATIENCE) as answer:
            for line in answer:
                if json.loads(line)["type"] in {"ADDED", "MODIFIED"}:
                    return
        raise AssertionError(f"{path} has got no {name}")

    def furnish(self) -> None:
        """Give one's own cluster the image `busybox` unless it has it; many processes may want to at once."""
        assert self.own is not None
        with open(self.own / "furnished", "a+") as marker:
            fcntl.flock(marker, fcntl.LOCK_EX)
            if not marker.tell():
                self.image(self.busybox, {})
                marker.write("busybox\n")

    def load(self, archive: pathlib.Path | str) -> None:
        """Give an image (an archive as `docker save` writes it) to the node of one's own cluster."""
        self.script("image", str(archive))

    def image(self, name: str, files: Mapping[str, bytes], *, env: tuple[str, ...] = ("PATH=/bin",)) -> str:
        """Make an image of busybox and these files (paths without the first slash) and load it; its name."""
        with tempfile.TemporaryDirectory(prefix="tyger-image-") as place:
            archive = pathlib.Path(place) / "image.tar"
            imagearchive.write(archive, name, podman_support.root_filesystem(files), env=env)
            self.load(archive)
        return name

    def script(self, *arguments: str) -> None:
        """One of the script's commands on one's own cluster: `stop apiserver`. Skips with somebody else's."""
        if self.own is None:
            pytest.skip("this cluster is somebody else's, and must not be disturbed")
        subprocess.run(
            [str(SCRIPT), *arguments],
            env=os.environ | {"CLUSTER_DIR": str(self.own), "CLUSTER_NUMBER": self.host.split(".")[2]},
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            timeout=SCRIPT_PATIENCE,
        )


def named() -> Cluster:
    """The cluster of the environment, with busybox in it. Skips the test where there is none."""
    if not (kubeconfig := os.environ.get("TYGER_TEST_KUBECONFIG")):
        reason = os.environ.get("TYGER_TEST_CLUSTER_MISSING", "no cluster: ./just test-cluster starts one")
        pytest.skip(reason)
    if (own := os.environ.get("CLUSTER_DIR")) is None:
        needed = ("TYGER_TEST_CLUSTER_HOST", "TYGER_TEST_CLUSTER_REGISTRY")
        if lacking := [name for name in needed if not os.environ.get(name)]:
            raise AssertionError(f"TYGER_TEST_KUBECONFIG alone is not enough: set {' and '.join(lacking)}")
        host, registry = (os.environ[name] for name in needed)
        only = os.environ.get("TYGER_TEST_CLUSTER_NAMESPACE")
        return Cluster(kubeconfig, host, registry, None, only=only)
    host = f"10.77.{os.environ.get('CLUSTER_NUMBER', '0')}.1"
    cluster = Cluster(kubeconfig, host, "localhost", pathlib.Path(own))
    cluster.furnish()
    return cluster


@contextlib.contextmanager
def another(number: int) -> Iterator[Cluster]:
    """A second cluster, for tests that stop its parts; `number` is one that nobody else uses (1 to 9)."""
    lacks = subprocess.run([str(SCRIPT), "missing"], capture_output=True, text=True, check=False)
    if lacks.returncode:
        pytest.skip(lacks.stdout.strip())
    with tempfile.TemporaryDirectory(prefix="tyger-another-cluster-", dir="/tmp") as place:
        env = os.environ | {"CLUSTER_NUMBER": str(number), "CLUSTER_DIR": f"{place}/c"}
        try:
            subprocess.run(
                [str(SCRIPT), "up"], env=env, check=True, stdout=subprocess.DEVNULL, timeout=SCRIPT_PATIENCE
            )
            yield Cluster(f"{place}/c/kubeconfig", f"10.77.{number}.1", "localhost", pathlib.Path(place, "c"))
        finally:
            subprocess.run([str(SCRIPT), "down"], env=env, check=True, timeout=SCRIPT_PATIENCE)

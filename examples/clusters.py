"""The demo's cluster: one of its own, or any that a kubeconfig names; and images for nodes that pull none.

A cluster of its own is the tests' (`tests/cluster/cluster`), which `./just setup-cluster` makes possible. To
any other, images are given by a command, such as `kind load image-archive`. Standard library and PyYAML only.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pathlib
import shlex
import ssl
import subprocess
import sys
import tarfile
import threading
import urllib.error
import urllib.request
from typing import NamedTuple

import images
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "tests/cluster/cluster"
MANIFESTS = ROOT / "packaging/kubernetes/base"
PUMP = "localhost/tyger-pump"


class ClusterError(Exception):
    """There is no such cluster; the text is one line for the user."""


class Cluster(NamedTuple):
    """Where runs go. `host` is this machine's address as pods see it; `load` takes an archive's path."""

    kubeconfig: str
    namespace: str
    host: str
    pump_image: str
    load: list[str] | None

    def config(self) -> str:
        """What `tygerd.toml` says of it. Buffers are the daemon's own, whose data plane pods reach."""
        return (
            f'[store.local]\nlisten = "{self.host}:0"\n'
            '[engine]\nuse = "kubernetes"\n'
            f'[engine.kubernetes]\nkubeconfig = "{self.kubeconfig}"\nnamespace = "{self.namespace}"\n'
            f'node_selector = {{}}\npull = "missing"\npump_image = "{self.pump_image}"\n'
        )

    def give(self, place: pathlib.Path, name: str, image: images.Image | None) -> None:
        """Make an image (None: that of the pump) and give it to the nodes; `place` is for the archive."""
        archive = place / "image.tar"
        if image is None:
            script = str(ROOT / "packaging/container/image.py")
            _call([sys.executable, script, "--name", name.rpartition(":")[0], "--output", str(archive)])
        else:
            write(archive, name, image)
        _call([*(self.load or ()), str(archive)])
        archive.unlink()


def find(
    kubeconfig: str | None, namespace: str, host: str | None, pump_image: str | None, load: str | None
) -> Cluster:
    """The cluster that was named; else one of our own, in which this program is started once more.

    Raises:
        ClusterError: there is none.
    """
    if kubeconfig is not None:
        if host is None:
            raise ClusterError("say at which address pods reach this machine: --host ADDRESS")
        return Cluster(
            kubeconfig, namespace, host, pump_image or f"{PUMP}:latest", shlex.split(load) if load else None
        )
    if (own := os.environ.get("TYGER_TEST_KUBECONFIG")) is None:
        if (why := os.environ.get("TYGER_TEST_CLUSTER_MISSING")) is not None:
            raise ClusterError(f"there can be no cluster here: {why}; or name one: --kubeconfig FILE")
        os.execv(SCRIPT, [str(SCRIPT), "with", sys.executable, *sys.argv])  # noqa: S606 - no shell is wanted
    directory, number = os.environ["CLUSTER_DIR"], os.environ.get("CLUSTER_NUMBER", "0")
    _prepare(f"https://10.78.{number}.1", f"{directory}/pki/ca.crt", namespace)
    return Cluster(own, namespace, f"10.77.{number}.1", f"{PUMP}:latest", [str(SCRIPT), "image"])


def _prepare(server: str, authority: str, namespace: str) -> None:
    """What `kubectl apply -k packaging/kubernetes/base` does, in a cluster of our own."""
    trust = ssl.create_default_context(cafile=authority)
    parts = yaml.safe_load((MANIFESTS / "kustomization.yaml").read_text())["resources"]
    for part in parts:
        for item in yaml.safe_load_all((MANIFESTS / part).read_text()):
            group = "apis" if "/" in item["apiVersion"] else "api"
            path = f"{server}/{group}/{item['apiVersion']}/"
            if item["kind"] == "Namespace":
                item["metadata"]["name"] = namespace
            else:
                path += f"namespaces/{namespace}/"
                for place in (item["metadata"], *item.get("subjects", ())):
                    place["namespace"] = namespace
            headers = {"Authorization": "Bearer admin", "Content-Type": "application/json"}
            url, body = f"{path}{item['kind'].lower()}s", json.dumps(item).encode()
            request = urllib.request.Request(url, body, headers)  # noqa: S310 - our own cluster's
            try:
                urllib.request.urlopen(request, context=trust, timeout=30).close()  # noqa: S310 - as above
            except urllib.error.HTTPError as error:
                if error.code != 409:  # it is there
                    raise ClusterError(error.read().decode()) from error


def write(archive: pathlib.Path, name: str, image: images.Image) -> None:
    """Write an image as `docker save` does: one layer, and what the image says of itself."""
    layer = archive.with_suffix(".layer")
    with open(layer, "wb") as file:
        packer = threading.Thread(target=images.pack, args=(image.files, os.dup(file.fileno())))
        packer.start()
        packer.join()
    with open(layer, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    said: dict[str, object] = {}
    for word, value in (change.split(" ", 1) for change in image.changes):
        if word == "ENV":
            said["Env"] = [*said.get("Env", []), value]  # type: ignore[misc]
        else:
            said[word.capitalize()] = json.loads(value)
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    layers = {"type": "layers", "diff_ids": [f"sha256:{digest}"]}
    config = {"architecture": machine, "os": "linux", "config": said, "rootfs": layers}
    full = name if ":" in name.rpartition("/")[2] else f"{name}:latest"
    manifest = [{"Config": "config.json", "RepoTags": [full], "Layers": ["layer.tar"]}]
    with tarfile.open(archive, "w") as tar:
        for path, data in (("config.json", config), ("manifest.json", manifest)):
            text = json.dumps(data).encode()
            entry = tarfile.TarInfo(path)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text))
        tar.add(layer, "layer.tar")
    layer.unlink()


def _call(command: list[str]) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["no word"]
        raise ClusterError(f"{shlex.join(command)}: {said[-1]}")

"""The manifests of packaging/kubernetes, for a cluster; read as they are, as not each host has kustomize."""

import base64
import json
import pathlib
import shutil
import subprocess
import tempfile

import yaml

from tests.support import daemon
from tygerd import enginesettings
from tygerd.engines.kubernetes import kubeconfig as kubeconfigs

DIRECTORY = daemon.ROOT / "packaging/kubernetes"


def base(namespace):
    """What `base` says, in another namespace; the first object is that."""
    return [
        _moved(each, namespace)
        for name in yaml.safe_load((DIRECTORY / "base/kustomization.yaml").read_text())["resources"]
        for each in yaml.safe_load_all((DIRECTORY / "base" / name).read_text())
    ]


def _moved(item, namespace):
    if item["kind"] == "Namespace":
        return item | {"metadata": item["metadata"] | {"name": namespace}}
    moved = item | {"metadata": item["metadata"] | {"namespace": namespace}}
    if "subjects" in item:
        moved["subjects"] = [subject | {"namespace": namespace} for subject in item["subjects"]]
    return moved


def kustomized(overlay, namespace=None):
    """What kustomize makes of an overlay; None where there is none."""
    if (kubectl := shutil.which("kubectl")) is None:
        return None
    with tempfile.TemporaryDirectory(prefix="tyger-kustomize-", dir="/tmp") as place:
        # Below a directory of its own, as kustomize goes by relative paths only.
        shutil.copytree(DIRECTORY, pathlib.Path(place, "k"))
        chosen = f"k/{overlay}"
        if namespace is not None:
            text = yaml.safe_dump({"namespace": namespace, "resources": [chosen]})
            pathlib.Path(place, "kustomization.yaml").write_text(text)
            chosen = "."
        made = subprocess.run(
            [kubectl, "kustomize", chosen], cwd=place, capture_output=True, check=True, timeout=60
        )
    return list(yaml.safe_load_all(made.stdout))


def token(cluster, namespace, account, seconds=3600):
    """A token of an account. Skips where only an administrator could have one."""
    cluster.as_administrator()
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
    return cluster.post(path, {"spec": {"expirationSeconds": seconds}})["status"]["token"]


def kubeconfig(cluster, user, **context):
    """The text of a kubeconfig that leads to a cluster as another user; `user` is its entry."""
    target = kubeconfigs.load(enginesettings.Kubernetes(kubeconfig=cluster.kubeconfig), {})
    entry = {"server": target.server, "insecure-skip-tls-verify": target.insecure}
    if target.authority is not None:
        entry["certificate-authority-data"] = base64.b64encode(target.authority).decode()
    said = {
        "current-context": "test",
        "clusters": [{"name": "c", "cluster": entry}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "test", "context": {"cluster": "c", "user": "u", **context}}],
    }
    return json.dumps(said)

"""A daemon that is a pod: it finds the cluster by its own account, with packaging/kubernetes's rights."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.support import cluster as cluster_support
from tests.support import daemonimage

IMAGE = "tyger-test-daemon:1"

PATIENCE = 600
"""Seconds for all of it: a daemon's start, and two runs."""

CONFIG = """
[store.local]
listen = "0.0.0.0:8443"
advertise = "https://tygerd.{namespace}:8443"
[engine]
use = "kubernetes"
[engine.kubernetes]
node_selector = {{}}
pump_image = "{pump}"
cancel_grace = 1
"""
"""Neither a kubeconfig nor a namespace: both are those of the pod's account."""

CLIENT = """
set -e
until [ -S $TYGER_SOCKET ]; do sleep 0.1; done
while tyger status | grep 'has not answered yet'; do :; done >&2
for kind in stored ephemeral; do
    seq 20000 | tyger run exec -f /etc/tyger/$kind.yml >/tmp/out
    seq 20000 | tr 0-9 a-j | cmp - /tmp/out
    echo $kind
done
tyger run list | tr -d ' \\n'
"""

ENFORCE = "pod-security.kubernetes.io/enforce"


def run_file(image: str, buffers: dict[str, str]) -> str:
    """Of a job that changes what it reads."""
    codespec = {
        "image": image,
        "buffers": {"inputs": ["in"], "outputs": ["out"]},
        "command": ["sh", "-c", "tr 0-9 a-j <$IN_PIPE >$OUT_PIPE"],
    }
    return json.dumps({"job": {"codespec": codespec, "buffers": buffers}, "timeoutSeconds": PATIENCE})


def objects(cluster: cluster_support.Cluster, namespace: str, pump: str) -> list[tuple[str, dict[str, Any]]]:
    """What an operator would create: settings, a name by which pods reach the daemon, and the daemon."""
    settings = {
        "tygerd.toml": CONFIG.format(namespace=namespace, pump=pump),
        "stored.yml": run_file(cluster.busybox, {}),
        "ephemeral.yml": run_file(cluster.busybox, {"in": "_", "out": "_"}),
    }
    labels = {"app": "tygerd"}
    places = {"settings": "/etc/tyger", "run": "/run/tyger", "state": "/var/lib/tyger", "tmp": "/tmp"}
    common = {
        "image": f"{cluster.registry}/{IMAGE}",
        "imagePullPolicy": "Never",
        "env": [
            {"name": "TYGER_SOCKET", "value": "/run/tyger/s"},
            {"name": "TYGER_AUTOSTART", "value": "0"},
            {"name": "HOME", "value": "/tmp"},
            {"name": "PATH", "value": "/usr/bin:/bin"},
        ],
        "volumeMounts": [{"name": name, "mountPath": path} for name, path in places.items()],
        "securityContext": {"runAsUser": 1000, "readOnlyRootFilesystem": True},
    }
    serve = ["tygerd", "serve", "--socket", "/run/tyger/s", "--state", "/var/lib/tyger/state"]
    pod = {
        "serviceAccountName": "tygerd",
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
        "containers": [
            {**common, "name": "tygerd", "command": [*serve, "--config", "/etc/tyger/tygerd.toml"]},
            {**common, "name": "client", "command": ["sh", "-c", CLIENT]},
        ],
        "volumes": [
            {"name": "settings", "configMap": {"name": "tygerd"}},
            *({"name": name, "emptyDir": {}} for name in places if name != "settings"),
        ],
    }
    service = {"clusterIP": "None", "selector": labels, "publishNotReadyAddresses": True}
    return [
        ("configmaps", {"metadata": {"name": "tygerd"}, "data": settings}),
        ("services", {"metadata": {"name": "tygerd"}, "spec": service}),
        ("pods", {"metadata": {"name": "tygerd", "labels": labels}, "spec": pod}),
    ]


def test_runs_of_a_daemon_in_a_pod(cluster: cluster_support.Cluster, pump_image: str) -> None:
    """With buffers in its own store, which pods reach by a service's name, and with ephemeral ones."""
    if cluster.own is None:
        pytest.skip("images are given to the nodes of our own cluster only")
    cluster.image(f"{cluster.registry}/{IMAGE}", daemonimage.files())
    with cluster.namespace(**{ENFORCE: "baseline"}) as namespace:
        at = f"/api/v1/namespaces/{namespace}"
        for kind, body in objects(cluster, namespace, pump_image):
            cluster.post(f"{at}/{kind}", body)
        deadline = time.monotonic() + PATIENCE
        while (ended := _ended(pod := cluster.get(f"{at}/pods/tygerd"), "client")) is None:
            assert _ended(pod, "tygerd") is None, _said(cluster, at)
            assert time.monotonic() < deadline, _said(cluster, at)
            time.sleep(0.5)
        assert ended == 0, _said(cluster, at)
        printed = cluster.ask("GET", f"{at}/pods/tygerd/log?container=client").decode()
        assert '"status":"Succeeded"' in printed
        assert [line for line in printed.splitlines() if line in ("stored", "ephemeral")] == [
            "stored",
            "ephemeral",
        ]
        while left := [each["metadata"]["name"] for each in cluster.pods(namespace, "tyger-run")]:
            assert time.monotonic() < deadline, left
            time.sleep(0.5)


def _ended(pod: dict[str, Any], container: str) -> int | None:
    """A container's exit code, once it has ended."""
    for status in pod["status"].get("containerStatuses", ()):
        if status["name"] == container and "terminated" in status["state"]:
            code: int = status["state"]["terminated"]["exitCode"]
            return code
    return None


def _said(cluster: cluster_support.Cluster, at: str) -> str:
    """All that is known, for whoever has to find out."""
    logs = [
        cluster.ask("GET", f"{at}/pods/tygerd/log?container={name}").decode() for name in ("client", "tygerd")
    ]
    return "\n".join([json.dumps(cluster.get(f"{at}/pods/tygerd")["status"]), *logs])

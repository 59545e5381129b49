"""A daemon with exactly the rights of packaging/kubernetes runs jobs of all kinds, and uses each of them."""

from __future__ import annotations

import contextlib
import json
import pathlib
import random
import re
from collections.abc import Iterator

import pytest

from tests.support import apigate, daemon, manifests, pods
from tests.support import cluster as cluster_support
from tests.support import commands as commands_support
from tygerd.engines.kubernetes import rights

REQUEST = re.compile(
    r"(?P<method>[A-Z]+) /(?:api/v1|apis/(?P<group>[a-z.0-9-]+)/v1)/namespaces/[^/]+/(?P<kind>[a-z]+)"
    r"(?:/(?P<name>[^/?]+))?(?:/(?P<part>[a-z]+))?(?:\?(?P<query>.*))?"
)

VERBS = {"POST": "create", "DELETE": "delete", "PATCH": "patch"}

FORWARDS = {("", "pods/portforward", verb) for verb in ("create", "get")}
"""Of ephemeral buffers; versions of Kubernetes differ in which of the two they ask for."""


@pytest.fixture
def host(cluster: cluster_support.Cluster, namespace: str, pump_image: str) -> Iterator[pods.Host]:
    """A daemon that is the account of the manifests, whose jobs are the other one."""
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(daemon.directory())
        gate = stack.enter_context(apigate.gate(cluster, place))
        config = pods.CONFIG.format(
            host=cluster.host, kubeconfig=gate.kubeconfig, namespace=namespace, registry=cluster.registry
        )
        witness = pods.Witness(gate, namespace)
        stack.callback(witness.close)
        it = stack.enter_context(daemon.daemon(config=config, start=False))
        gate.token = manifests.token(cluster, namespace, "tygerd")
        it.start()
        pods.answered(it)
        made = pods.Host(it, cluster, namespace, gate, witness)
        stack.callback(made.commands.close)
        yield made


def used(requests: list[str]) -> set[tuple[str, str, str]]:
    """Group, kind and verb of each, as a cluster sees them."""
    found = set()
    for request in requests:
        if " /version" in request or "selfsubjectaccessreviews" in request:
            continue  # what everybody may do
        match = REQUEST.fullmatch(request)
        assert match is not None, request
        verb = VERBS.get(match["method"], "get" if match["name"] else "list")
        verb = "watch" if "watch=true" in (match["query"] or "") else verb
        part = f"/{match['part']}" if match["part"] else ""
        found.add((match["group"] or "", match["kind"] + part, verb))
    return found


def test_each_right_is_used_and_no_other(host: pods.Host) -> None:
    for pattern in ("/secrets$", "/pods$", "/services$", "/statefulsets$"):
        host.gate.lose("POST", pattern)  # so that what there is has to be looked at
    worker = {"codespec": {"kind": "worker", "image": host.cluster.busybox, "command": ["sleep", "600"]}}
    run = host.create("echo out | tee $OUT_PIPE", outputs=["out"], worker=worker)
    host.ends(run)
    assert host.log(run)[-1].endswith("out")
    run = host.create("echo up; exec sleep 600", outputs=["out"])
    host.logged(run, "up")
    forgotten = {"tyger-installation": host.installation, "tyger-run": "999"}
    host.cluster.post(
        f"{host.at}/services",
        {"metadata": {"name": "forgotten", "labels": forgotten}, "spec": {"clusterIP": "None"}},
    )
    host.daemon.restart()  # whoever takes a run over renews its access URLs, and looks for what nobody knows
    host.logged(run, "up")
    host.cancel(run)
    host.ends(run, "Canceled")
    host.clean()
    given = {(right.group, right.resource, verb) for right in rights.REQUIRED for verb in right.verbs}
    assert used(host.gate.requests) | FORWARDS == given


def test_ephemeral_buffers(
    cluster: cluster_support.Cluster, namespace: str, pump_image: str, tmp_path: pathlib.Path
) -> None:
    """They go by a way that cannot lead through the gate: which verb counts is the cluster's affair."""
    kubeconfig = tmp_path / "kubeconfig"
    token = manifests.token(cluster, namespace, "tygerd")
    kubeconfig.write_text(manifests.kubeconfig(cluster, {"token": token}))
    config = pods.CONFIG.format(
        host=cluster.host, kubeconfig=kubeconfig, namespace=namespace, registry=cluster.registry
    )
    data = random.Random(7).randbytes(1_000_000)
    codespec = {
        "image": cluster.busybox,
        "buffers": {"inputs": ["in"], "outputs": ["out"]},
        "command": ["sh", "-c", "cat <$IN_PIPE >$OUT_PIPE"],
    }
    file = tmp_path / "run.yml"
    file.write_text(json.dumps({"job": {"codespec": codespec, "buffers": {"in": "_", "out": "_"}}}))
    with daemon.daemon(config=config) as it, commands_support.commands(it) as commands:
        pods.answered(it)
        done = commands.run("run", "exec", "-f", file, data=data)
    assert (done.returncode, done.stdout) == (0, data), done.stderr

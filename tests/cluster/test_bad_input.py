"""A cluster that cannot be used, and runs that it cannot have: a line each, with what there is to do."""

from __future__ import annotations

import contextlib
import json
import pathlib
import time
from collections.abc import Callable, Iterator

import pytest

from tests.support import cluster as cluster_support
from tests.support import commands as commands_support
from tests.support import daemon, manifests, pods
from tests.support.commands import complaint

JOB = {"job": {"codespec": {"image": "localhost/busybox:1", "command": ["true"]}}}


def attempt(commands: commands_support.Commands, place: pathlib.Path) -> commands_support.Done:
    """Create a run."""
    path = place / "run.yml"
    path.write_text(json.dumps(JOB))
    return commands.run("run", "create", "-f", path)


def refused(text: str, namespace: str, *, more: str = "") -> tuple[int, str]:
    """What somebody is told who creates a run where the kubeconfig is this text."""
    with daemon.directory() as place:
        path = place / "kubeconfig"
        path.write_text(text)
        config = pods.CONFIG.format(
            host="127.0.0.1", kubeconfig=path, namespace=namespace, registry="localhost"
        )
        with daemon.daemon(config=config + more) as it, commands_support.commands(it) as commands:
            pods.answered(it)
            done = attempt(commands, place)
            listed = commands.run("run", "list")
        assert json.loads(listed.stdout or "[]") == []
        said = complaint(done)
        said = said.replace(str(path), "KUBECONFIG")
    assert done.returncode
    return done.returncode, said


def test_there_is_no_kubeconfig(namespace: str) -> None:
    with daemon.directory() as place:
        config = pods.CONFIG.format(
            host="127.0.0.1", kubeconfig=place / "gone", namespace=namespace, registry="localhost"
        )
        with daemon.daemon(config=config) as it, commands_support.commands(it) as commands:
            pods.answered(it)
            done = attempt(commands, place)
    assert f"cannot read the kubeconfig {place}/gone: No such file or directory" in complaint(done)


def test_a_kubeconfig_that_is_none(namespace: str) -> None:
    _code, said = refused("- nonsense", namespace)
    assert "cannot reach the cluster: KUBECONFIG is no kubeconfig: it is not a table" in said


def test_the_wrong_context(cluster: cluster_support.Cluster, namespace: str) -> None:
    text = manifests.kubeconfig(cluster, {"token": "x"})
    _code, said = refused(text, namespace, more='context = "prod"\n')
    assert "cannot reach the cluster: KUBECONFIG does not have the context 'prod'; there are test" in said


def test_nobody_is_there(cluster: cluster_support.Cluster, namespace: str) -> None:
    said = json.loads(manifests.kubeconfig(cluster, {"token": "x"}))
    said["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    code, words = refused(json.dumps(said), namespace)
    assert "the API server https://127.0.0.1:1 does not answer: Connection refused" in words
    assert code == 69


def test_another_cluster_is_there(cluster: cluster_support.Cluster, namespace: str) -> None:
    said = json.loads(manifests.kubeconfig(cluster, {"token": "x"}))
    del said["clusters"][0]["cluster"]["certificate-authority-data"]
    _code, words = refused(json.dumps(said), namespace)
    assert "is not to be trusted: certificate verify failed: " in words


def test_credentials_that_have_expired(cluster: cluster_support.Cluster, namespace: str) -> None:
    _code, said = refused(manifests.kubeconfig(cluster, {"token": "expired"}), namespace)
    assert "does not accept who we are (Unauthorized); renew the credentials in KUBECONFIG" in said


def test_rights_that_lack(cluster: cluster_support.Cluster, namespace: str) -> None:
    token = manifests.token(cluster, namespace, "tyger-job")
    _code, said = refused(manifests.kubeconfig(cluster, {"token": token}), namespace)
    assert "does not let us create and delete and list and patch and watch pods" in said
    assert f"in the namespace {namespace}; apply packaging/kubernetes/base" in said


# --- credentials that end while a run is there -------------------------------------------------------------


@pytest.fixture
def host(cluster: cluster_support.Cluster, namespace: str, pump_image: str) -> Iterator[pods.Host]:
    with pods.host(cluster, namespace) as made:
        yield made


def test_credentials_that_end_under_a_run(host: pods.Host) -> None:
    """The run goes on, and its end is told once somebody has renewed them."""
    waits_for = host.commands.buffer()
    run = host.create("echo up; cat $IN_PIPE; echo out", inputs=["in"], job={"buffers": {"in": waits_for}})
    host.logged(run, "up")
    good, host.gate.token = host.gate.token, "expired"
    host.gate.cut("")
    deadline = time.monotonic() + daemon.PATIENCE
    while "does not accept who we are" not in host.daemon.log:
        assert time.monotonic() < deadline
        time.sleep(0.05)  # only its log tells
    assert host.show(run)["status"] == "Running"
    assert host.commands.run("buffer", "write", waits_for, data=b"now\n").returncode == 0
    host.gate.token = good
    host.ends(run)
    assert [line.rpartition(" ")[2] for line in host.log(run)] == ["up", "now", "out"]


# --- runs that this cluster cannot have --------------------------------------------------------------------

POOLS = """
[[engine.kubernetes.node_pools]]
name = "cpunp"
[[engine.kubernetes.node_pools]]
name = "gpunp"
gpu = true
"""


@pytest.fixture(scope="module")
def create(
    cluster: cluster_support.Cluster, namespace: str
) -> Iterator[Callable[..., tuple[commands_support.Commands, commands_support.Done]]]:
    """Create a run from what a run file says."""
    with pods.host(cluster, namespace, POOLS) as host, contextlib.ExitStack() as stack:
        directory = stack.enter_context(daemon.directory())

        def create(codespec, **target):
            said = {"image": cluster.busybox, "command": ["true"], **codespec}
            run = {key: target.pop(key) for key in ("cluster", "timeoutSeconds") if key in target}
            path = pathlib.Path(directory, "run.yml")
            path.write_text(json.dumps({"job": {"codespec": said, **target}, **run}))
            return host, host.commands.run("run", "create", "-f", path)

        yield create


@pytest.mark.parametrize(
    ("codespec", "target", "words"),
    [
        ({}, {"nodePool": "x"}, "Unknown nodepool 'x'. Valid options are: 'cpunp', 'gpunp'."),
        ({}, {"cluster": "x"}, "Unknown cluster 'x'. Valid options are: 'kubernetes'."),
        (
            {"resources": {"gpu": 1}},
            {"nodePool": "cpunp"},
            "Nodepool 'cpunp' does not have GPUs and cannot satisfy GPU request '1'",
        ),
        ({"identity": "me"}, {}, "Identity 'me' is not supported."),
    ],
)
def test_what_is_refused_at_once(create, codespec, target, words) -> None:
    _host, done = create(codespec, **target)
    assert words in complaint(done)
    assert done.returncode == 65


@pytest.mark.parametrize(
    ("codespec", "target", "words"),
    [
        ({"resources": {"requests": {"cpu": 1000}}}, {}, "Insufficient cpu"),
        ({"resources": {"requests": {"memory": "100Ti"}}}, {}, "Insufficient memory"),
        ({"resources": {"gpu": 1}}, {"nodePool": "gpunp"}, "didn't match Pod's node affinity/selector"),
    ],
)
def test_what_no_node_can_give(create, codespec, target, words) -> None:
    """It may be that a node comes that can, so it waits, and says for what."""
    host, done = create(codespec, timeoutSeconds=600, **target)
    run = int(done.stdout)
    deadline = time.monotonic() + daemon.PATIENCE
    while words not in (shown := host.show(run)).get("statusReason", ""):
        assert shown["status"] == "Pending", shown
        assert time.monotonic() < deadline, shown
        time.sleep(0.1)  # a snapshot says it, whenever the scheduler has looked
    host.cancel(run)
    host.ends(run, "Canceled", "Canceled by user")
    host.clean()

"""Pods of runs under Kubernetes' Pod Security standards, which the cluster enforces.

https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import cluster as cluster_support
from tests.support import pods

ENFORCE = "pod-security.kubernetes.io/enforce"


@pytest.fixture
def host(
    request: pytest.FixtureRequest, cluster: cluster_support.Cluster, pump_image: str
) -> Iterator[pods.Host]:
    """A daemon in a namespace that enforces the one standard, and whose jobs are to meet the other.

    The image of all of them is one of root's.
    """
    enforced, met = request.param
    config = f'main_security = "{met}"\n' + ('user = "1000"\n' if met == "restricted" else "")
    with (
        cluster.namespace(**{ENFORCE: enforced}) as namespace,
        pods.host(cluster, namespace, config) as made,
    ):
        yield made


def kinds_of_runs(host: pods.Host) -> None:
    """With outputs, without, with shared memory, and with workers."""
    worker = {"codespec": {"kind": "worker", "image": host.cluster.busybox, "command": ["sleep", "600"]}}
    runs = [
        host.create("echo out | tee $OUT_PIPE", outputs=["out"]),
        host.create("echo out >/dev/shm/x; cat /dev/shm/x", codespec={"resources": {"shm": "1Mi"}}),
        host.create("echo out", worker=worker),
    ]
    for run in runs:
        host.ends(run)
        assert host.log(run)[-1].endswith("out")


@pytest.mark.parametrize("host", [("baseline", "baseline")], indirect=True)
def test_what_the_manifests_enforce(host: pods.Host) -> None:
    kinds_of_runs(host)


@pytest.mark.parametrize("host", [("restricted", "restricted")], indirect=True)
def test_the_strictest(host: pods.Host) -> None:
    kinds_of_runs(host)
    run = host.create("id -u; grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status")
    host.ends(run)
    uid, *status = host.log(run)
    assert uid == "1000"
    assert [line.split() for line in status] == [
        ["CapEff:", "0" * 16],
        ["NoNewPrivs:", "1"],
        ["Seccomp:", "2"],
    ]


@pytest.mark.parametrize("host", [("restricted", "baseline")], indirect=True)
def test_what_a_cluster_denies_fails_with_its_words(host: pods.Host) -> None:
    run = host.create("echo out")
    last = host.ends(run, "Failed", 'violates PodSecurity "restricted:latest": ')
    assert 'main" must set securityContext.runAsNonRoot=true' in last["statusReason"]
    assert "\n" not in last["statusReason"]
    host.clean()

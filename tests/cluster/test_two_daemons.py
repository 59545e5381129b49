"""Several daemons in one namespace: each has its runs, which have the same numbers, and sees no others."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.support import cluster as cluster_support
from tests.support import pods


@pytest.fixture
def hosts(
    cluster: cluster_support.Cluster, namespace: str, pump_image: str
) -> Iterator[tuple[pods.Host, pods.Host]]:
    with contextlib.ExitStack() as stack:
        yield tuple(stack.enter_context(pods.host(cluster, namespace)) for _ in range(2))


def test_runs_of_the_same_number(hosts: tuple[pods.Host, pods.Host]) -> None:
    one, other = hosts
    worker = {"codespec": {"kind": "worker", "image": one.cluster.busybox, "command": ["sleep", "600"]}}
    runs = [
        host.create(f"echo {name} | tee $OUT_PIPE; exec sleep 600", outputs=["out"], worker=worker)
        for name, host in (("one", one), ("other", other))
    ]
    assert runs == [1, 1]
    one.logged(1, "one")
    other.logged(1, "other")
    left = other.objects()
    assert not set(left) & set(one.objects())
    # One comes back and looks for what nobody has any more; and one is at its run's end.
    one.daemon.restart()
    one.cancel(1)
    one.ends(1, "Canceled")
    one.clean()
    assert other.objects() == left
    assert other.show(1)["status"] == "Running"
    other.cancel(1)
    other.ends(1, "Canceled")
    other.clean()
    assert (one.log(1)[-1], other.log(1)[-1]) == ("[job][main] one", "[job][main] other")

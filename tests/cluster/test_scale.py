"""Many runs at once end right. How fast, and what it costs, is for `bench` (`--only cluster`) to say."""

from __future__ import annotations

from tests.support import cluster as cluster_support
from tests.support import manyruns, pods

RUNS = 40

CALLS = 8
"""Requests that a run of `true` may take, and its part of those that are for all."""


def test_many_runs_at_once(cluster: cluster_support.Cluster, namespace: str) -> None:
    """All end right, with one pod each, and nothing is left; no call is made again and again."""
    with pods.host(cluster, namespace) as host:
        host.works()
        before = len(host.gate.requests)
        measured = manyruns.measure(host, RUNS)
        host.clean()
        calls = [request for request in host.gate.requests[before:] if "watch=" not in request]
        assert measured.statuses == {"Succeeded": RUNS}
        assert all(len(uids) == 1 for uids in host.witness.seen.values())
        assert len(host.witness.seen) == RUNS + 1
        assert len(calls) <= RUNS * CALLS, calls

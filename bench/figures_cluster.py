"""The figures of a cluster: what a run of `true` costs when very many are queued at once.

Needs a cluster, as the tests do (`tests/support/cluster.py`): `tests/cluster/cluster with ./just bench --only
cluster`. The calls are counted by a gate between the daemon and the API server, with few runs, since that
takes processor time itself; the rest is measured without it. A node of one machine starts some pods a second,
so a thousand runs take minutes. The reference of a run's end is a watch of the same pods by somebody else.
"""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Callable

import rig as rigs
import table

COUNTED = 50
"""Runs whose calls are counted."""


def cluster(options: table.Options) -> list[table.Row]:
    """Many runs of `true`, queued at once."""
    if not os.environ.get("TYGER_TEST_KUBECONFIG"):
        raise rigs.Missing("no cluster: tests/cluster/cluster with ./just bench --only cluster")
    sys.path[:0] = [str(rigs.HERE.parent)]
    from tests.support import cluster as cluster_support
    from tests.support import manyruns, pods

    there = cluster_support.named()
    with there.namespace() as namespace:
        with pods.host(there, namespace) as host:
            host.works()
            before = len(host.gate.requests)
            counted = manyruns.measure(host, COUNTED)
            host.clean()
            calls = (len(host.gate.requests) - before) / COUNTED
        with pods.host(there, namespace, direct=True) as host:
            host.works()
            measured = manyruns.measure(host, options.runs)
            host.clean(600)
    for each, count in ((counted, COUNTED), (measured, options.runs)):
        if each.statuses != {"Succeeded": count}:
            sys.exit(f"bench: of {count} runs of true there are {each.statuses}")
    p99 = statistics.quantiles(measured.late, n=100, method="inclusive")[98]
    per_run = (measured.memory - measured.idle_memory) / options.runs
    name = f"{options.runs} runs in a cluster"
    samples = {"late": measured.late, "seconds": [measured.seconds]}

    def row(what: str, reference: str, subject: str, value: float, unit: str, limit: float) -> table.Row:
        return table.Row(f"{name}, {what}", reference, subject, value, unit, limit, False, samples)

    return [
        row("calls", f"{COUNTED} runs", "", calls, "a run", 8),
        row("pod end to run end, p99", f"{measured.seconds:.0f} s in all", "", p99, "s", 2),
        row("memory", _mib(measured.idle_memory), _mib(measured.memory), per_run / 1024, "KiB a run", 512),
        row("processor", "", f"{measured.cpu:.1f} s", measured.cpu / options.runs * 1000, "ms a run", 100),
    ]


FIGURES: dict[str, Callable[[table.Options], list[table.Row]]] = {"cluster": cluster}


def _mib(size: int) -> str:
    return f"{size / table.MIB:.0f} MiB"

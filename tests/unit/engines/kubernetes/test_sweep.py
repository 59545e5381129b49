"""Looking for what no run has any more."""

from __future__ import annotations

from tests.unit.engines.kubernetes import fakecluster, pods
from tests.unit.engines.kubernetes.test_making import make, record
from tygerd.engines.kubernetes import sweep


async def test_what_no_run_has_is_taken_away_and_nothing_else():
    cluster = fakecluster.FakeCluster()
    for number in (7, 8):
        await make(cluster, record(run=number, worker=pods.worker()))
    strange = {"kind": "Pod", "metadata": {"name": "other", "labels": {"tyger-run": "7"}}}
    unnumbered = {"tyger-installation": pods.INSTALLATION}
    await cluster.create(strange)
    await cluster.create({"kind": "Pod", "metadata": {"name": "odd", "labels": unnumbered}})
    await sweep.sweep(cluster, pods.INSTALLATION, lambda run: run == 8)
    left = {name for _, name in cluster.objects}
    assert left == {"other", "odd", *(f"run-8-01234567-{part}" for part in ("job", "job-0", "worker"))}
    assert await sweep.sweep(cluster, pods.INSTALLATION, lambda run: run == 8) == 0

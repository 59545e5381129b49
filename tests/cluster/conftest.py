"""A cluster, a namespace in it for each module, and the image of the pump as it is in this tree."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support import cluster as cluster_support
from tests.support import daemon


@pytest.fixture(scope="session")
def cluster() -> cluster_support.Cluster:
    """The one that `tests/cluster/cluster with` has started, or that TYGER_TEST_KUBECONFIG names."""
    return cluster_support.named()


@pytest.fixture(scope="module")
def namespace(cluster: cluster_support.Cluster) -> Iterator[str]:
    """One for this module, in this process."""
    with cluster.namespace() as name:
        yield name


@pytest.fixture(scope="session")
def pump_image(cluster: cluster_support.Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of the pump's image; made and loaded once for all processes of this session."""
    name = f"{cluster.registry}/tyger-pump"
    if cluster.own is None:
        return f"{name}:latest"
    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent
    archive = place / "tyger-pump.tar"
    with open(place / "tyger-pump.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not archive.exists():
            script = daemon.ROOT / "packaging/container/image.py"
            subprocess.run(
                [sys.executable, str(script), "--name", name, "--output", str(archive)],
                check=True,
                stdout=subprocess.DEVNULL,
            )
            cluster.load(archive)
    return f"{name}:latest"

"""A cluster, and a namespace in it for each module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import cluster as cluster_support


@pytest.fixture(scope="session")
def cluster() -> cluster_support.Cluster:
    """The one that `tests/cluster/cluster with` has started, or that TYGER_TEST_KUBECONFIG names."""
    return cluster_support.named()


@pytest.fixture(scope="module")
def namespace(cluster: cluster_support.Cluster) -> Iterator[str]:
    """One for this module, in this process."""
    with cluster.namespace() as name:
        yield name

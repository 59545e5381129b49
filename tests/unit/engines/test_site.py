"""Clusters and node pools by name."""

from __future__ import annotations

import pytest

from tyger import errors
from tygerd.engines import site

SITE = site.Site(("a", "B"), (site.Pool("cpunp", gpu=False), site.Pool("gpunp", gpu=True)))


@pytest.mark.parametrize(("wanted", "found"), [(None, "a"), ("", "a"), ("A", "a"), ("b", "B")])
def test_a_cluster_is_spelled_as_it_is_configured(wanted, found):
    assert SITE.cluster(wanted) == found


@pytest.mark.parametrize(
    ("wanted", "gpu", "found"),
    [(None, "1", None), ("CpuNP", None, "cpunp"), ("cpunp", "0", "cpunp"), ("gpunp", 2, "gpunp")],
)
def test_a_pool_by_its_name(wanted, gpu, found):
    pool = SITE.pool(wanted, gpu)
    assert (pool and pool.name) == found


def test_what_is_not_there():
    with pytest.raises(errors.Problem, match=r"^Unknown cluster 'x'\. Valid options are: 'a', 'B'\.$"):
        SITE.cluster("x")
    with pytest.raises(
        errors.Problem, match=r"^Unknown nodepool 'x'\. Valid options are: 'cpunp', 'gpunp'\.$"
    ):
        SITE.pool("x")
    with pytest.raises(errors.Problem, match=r"^Unknown nodepool 'x'\. None is configured; leave it out\.$"):
        site.Site(("a",)).pool("x")
    with pytest.raises(errors.Problem) as caught:
        SITE.pool("cpunp", "500m")
    assert caught.value.message == "Nodepool 'cpunp' does not have GPUs and cannot satisfy GPU request '500m'"
    assert caught.value.kind is errors.INVALID_INPUT

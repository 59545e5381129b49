"""What we create is taken by a real API server in its strictest mode, and so is all that we ship."""

from __future__ import annotations

import urllib.error
from typing import Any

import pytest

from tests.support import cluster as cluster_support
from tests.unit.engines.kubernetes import pods, test_manifests
from tygerd.engines.kubernetes import objects

WAYS = {"Pod": "api/v1", "Secret": "api/v1", "Service": "api/v1", "StatefulSet": "apis/apps/v1"}
PLURALS = {"Pod": "pods", "Secret": "secrets", "Service": "services", "StatefulSet": "statefulsets"}
STRICT = "dryRun=All&fieldValidation=Strict"


def everything() -> list[dict[str, Any]]:
    """All objects of a run that has all that a run can have, and of the least of runs."""
    runs = [
        (test_manifests.everything(), test_manifests.SETTINGS),
        (pods.job(run=8, inputs=["in"]), {}),
        (pods.job(run=9), {}),
    ]
    made = [objects.compose(job, pods.place(**more)) for job, more in runs]
    return [
        item
        for each in made
        for item in (each.secret, each.service, each.stateful_set, *each.pods)
        if item is not None
    ]


@pytest.mark.parametrize("item", everything(), ids=lambda item: f"{item['kind']}-{item['metadata']['name']}")
def test_the_api_server_takes_it(
    cluster: cluster_support.Cluster, namespace: str, item: dict[str, Any]
) -> None:
    if item["kind"] == "Pod":  # an account that is there, as admission looks for it
        item = item | {"spec": item["spec"] | {"serviceAccountName": "default"}}
    path = f"/{WAYS[item['kind']]}/namespaces/{namespace}/{PLURALS[item['kind']]}?{STRICT}"
    try:
        made = cluster.post(path, item)
    except urllib.error.HTTPError as error:
        raise AssertionError(error.read().decode()) from error
    assert made["metadata"]["name"] == item["metadata"]["name"]


def test_the_strict_mode_is_strict(cluster: cluster_support.Cluster, namespace: str) -> None:
    (pod,) = objects.compose(pods.job(), pods.place()).pods
    pod["spec"]["restartPolice"] = "Never"
    with pytest.raises(urllib.error.HTTPError) as caught:
        cluster.post(f"/api/v1/namespaces/{namespace}/pods?{STRICT}", pod)
    assert b"restartPolice" in caught.value.read()

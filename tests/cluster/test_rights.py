"""The rights of packaging/kubernetes, in a cluster that enforces them."""

from __future__ import annotations

import contextlib
import pathlib
import urllib.error
from collections.abc import Iterator

import pytest

from tests.support import cluster as cluster_support
from tests.support import manifests
from tygerd import enginesettings
from tygerd.engines.kubernetes import access, api, refusals, rights


@pytest.fixture(name="reach")
def reach_of(cluster: cluster_support.Cluster, namespace: str, tmp_path: pathlib.Path) -> Iterator[object]:
    """The engine's access as one of the accounts."""
    with contextlib.ExitStack() as stack:

        def reach(account: str) -> api.Api:
            path = tmp_path / account
            user = {"token": manifests.token(cluster, namespace, account)}
            path.write_text(manifests.kubeconfig(cluster, user))
            settings = enginesettings.Kubernetes(kubeconfig=str(path), namespace=namespace)
            reached = access.Access(settings, {})
            stack.callback(reached.close)
            return api.Api(reached, settings)

        yield reach


async def test_the_daemons_account_has_all_that_it_needs(reach):
    assert await rights.lacking(reach("tygerd")) is None


async def test_the_account_of_jobs_has_next_to_nothing(reach, namespace):
    said = await rights.lacking(reach("tyger-job"))
    assert f"in the namespace {namespace}; {rights.ADVICE}" in said
    assert "create and delete and list and patch and watch pods, get pods/log" in said


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/nodes"),
        ("GET", "/api/v1/pods"),
        ("GET", "/api/v1/namespaces/kube-system/secrets"),
        ("GET", "/api/v1/namespaces/default/pods"),
        ("GET", "/api/v1/namespaces/{}/configmaps"),
        ("GET", "/api/v1/namespaces/{}/serviceaccounts"),
        ("POST", "/api/v1/namespaces/{}/serviceaccounts/tygerd/token"),
        ("POST", "/api/v1/namespaces/{}/pods/x/exec?command=sh"),
        ("POST", "/api/v1/namespaces/{}/pods/x/eviction"),
        ("PUT", "/api/v1/namespaces/{}/pods/x"),
        ("PATCH", "/api/v1/namespaces/{}/services/x"),
        ("DELETE", "/api/v1/namespaces/{}/secrets"),
        ("POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings"),
        ("POST", "/apis/batch/v1/namespaces/{}/jobs"),
    ],
)
def test_the_daemons_account_may_do_nothing_else(cluster, namespace, method, path):
    token = manifests.token(cluster, namespace, "tygerd")
    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    body = None if method in {"GET", "DELETE"} else {}
    with pytest.raises(urllib.error.HTTPError) as caught:
        cluster.ask(method, path.format(namespace), body, kind=kind, token=token)
    caught.value.close()
    assert caught.value.code == 403


async def test_who_may_not_is_told_in_the_clusters_words(reach, namespace):
    cluster = reach("tyger-job")
    with pytest.raises(refusals.Refused) as caught:
        await cluster.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}})
    who = f"system:serviceaccount:{namespace}:tyger-job"
    assert str(caught.value) == (
        f'cannot create the secret x: secrets is forbidden: User "{who}"'
        f' cannot create resource "secrets" in API group "" in the namespace "{namespace}"'
    )


@pytest.mark.parametrize("overlay", ["base", "outside", "restricted"])
def test_kustomize_makes_what_the_manifests_say(cluster, overlay):
    if (made := manifests.kustomized(overlay)) is None:
        pytest.skip("no kubectl, which has kustomize")
    found = {(each["kind"], each["metadata"]["name"]): each for each in made}
    expected = {(each["kind"], each["metadata"]["name"]): each for each in manifests.base("tyger")}
    enforced = "restricted" if overlay == "restricted" else "baseline"
    labels = found["Namespace", "tyger"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == enforced
    for key in [("Role", "tygerd"), ("Role", "tyger-job"), ("RoleBinding", "tygerd")]:
        assert found[key] == expected[key]
    more = {("Secret", "tygerd")} if overlay == "outside" else set()
    assert set(found) == set(expected) | more


def test_kustomize_moves_all_to_another_namespace(cluster):
    if (made := manifests.kustomized("base", "scans")) is None:
        pytest.skip("no kubectl, which has kustomize")
    key = lambda each: (each["kind"], each["metadata"]["name"])  # noqa: E731 - twice
    assert sorted(made, key=key) == sorted(manifests.base("scans"), key=key)

"""Which rights the engine needs, and that the manifest gives these and no others."""

import json
import pathlib

import pytest
import yaml

from tests.house import sources
from tests.support import apiserver
from tygerd import enginesettings
from tygerd.engines.kubernetes import api, refusals, rights

MANIFESTS = pathlib.Path(sources.ROOT, "packaging/kubernetes/base")
REVIEWS = "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


def manifest(name):
    return list(yaml.safe_load_all((MANIFESTS / name).read_text()))


def rules(name):
    (role,) = [each for each in manifest(name) if each["kind"] == "Role"]
    return role["rules"]


def test_the_manifest_has_exactly_these_rights():
    given = {
        (group, resource): tuple(sorted(rule["verbs"]))
        for rule in rules("daemon.yaml")
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    assert given == {(right.group, right.resource): right.verbs for right in rights.REQUIRED}
    assert all(not set(rule) - {"apiGroups", "resources", "verbs"} for rule in rules("daemon.yaml"))


def test_the_account_of_jobs_is_the_one_that_is_configured_and_may_look_at_pods_only():
    (account,) = [each for each in manifest("jobs.yaml") if each["kind"] == "ServiceAccount"]
    assert account["metadata"]["name"] == enginesettings.Kubernetes().job_service_account
    assert account["automountServiceAccountToken"] is False
    assert rules("jobs.yaml") == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]


@pytest.mark.parametrize("name", ["daemon.yaml", "jobs.yaml"])
def test_accounts_have_their_own_roles(name):
    account, role, binding = manifest(name)
    names = {each["metadata"]["name"] for each in (account, role, binding)}
    assert names == {binding["roleRef"]["name"], *(subject["name"] for subject in binding["subjects"])}
    assert (role["kind"], binding["kind"], binding["roleRef"]["kind"]) == ("Role", "RoleBinding", "Role")


def test_all_manifests_are_part_of_it():
    said = yaml.safe_load((MANIFESTS / "kustomization.yaml").read_text())
    assert {*said["resources"], "kustomization.yaml"} == {path.name for path in MANIFESTS.iterdir()}


@pytest.fixture
def cluster(reach):
    return api.Api(reach(), enginesettings.Kubernetes())


def review(refused):
    def answer(request):
        asked = json.loads(request.body)["spec"]["resourceAttributes"]
        assert asked["namespace"] == "runs"
        resource = "/".join(filter(None, [asked["resource"], asked.get("subresource")]))
        return {
            "metadata": {},
            "status": {"allowed": (asked["group"], resource, asked["verb"]) not in refused},
        }

    return answer


async def test_all_rights(server, cluster):
    server.answers[REVIEWS] = review(set())
    assert await rights.lacking(cluster) is None
    assert len(server.seen) == sum(len(right.verbs) for right in rights.REQUIRED)


async def test_what_lacks_is_named(server, cluster):
    server.answers[REVIEWS] = review(
        {
            ("", "pods", "create"),
            ("", "pods", "watch"),
            ("", "pods/log", "get"),
            ("apps", "statefulsets", "get"),
        }
    )
    assert await rights.lacking(cluster) == (
        f"the cluster at {server.url} (context lab) does not let us create and watch pods, get pods/log, get"
        f" statefulsets in the namespace runs; {rights.ADVICE}"
    )


async def test_a_cluster_that_is_away(server, cluster):
    server.answers[REVIEWS] = apiserver.status(503, "not ready")
    with pytest.raises(refusals.Transient, match="cannot create the question about our rights: not ready"):
        await rights.lacking(cluster)

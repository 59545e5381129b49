"""What we create, and what we ship, is valid in each supported version of Kubernetes."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.house import sources
from tests.support import apischemas
from tests.unit.engines.kubernetes import pods
from tyger import model
from tygerd import enginesettings
from tygerd.engines.kubernetes import objects

OWNER = {"metadata": {"name": "run-7-01234567-job", "uid": "12"}}


def everything(**more):
    """A run that has all that a run can have."""
    resources = model.Resources(
        requests=model.Overcommittable(cpu="500m", memory="1Gi"),
        limits=model.Overcommittable(cpu=2, memory="2Gi"),
        gpu="1",
        shm="64Mi",
    )
    asked = {
        "inputs": ["in", "feed"],
        "outputs": ["out"],
        "sockets": [model.Socket(port=80, input_buffer="feed")],
        "resources": resources,
        "identity": "me",
        "env": {"A": "b"},
        "args": ["x"],
        "working_dir": "/w",
        "node_pool": "gpunp",
        "worker": pods.worker(2, endpoints={"api": 80}, resources=resources, identity="me"),
    }
    return pods.job(**asked | more)


SETTINGS = {
    "identities": {"me": "account"},
    "node_pools": [enginesettings.NodePool(name="gpunp", gpu=True)],
    "pull_secrets": {"*": "registry"},
    "pull": "always",
    "main_security": "restricted",
    "pump_requests": {"cpu": "10m"},
    "pump_limits": {"memory": "64Mi"},
}


def made(job, **settings):
    every = objects.compose(job, pods.place(**settings))
    secret = every.secret | {"stringData": {"in": "https://x"}}
    others = [each for each in (*every.pods, every.service, every.stateful_set) if each is not None]
    return [secret, *(objects.owned(each, OWNER) for each in others)]


def test_every_supported_version_is_there():
    assert apischemas.VERSIONS == ["1.30", "1.31", "1.32", "1.33", "1.34"]


@pytest.mark.parametrize("version", apischemas.VERSIONS)
def test_all_that_is_ever_created_is_valid(version):
    found = [
        (item["kind"], said)
        for item in (*made(everything(), **SETTINGS), *made(pods.job()), *made(pods.job(inputs=["in"])))
        for said in apischemas.complaints(version, item)
    ]
    assert found == []


SHIPPED = [
    (path.name, item)
    for path in sorted((sources.ROOT / "packaging/kubernetes").rglob("*.yaml"))
    for item in yaml.safe_load_all(path.read_text())
    if item["kind"] != "Kustomization"
]


@pytest.mark.parametrize("version", apischemas.VERSIONS)
def test_all_that_we_ship_is_valid(version):
    assert SHIPPED
    found = [(name, said) for name, item in SHIPPED for said in apischemas.complaints(version, item)]
    assert found == []


def test_what_is_not_valid_is_found():
    (_, pod) = made(pods.job())
    pod["spec"]["restartPolice"] = "Never"
    pod["spec"]["containers"][0]["env"][0]["value"] = 7
    pod["spec"]["volumes"][0]["emptyDir"] = {"sizeLimit": "much"}
    said = apischemas.complaints("1.34", pod)
    assert len(said) == 3
    assert any("restartPolice" in each for each in said)


RESOURCES = st.builds(
    model.Resources,
    limits=st.none() | st.builds(model.Overcommittable, cpu=st.sampled_from([None, "1", 2, 0.5, "250m"])),
    gpu=st.sampled_from([None, "0", 1]),
    shm=st.sampled_from([None, "1Gi", 1024]),
)


@settings(pods.PATIENT, max_examples=30)
@given(st.sampled_from(apischemas.VERSIONS), RESOURCES, st.booleans(), st.integers(1, 3), st.integers(0, 3))
def test_whatever_is_asked_for(version, resources, buffers, replicas, workers):
    job = pods.job(
        inputs=["in"] if buffers else [],
        resources=resources,
        replicas=replicas,
        worker=pods.worker(workers, resources=resources) if workers else None,
    )
    assert [said for item in made(job) for said in apischemas.complaints(version, item)] == []

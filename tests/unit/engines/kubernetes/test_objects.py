"""What is created for a run, as a whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.engines.kubernetes import pods
from tyger import errors, model
from tygerd.engines.kubernetes import objects

LABELS = {
    "tyger-run": "7",
    "tyger-job": "7",
    "tyger-installation": pods.INSTALLATION,
    "azure.workload.identity/use": "false",
}


def compose(**more):
    settings = more.pop("settings", {})
    return objects.compose(pods.job(**more), pods.place(**settings))


def test_the_least_of_runs_is_a_secret_and_a_pod():
    made = compose()
    assert made.secret == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "run-7-01234567-job", "labels": LABELS},
        "type": "Opaque",
    }
    (pod,) = made.pods
    assert pod["metadata"] == {
        "name": "run-7-01234567-job-0",
        "labels": LABELS,
        "annotations": {"tyger-job-replica-count": "1", "tyger-worker-replica-count": "0"},
        "finalizers": ["tyger.local/status"],
    }
    spec = pod["spec"]
    assert (spec["restartPolicy"], spec["activeDeadlineSeconds"]) == ("Never", 900)
    assert (spec["serviceAccountName"], spec["automountServiceAccountToken"]) == ("tyger-job", False)
    assert spec["terminationGracePeriodSeconds"] == 10
    assert "initContainers" not in spec
    assert [volume["name"] for volume in spec["volumes"]] == ["home"]


def test_buffers_bring_pipes_and_pumps():
    (pod,) = compose(inputs=["in"], outputs=["out"]).pods
    spec = pod["spec"]
    assert [each["name"] for each in spec["initContainers"]] == ["pumps"]
    assert spec["terminationGracePeriodSeconds"] == objects.PUMP_GRACE
    (main,) = spec["containers"]
    assert {"name": "OUT_PIPE", "value": "/etc/buffer-fifos/out"} in main["env"]
    assert {"name": "fifos", "mountPath": "/etc/buffer-fifos", "readOnly": True} in main["volumeMounts"]
    secret = next(volume for volume in spec["volumes"] if volume["name"] == "buffers")
    assert secret["secret"]["secretName"] == "run-7-01234567-job"


def test_buffers_of_ports_are_no_pipes():
    sockets = [model.Socket(port=80, input_buffer="IN", output_buffer="out")]
    (pod,) = compose(inputs=["in"], outputs=["out"], sockets=sockets).pods
    assert [each["name"] for each in pod["spec"]["initContainers"]] == ["pumps"]
    assert pod["metadata"]["annotations"]["tyger-has-socket"] == "true"
    (main,) = pod["spec"]["containers"]
    assert [mount["name"] for mount in main["volumeMounts"]] == ["home"]


def test_workers_and_how_they_are_found():
    made = compose(worker=pods.worker(2, endpoints={"api": 80}))
    name = "run-7-01234567-worker"
    assert made.service["spec"]["clusterIP"] == "None"
    spec = made.stateful_set["spec"]
    assert (made.stateful_set["metadata"]["name"], spec["serviceName"], spec["replicas"]) == (name, name, 2)
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    assert "tyger-job" not in spec["selector"]["matchLabels"]
    hosts = [f"{name}-{number}.{name}.ns.svc.cluster.local" for number in range(2)]
    (prepare,) = made.pods[0]["spec"]["initContainers"]
    assert [f"--host={host}" for host in hosts] == prepare["command"][-2:]
    env = {entry["name"]: entry["value"] for entry in made.pods[0]["spec"]["containers"][0]["env"]}
    assert all(host in env["TYGER_WORKER_NODES"] for host in hosts)
    assert f"{hosts[1]}:80" in env["TYGER_API_WORKER_ENDPOINT_ADDRESSES"]


def test_identities_and_pull_secrets():
    settings = {"identities": {"me": "account"}, "pull_secrets": {"reg.io": "s1", "*": "s2"}}
    made = compose(identity="me", image="reg.io/i", settings=settings, worker=pods.worker(identity="me"))
    spec = made.pods[0]["spec"]
    assert spec["serviceAccountName"] == "account"
    assert spec["imagePullSecrets"] == [{"name": "s2"}, {"name": "s1"}]
    assert made.secret["metadata"]["labels"]["azure.workload.identity/use"] == "true"
    assert made.stateful_set["spec"]["template"]["spec"]["serviceAccountName"] == "account"
    assert "serviceAccountName" not in compose(worker=pods.worker()).stateful_set["spec"]["template"]["spec"]


@pytest.mark.parametrize(
    ("codespec", "settings", "said"),
    [
        ({"image": "Not A Name"}, {}, "'Not A Name' is not the name of an image"),
        ({"working_dir": "here"}, {}, "workingDir: it must be an absolute path"),
        ({"env": {"a=b": ""}}, {}, "cannot be the name of an environment variable"),
        ({"identity": "x"}, {}, "Identity 'x' is not supported."),
        ({"identity": "x"}, {"identities": {"a": "b"}}, "Unknown identity 'x'. Valid options are: 'a'."),
        ({"worker": pods.worker(endpoints={"a": 0})}, {}, "endpoints: the port of 'a'"),
    ],
)
def test_what_no_cluster_takes(codespec, settings, said):
    with pytest.raises(errors.Problem) as caught:
        compose(settings=settings, **codespec)
    assert caught.value.kind is errors.INVALID_INPUT
    assert said in caught.value.message


def test_an_owned_object_names_its_owner():
    owned = objects.owned(compose().pods[0], {"metadata": {"name": "s", "uid": "u"}})
    reference = {"apiVersion": "v1", "kind": "Secret", "name": "s", "uid": "u"}
    assert owned["metadata"]["ownerReferences"] == [reference]


@pytest.mark.parametrize(
    ("labels", "run"), [({"tyger-run": "12"}, 12), ({"tyger-run": "x"}, None), ({}, None), (None, None)]
)
def test_the_run_of_an_object(labels, run):
    assert objects.run_of({"metadata": {"labels": labels}}) == run


NAMES = st.lists(st.from_regex(r"[a-z]([-a-z]{0,5}[a-z])?", fullmatch=True), unique=True, max_size=4)


@pods.PATIENT
@given(NAMES, st.integers(1, 3), st.integers(0, 3), st.booleans())
def test_every_mount_has_its_volume_and_every_volume_its_mount(parameters, replicas, workers, shm):
    middle = len(parameters) // 2
    made = compose(
        inputs=parameters[:middle],
        outputs=parameters[middle:],
        replicas=replicas,
        worker=pods.worker(workers) if workers else None,
        resources=model.Resources(shm="1Gi") if shm else None,
    )
    assert len({pod["metadata"]["name"] for pod in made.pods}) == replicas
    for pod in made.pods:
        spec = pod["spec"]
        used = {
            mount["name"]
            for container in (*spec["containers"], *spec.get("initContainers", ()))
            for mount in container.get("volumeMounts", ())
        }
        assert used == {volume["name"] for volume in spec["volumes"]}
        assert len(pod["metadata"]["name"]) <= 63
        assert all(len(value) <= 63 for value in pod["metadata"]["labels"].values())

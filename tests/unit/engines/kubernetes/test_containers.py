"""The containers of a pod and what they share."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.engines.kubernetes import pods
from tyger import model
from tygerd import enginesettings
from tygerd.engines.kubernetes import containers, pumpargs

SETTINGS = enginesettings.Kubernetes()


def main(settings=SETTINGS, told=None, **codespec):
    wanted = model.JobCodespec(**{"image": "i", "command": ["true"]} | codespec)
    return containers.main(7, wanted, settings, told or {}, [])


def env(container):
    return [(entry["name"], entry.get("value")) for entry in container["env"]]


def test_the_least_of_programs():
    assert main() == {
        "name": "main",
        "image": "i",
        "command": ["true"],
        "env": [{"name": "TYGER_RUN_ID", "value": "7"}, {"name": "HOME", "value": "/tmp/home"}],
        "securityContext": {"allowPrivilegeEscalation": False},
        "volumeMounts": [],
    }


def test_a_program_as_it_was_asked_for():
    resources = model.Resources(
        requests=model.Overcommittable(cpu="1"),
        limits=model.Overcommittable(cpu=2, memory="1Gi"),
        gpu="1",
    )
    made = main(args=["a"], working_dir="/w", resources=resources)
    assert (made["args"], made["workingDir"]) == (["a"], "/w")
    assert made["resources"] == {
        "requests": {"cpu": "1", "nvidia.com/gpu": "1"},
        "limits": {"cpu": "2", "memory": "1Gi", "nvidia.com/gpu": "1"},
    }
    assert "resources" not in main(resources=model.Resources(shm="1Gi"))


def test_a_value_may_name_a_pipe_and_nothing_takes_its_place():
    made = main(told={"IN_PIPE": "/p"}, env={"A": "$(IN_PIPE)", "IN_PIPE": "mine", "HOME": "/h"})
    assert env(made) == [("TYGER_RUN_ID", "7"), ("IN_PIPE", "/p"), ("A", "$(IN_PIPE)"), ("HOME", "/h")]


@pods.PATIENT
@given(st.dictionaries(st.sampled_from(["A", "B", "HOME", "IN_PIPE", "TYGER_RUN_ID"]), st.text(max_size=4)))
def test_every_variable_stands_once(own):
    entries = env(main(told={"IN_PIPE": "/p"}, env=own))
    names = [name for name, _ in entries]
    assert sorted(names) == sorted({"TYGER_RUN_ID", "HOME", "IN_PIPE", *own})
    assert dict(entries) == {"TYGER_RUN_ID": "7", "HOME": "/tmp/home", **own, "IN_PIPE": "/p"}
    assert [name for name in own if name != "IN_PIPE"] == [n for n in names if n in own and n != "IN_PIPE"]


@pytest.mark.parametrize(
    ("user", "numbers"),
    [("1000", {"runAsUser": 1000}), ("0:100", {"runAsUser": 0, "runAsGroup": 100})],
)
def test_a_user(user, numbers):
    made = main(enginesettings.Kubernetes(user=user))
    assert made["securityContext"] == {"allowPrivilegeEscalation": False, **numbers}


def test_settings_of_images_and_security():
    made = main(enginesettings.Kubernetes(pull="missing", main_security="restricted"))
    assert made["imagePullPolicy"] == "IfNotPresent"
    assert made["securityContext"]["runAsNonRoot"] is True
    assert made["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert "runAsUser" not in made["securityContext"]


def test_preparing_pipes_and_workers():
    made = containers.prepare(SETTINGS, ["in"], ["host"])
    assert made["command"] == pumpargs.prepare(["in"], ["host"])
    assert made["volumeMounts"] == [{"name": "fifos", "mountPath": "/etc/buffer-fifos"}]
    assert made["securityContext"]["readOnlyRootFilesystem"] is True
    assert "volumeMounts" not in containers.prepare(SETTINGS, [], ["host"])


def test_the_pumps_know_their_buffers_their_pod_and_which_are_ephemeral():
    job = pods.job(inputs=["in"], outputs=["out"])
    job.buffers["out"] = "run-7-temp-abc"
    made = containers.pumps(
        job, enginesettings.Kubernetes(pump_requests={"cpu": "10m"}, pump_limits={"memory": "64Mi"})
    )
    assert made["command"] == pumpargs.pod(["in"], ["out"], (), ["out"])
    assert made["restartPolicy"] == "Always"
    assert made["lifecycle"] == {"postStart": {"exec": {"command": pumpargs.ready()}}}
    assert [entry["name"] for entry in made["env"]] == [pumpargs.POD, pumpargs.NAMESPACE]
    assert made["resources"] == {"requests": {"cpu": "10m"}, "limits": {"memory": "64Mi"}}
    mounted = {mount["name"] for mount in made["volumeMounts"]}
    assert mounted == {volume["name"] for volume in containers.pump_volumes("s")}


def test_shared_memory_and_a_home():
    volumes, mounts = containers.volumes(model.JobCodespec(image="i", resources=model.Resources(shm="1Gi")))
    assert volumes[1] == {"name": "dshm", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}}
    assert [mount["mountPath"] for mount in mounts] == ["/tmp/home", "/dev/shm"]
    assert len(containers.volumes(model.JobCodespec(image="i"))[0]) == 1

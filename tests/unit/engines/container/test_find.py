"""Where an engine is looked for, and what is made of its answers."""

import grp
import os
import pwd
import socket

import pytest

from tests.unit.engines.container import conftest
from tyger import errors
from tygerd.engines.container import find


def test_what_is_configured_is_all_that_counts():
    environ = {"DOCKER_HOST": "unix:///other", "XDG_RUNTIME_DIR": "/run/user/1"}
    assert find.candidates("unix:///a", environ) == ["/a"]
    assert find.candidates("/a", environ) == ["/a"]


def test_then_what_the_environment_names():
    assert find.candidates(None, {"DOCKER_HOST": "unix:///a", "CONTAINER_HOST": "unix:///b"}) == ["/a"]
    assert find.candidates(None, {"CONTAINER_HOST": "unix:///b"}) == ["/b"]


@pytest.mark.parametrize("host", ["tcp://1.2.3.4:2375", "ssh://me@host"])
def test_an_engine_of_another_host_is_refused(host):
    with pytest.raises(errors.Problem, match="containers must run on this host") as caught:
        find.candidates(None, {"DOCKER_HOST": host})
    assert caught.value.kind is errors.CONFIG


def test_then_the_usual_places_where_there_is_something(tmp_path):
    (tmp_path / "podman").mkdir()
    (tmp_path / "podman/podman.sock").touch()
    found = find.candidates(None, {"XDG_RUNTIME_DIR": str(tmp_path)})
    assert found[0] == f"{tmp_path}/podman/podman.sock"
    assert set(found[1:]) <= {"/run/docker.sock", "/run/podman/podman.sock"}


async def test_a_podman(engine):
    facts = engine[1]
    assert (facts.name, facts.command) == ("Podman", "podman")
    assert facts.architecture in {"amd64", "arm64"}
    assert facts.cpus >= 1
    assert not facts.rootless
    assert facts.limits


async def test_it_is_the_same_one_when_it_is_asked_again(engine, podman):
    again = await find.reach(podman.socket, {})
    assert await find.ask(again) == engine[1]
    await again.close()


async def test_nobody_answers(tmp_path):
    with pytest.raises(errors.Problem, match="No such file or directory") as caught:
        await find.reach(str(tmp_path / "missing"), {})
    assert caught.value.kind is errors.UNAVAILABLE
    assert "name its socket as `socket` in [engine.container]" in caught.value.message


def test_which_group_to_join():
    group, user = grp.getgrnam("adm"), pwd.getpwnam("daemon")
    assert find.join(group.gr_gid, user.pw_uid) == " (sudo usermod -aG adm daemon, and log in again)"
    assert find.join(2**31, user.pw_uid) == ""


async def test_the_first_that_answers(tmp_path, podman):
    runtime = tmp_path / "run"
    (runtime / "podman").mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as nobody:
        nobody.bind(str(runtime / "docker.sock"))
        os.symlink(podman.socket, runtime / "podman/podman.sock")
        engine = await find.reach(None, {"XDG_RUNTIME_DIR": str(runtime)})
        await engine.close()
        assert engine.server.startswith("Libpod/")


@pytest.mark.parametrize("answer", [b"OK", b"[]", b'{"Components": [1]}', b'{"NCPU": "x"}'])
async def test_one_that_does_not_say_what_it_is(tmp_path, answer):
    lines = ["HTTP/1.1 200 OK", "Api-Version: 1.41", "Connection: close", f"Content-Length: {len(answer)}"]
    head = "".join(f"{line}\r\n" for line in [*lines, ""])
    with conftest.peer(tmp_path, head.encode() + answer) as path:
        engine = await find.reach(path, {})
        with pytest.raises(errors.Problem, match="does not say what it is") as caught:
            await find.ask(engine)
        await engine.close()
    assert caught.value.kind is errors.UNAVAILABLE


DOCKER_VERSION = {
    "Components": [{"Name": "Engine"}, {"Name": "containerd"}],
    "Version": "28.0.1",
    "Arch": "arm64",
    "KernelVersion": "6.1",
}
DOCKER_INFO = {
    "ID": "I",
    "DockerRootDir": "/var/lib/docker",
    "NCPU": 4,
    "CgroupVersion": "2",
    "MemoryLimit": True,
    "CpuCfsQuota": True,
    "Runtimes": {"runc": {}, "nvidia": {}},
    "SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless"],
}


def test_a_docker():
    facts = find.facts(DOCKER_VERSION, DOCKER_INFO)
    assert facts.name == "Docker"
    assert (facts.version, facts.architecture, facts.cpus) == ("28.0.1", "arm64", 4)
    assert facts.rootless
    assert facts.limits
    assert facts.gpu


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"Runtimes": {"runc": {}}}, "gpu"),
        ({"SecurityOptions": []}, "rootless"),
        ({"MemoryLimit": False}, "limits"),
        ({"CgroupVersion": "1"}, "limits"),
    ],
)
def test_what_an_engine_does_not_say_it_cannot(change, field):
    assert not getattr(find.facts(DOCKER_VERSION, {**DOCKER_INFO, **change}), field)

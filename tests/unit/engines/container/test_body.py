"""What an engine is asked for, without one."""

import json

import pytest

from tests.unit.engines.container import conftest
from tyger import errors, model
from tygerd import enginesettings
from tygerd.engines import base
from tygerd.engines.container import body, images
from tygerd.engines.supervised import parts

IMAGE = images.Image("sha256:1", "sha256:2", ["/entry"], ["command"])
BARE = images.Image("sha256:1", "sha256:2", [], [])


def job(worker=None, replicas=1, **codespec):
    codespec = {"image": "i", "command": ["true"]} | codespec
    return base.Job(
        run=7,
        codespec=model.JobCodespec(**codespec),
        buffers={},
        created_at=0,
        timeout_seconds=10,
        replicas=replicas,
        worker=worker,
    )


def made(place, wanted, image=IMAGE, number=0):
    return body.main(place, wanted, image, parts.replicas(wanted)[number], "/state/7", "/sock")


def request(place, wanted, image=IMAGE):
    return made(place, wanted, image).container.body


def env(body):
    return dict(entry.split("=", 1) for entry in body["Env"])


def test_the_least_of_jobs(place):
    main = made(place, job())
    assert main.name == "main"
    assert (main.container.api, main.container.name) == ("/sock", "tyger-run-7-main-01234567")
    assert main.container.hosts == {}
    assert main.container.body == {
        "Image": "sha256:1",
        "Entrypoint": ["true"],
        "Cmd": [],
        "Env": ["HOME=/tmp/home", "TYGER_RUN_ID=7"],
        "Labels": {
            "tyger-run": "7",
            "tyger-installation": conftest.INSTALLATION,
            "tyger-run-container-name": "main",
            "tyger-image": "i",
        },
        "HostConfig": {
            "Init": True,
            "CapDrop": ["ALL"],
            "CapAdd": [],
            "SecurityOpt": ["no-new-privileges"],
            "ReadonlyRootfs": False,
            "LogConfig": {
                "Type": "local",
                "Config": {"max-size": "1000g", "max-file": "1", "compress": "false"},
            },
            "NetworkMode": "none",
            "Tmpfs": {"/tmp/home": "rw,exec,nosuid,nodev,mode=1777"},
        },
    }


def test_an_image_that_checks_its_health_does_not(place):
    asked = request(place, job(), IMAGE._replace(checks_health=True))
    assert asked["Healthcheck"] == {"Test": ["NONE"]}


def test_podman_keeps_logs_in_its_own_way(place):
    podman = place._replace(facts=place.facts._replace(name="Podman"))
    assert request(podman, job())["HostConfig"]["LogConfig"] == {"Type": "json-file", "Config": {}}


def test_what_the_configuration_says(place):
    settings = enginesettings.Container(
        user="1:2", capabilities=["SYS_PTRACE", "CAP_NET_RAW"], root="read-only", network="bridge"
    )
    asked = request(place._replace(settings=settings, init=False), job())
    assert asked["User"] == "1:2"
    host = asked["HostConfig"]
    assert (host["CapDrop"], host["CapAdd"]) == (["ALL"], ["SYS_PTRACE", "NET_RAW"])
    assert host["ReadonlyRootfs"]
    assert set(host["Tmpfs"]) == {"/tmp", "/tmp/home"}
    assert not host["Init"]
    assert host["NetworkMode"] == "tyger-01234567"
    assert host["Sysctls"] == {"net.ipv4.ip_unprivileged_port_start": "0"}


@pytest.mark.parametrize(
    ("codespec", "words"),
    [
        ({"command": ["a", "b"]}, ["a", "b"]),
        ({"command": ["a"], "args": ["c"]}, ["a", "c"]),
        ({"command": None}, ["/entry", "command"]),
        ({"command": [], "args": ["c"]}, ["/entry", "c"]),
    ],
)
def test_whose_words_are_started(place, codespec, words):
    asked = request(place, job(**codespec))
    assert [*asked["Entrypoint"], *asked["Cmd"]] == words


def test_pipes_and_references_to_them(place):
    wanted = job(
        buffers=model.BufferParameters(inputs=["in"], outputs=["out-put"]),
        args=["$(IN_PIPE)", "$(A)", "$(nothing)"],
        env={"A": "$(OUT-PUT_PIPE)", "TYGER_RUN_ID": "mine", "IN_PIPE": "not mine", "HOME": "/h"},
    )
    asked = request(place, wanted)
    assert asked["HostConfig"]["Binds"] == ["/state/7/pipes:/run/secrets/7/pipes:ro,Z"]
    inside = "/run/secrets/7/pipes"
    assert asked["Cmd"] == [f"{inside}/in.pipe", f"{inside}/out-put.pipe", "$(nothing)"]
    assert env(asked) == {
        "HOME": "/h",
        "TYGER_RUN_ID": "mine",
        "A": f"{inside}/out-put.pipe",
        "IN_PIPE": f"{inside}/in.pipe",
        "OUT-PUT_PIPE": f"{inside}/out-put.pipe",
    }


def test_a_state_directory_with_a_colon(place):
    wanted = job(buffers=model.BufferParameters(inputs=["in"]))
    main = body.main(place, wanted, IMAGE, parts.replicas(wanted)[0], "/a:b/7", "/sock")
    host = main.container.body["HostConfig"]
    assert "Binds" not in host
    assert host["Mounts"] == [
        {"Type": "bind", "Source": "/a:b/7/pipes", "Target": "/run/secrets/7/pipes", "ReadOnly": True}
    ]


def test_replicas_have_pipes_of_their_own(place):
    wanted = job(replicas=2, buffers=model.BufferParameters(inputs=["in"]))
    mains = [made(place, wanted, number=number) for number in (0, 1)]
    assert [main.container.name for main in mains] == [
        "tyger-run-7-job-0-01234567",
        "tyger-run-7-job-1-01234567",
    ]
    sources = [main.container.body["HostConfig"]["Binds"][0].split(":")[0] for main in mains]
    assert sources == ["/state/7/pipes/0", "/state/7/pipes/1"]
    assert [main.pipes for main in mains] == ["0", "1"]


def resources(**fields):
    limits = {name: fields.pop(name) for name in ("cpu", "memory") if name in fields}
    return {"resources": model.Resources(limits=model.Overcommittable(**limits), **fields)}


@pytest.mark.parametrize(
    ("fields", "asked"),
    [
        ({"cpu": "500m"}, {"NanoCpus": 500_000_000}),
        ({"cpu": 64}, {"NanoCpus": 2_000_000_000}),  # more than there is: no limit
        ({"cpu": "1m"}, {"NanoCpus": 10_000_000}),  # less than the kernel can give
        ({"memory": "64Mi"}, {"Memory": 64 * 2**20, "MemorySwap": 64 * 2**20}),
        ({"shm": "1Gi"}, {"ShmSize": 2**30}),
        ({"shm": "0"}, {}),
        ({"gpu": "1"}, {"DeviceRequests": [{"Driver": "", "Count": -1, "Capabilities": [["gpu"]]}]}),
        ({"gpu": 0}, {}),
    ],
)
def test_resources(place, fields, asked):
    host = request(place, job(**resources(**fields)))["HostConfig"]
    names = ("NanoCpus", "Memory", "MemorySwap", "ShmSize", "DeviceRequests")
    assert {name: host[name] for name in names if name in host} == asked


def test_an_engine_that_cannot_limit_is_not_asked_to(place):
    weak = place._replace(facts=place.facts._replace(limits=False))
    body.check_limits(place.facts, job(**resources(cpu="1", memory="64Mi")).codespec)
    body.check_limits(weak.facts, job(**resources(cpu="0", shm="1Gi")).codespec)
    with pytest.raises(errors.Problem, match="limits: the Docker engine cannot limit a job's memory on this"):
        body.check_limits(weak.facts, job(**resources(memory="64Mi")).codespec)
    host = request(weak, job(**resources(cpu="1", memory="64Mi", shm="1Gi")))["HostConfig"]
    assert not {"NanoCpus", "Memory"} & set(host)
    assert "ShmSize" in host


def test_ports_are_in_the_network_and_no_pipes(place):
    wanted = job(
        buffers=model.BufferParameters(inputs=["in"], outputs=["out"]),
        sockets=[model.Socket(port=80, input_buffer="in", output_buffer="out")],
    )
    asked = request(place, wanted)
    assert asked["HostConfig"]["NetworkMode"] == "tyger-01234567"
    assert "Binds" not in asked["HostConfig"]
    assert "IN_PIPE" not in env(asked)
    assert "ExposedPorts" not in asked


def test_a_rootless_engine_publishes_ports(place):
    rootless = place._replace(facts=place.facts._replace(rootless=True))
    wanted = job(
        sockets=[model.Socket(port=80, input_buffer="in")], buffers=model.BufferParameters(inputs=["in"])
    )
    asked = request(rootless, wanted)
    assert asked["ExposedPorts"] == {"80/tcp": {}}
    assert asked["HostConfig"]["PortBindings"] == {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}


def test_workers(place):
    codespec = model.WorkerCodespec(image="w", env={"A": "$(TYGER_RUN_ID)"}, endpoints={"api": 80})
    wanted = job(worker=base.Worker(codespec=codespec, replicas=2), args=["$(TYGER_WORKER_NODES)"])
    main = made(place, wanted)
    hosts = ["run-7-worker-0", "run-7-worker-1"]
    assert main.container.hosts == {"run-7-worker-0": "worker-0", "run-7-worker-1": "worker-1"}
    known = env(main.container.body)
    assert json.loads(known["TYGER_WORKER_NODES"]) == hosts
    assert json.loads(known["TYGER_API_WORKER_ENDPOINT_ADDRESSES"]) == [f"{host}:80" for host in hosts]
    assert main.container.body["Cmd"] == [known["TYGER_WORKER_NODES"]]
    assert main.container.body["HostConfig"]["NetworkMode"] == "tyger-01234567"
    worker = body.worker(place, wanted, IMAGE, parts.workers(wanted)[1], "/sock")
    assert worker.name == "worker-1"
    asked = worker.container.body
    assert worker.container.name == "tyger-run-7-worker-1-01234567"
    assert asked["Hostname"] == "run-7-worker-1"
    assert asked["HostConfig"]["NetworkMode"] == "tyger-01234567"
    assert env(asked) == {"HOME": "/tmp/home", "TYGER_RUN_ID": "7", "A": "7"}


@pytest.mark.parametrize(
    ("codespec", "image", "words"),
    [
        ({"command": None}, BARE, "the image 'i' starts nothing by itself"),
        ({"args": ["\0"]}, IMAGE, "args: it has a null byte"),
        ({"working_dir": "a/b"}, IMAGE, "workingDir: it must be an absolute path, not 'a/b'"),
        (resources(memory="1Mi"), IMAGE, "resources.limits.memory: no program starts with less than 6Mi"),
    ],
)
def test_what_is_refused(codespec, image, words):
    with pytest.raises(errors.Problem, match=words) as caught:
        body.check(job(**codespec).codespec, image)
    assert caught.value.kind is errors.INVALID_INPUT


def test_an_image_that_is_still_to_be_pulled():
    body.check(job(command=None).codespec, None)
    with pytest.raises(errors.Problem, match="null byte"):
        body.check(job(args=["\0"]).codespec, None)


def test_what_is_not():
    body.check(job(**resources(memory="6Mi"), working_dir="/a").codespec, BARE)
    body.check(job(**resources(memory="0")).codespec, IMAGE)


@pytest.mark.parametrize(
    ("endpoints", "words"),
    [
        ({"a=b": 80}, "endpoints: 'a=b' cannot be part of the name"),
        ({"a\0b": 80}, r"endpoints: 'a\\x00b' cannot be part of the name"),
        ({"a": 65536}, "endpoints: the port of 'a' must be between 1 and 65535, not 65536"),
        ({"a": 0}, "must be between 1 and 65535, not 0"),
        ({"ep": 1, "EP": 2}, "'ep' and 'EP' would both be TYGER_EP_WORKER_ENDPOINT_ADDRESSES; rename one"),
    ],
)
def test_endpoints_of_which_no_job_can_be_told(endpoints, words):
    codespec = model.WorkerCodespec(image="w", command=["true"], endpoints=endpoints)
    with pytest.raises(errors.Problem, match=words) as caught:
        body.check(codespec, IMAGE)
    assert caught.value.kind is errors.INVALID_INPUT

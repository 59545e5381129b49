"""A container engine beside the process engine: which one executes a run, and what is said of it."""

from __future__ import annotations

import json
import pathlib
import signal
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.support import commands as support
from tests.support import daemon, registry
from tests.support import podman as podman_support
from tyger import client

CONFIG = """
[store]
flush_interval = "50ms"
[engine.process]
cancel_grace = 0.2
[[engine.process.images]]
image = "host"
[engine.container]
socket = "{socket}"
cancel_grace = 0.2
"""
NOWHERE = CONFIG.format(socket="/nowhere/podman.sock")
CHOSEN = 'INF The {} engine was chosen reason="{}"'
HAS = "it answers, and has the image or may pull it"


@pytest.fixture(scope="module")
def both(podman: podman_support.Podman) -> Iterator[daemon.Daemon]:
    """A daemon with both."""
    with daemon.daemon(config=CONFIG.format(socket=podman.socket)) as it:
        yield it


@pytest.fixture
def commands(both: daemon.Daemon) -> Iterator[support.Commands]:
    """Commands against `both`."""
    with support.commands(both) as made:
        yield made


def run_file(
    directory: pathlib.Path, image: str, script: str = "cat $IN_PIPE > $OUT_PIPE", **more: object
) -> str:
    """A run of a shell text."""
    inputs, outputs = (["in"], ["out"]) if "PIPE" in script else ([], [])
    codespec = {
        "image": image,
        "command": ["sh", "-c", script],
        "buffers": {"inputs": inputs, "outputs": outputs},
    }
    path = directory / "run.yml"
    path.write_text(json.dumps({"job": {"codespec": codespec, **more.pop("job", {})}, **more}))
    return str(path)


@pytest.mark.parametrize(
    ("image", "engine", "why"),
    [
        (podman_support.BUSYBOX, "container", HAS),
        ("host", "process", "the container engine refuses: The image 'host' was not found on the system"),
    ],
)
def test_the_first_that_can(
    commands: support.Commands, tmp_path: pathlib.Path, image: str, engine: str, why: str
) -> None:
    done = commands.run("run", "exec", "-f", run_file(tmp_path, image), data=b"hello")
    assert (done.returncode, done.stdout) == (0, b"hello"), done.stderr
    assert CHOSEN.format(engine, why) in done.stderr.decode()
    (run,) = json.loads(commands.run("run", "list", "--limit", 1).stdout)
    shown = commands.show(run["id"])
    expected = (engine, True) if engine == "container" else (None, False)
    assert (shown.get("engine"), str(shown.get("imageDigest")).startswith("sha256:")) == expected


def test_one_that_none_can(commands: support.Commands, tmp_path: pathlib.Path) -> None:
    done = commands.run("run", "create", "-f", run_file(tmp_path, "nothing:1"))
    assert done.returncode == 65
    assert "The image 'nothing:1' was not found on the system" in support.complaint(done)


def test_one_that_is_asked_for(commands: support.Commands, tmp_path: pathlib.Path) -> None:
    file = run_file(tmp_path, "host", "true")
    done = commands.run("run", "exec", "-f", file, "--engine", "process")
    assert done.returncode == 0
    assert b"was chosen" not in done.stderr
    done = commands.run("run", "create", "-f", file, "--engine", "container")
    assert "The image 'host' was not found" in support.complaint(done)
    done = commands.run("run", "create", "-f", file, "--engine", "podman")
    assert done.returncode == 65
    expected = "Unknown engine 'podman'. Valid options are: 'auto', 'container', 'process'."
    assert expected in support.complaint(done)
    done = commands.run("run", "create", "-f", file, "--engine", "process", "--pull")
    assert "pull: the process engine has no images that could be pulled" in support.complaint(done)


def test_what_only_one_can_do(commands: support.Commands, tmp_path: pathlib.Path) -> None:
    """Workers are what the process engine lacks: an image that it alone has gets none."""
    worker = {"codespec": {"image": podman_support.BUSYBOX, "command": ["sleep", "600"]}}
    made = commands.run(
        "run", "exec", "--logs", "-f", run_file(tmp_path, podman_support.BUSYBOX, "echo up", worker=worker)
    )
    assert made.returncode == 0, made.stderr
    assert b"[job] up" in made.stderr
    file = run_file(tmp_path, "host", "true", worker=worker)
    done = commands.run("run", "create", "-f", file, "--engine", "process")
    assert "Runs with workers are only supported on Kubernetes" in support.complaint(done)
    done = commands.run("run", "create", "-f", file)
    assert "Runs with workers" in support.complaint(done)  # the first word of the two


def test_metadata_and_status_tell_what_is_there(both: daemon.Daemon) -> None:
    asked = client.Client(both.socket)
    told = asked.request("GET", "/metadata").json()["capabilities"]
    assert told == ["DistributedRuns", "EphemeralBuffers", "Docker", "LocalBuffers"]
    engines = asked.request("GET", "/status").json()["engines"]
    assert [(engine["name"], engine.get("unavailable")) for engine in engines] == [
        ("container", None),
        ("process", None),
    ]


def test_without_a_container_engine(tmp_path: pathlib.Path) -> None:
    with daemon.daemon(config=NOWHERE) as it, support.commands(it) as commands:
        done = commands.run("run", "exec", "-f", run_file(tmp_path, "host"), data=b"x")
        assert (done.returncode, done.stdout) == (0, b"x")
        assert "INF The process engine was chosen reason=" in done.stderr.decode()
        assert "/nowhere/podman.sock" in done.stderr.decode()
        done = commands.run("run", "create", "-f", run_file(tmp_path, "none", "true"))
        assert done.returncode == 65
        assert b"is not mapped to anything on this host" in done.stderr
        assert b"(The container engine could not be asked: " in done.stderr
        done = commands.run(
            "run", "create", "-f", run_file(tmp_path, "host", "true"), "--engine", "container"
        )
        assert done.returncode == 69
        assert "/nowhere/podman.sock" in support.complaint(done)
        asked = client.Client(it.socket)
        capabilities = asked.request("GET", "/metadata").json()["capabilities"]
        assert capabilities == ["EphemeralBuffers", "LocalBuffers"]
        away, here = asked.request("GET", "/status").json()["engines"]
        assert "/nowhere/podman.sock" in away["unavailable"]
        assert here["unavailable"] is None
        done = commands.run("run", "create", "-f", run_file(tmp_path, "host", "true"), "--pull")
        assert done.returncode == 0
        assert b"WRN The --pull parameter is only supported when running Tyger in Docker." in done.stderr


def test_a_run_keeps_its_engine(podman: podman_support.Podman, tmp_path: pathlib.Path) -> None:
    """Whatever the next daemon is told to use."""
    with daemon.daemon(config=CONFIG.format(socket=podman.socket)) as it, support.commands(it) as commands:
        script = "echo up; read -r line < $IN_PIPE; echo $line > $OUT_PIPE"
        gate = commands.buffer()
        file = run_file(tmp_path, podman_support.BUSYBOX, script, job={"buffers": {"in": gate}})
        run = int(commands.run("run", "create", "-f", file).stdout)
        it.kill()
        text = f"[engine]\nuse = 'process'\n{CONFIG.format(socket=podman.socket)}"
        pathlib.Path(it.config).write_text(text)
        it.start()
        assert commands.run("buffer", "write", gate, data=b"on\n").returncode == 0
        assert commands.ended(run)["status"] == "Succeeded"
        shown = commands.show(run)
        assert shown["engine"] == "container"
        done = commands.run("run", "create", "-f", run_file(tmp_path, podman_support.BUSYBOX, "true"))
        assert b"is not mapped" in done.stderr


# --- pulling ---------------------------------------------------------------------------------------------


def test_an_image_is_pulled(
    podman: podman_support.Podman, commands: support.Commands, tmp_path: pathlib.Path
) -> None:
    with registry.serve(tmp_path) as place:
        image = f"{place}/busybox:1"
        podman.cli("push", "--quiet", podman_support.BUSYBOX, image)
        file = run_file(tmp_path, image)
        done = commands.run("run", "exec", "-f", file, data=b"x")
        assert f"The image '{image}' was not found on the system" in support.complaint(done)
        done = commands.run("run", "exec", "-f", file, "--pull", data=b"hello")
        assert (done.returncode, done.stdout) == (0, b"hello"), done.stderr
        assert f"INF Pulled image {image} image={image}" in done.stderr.decode()
        podman.cli("rmi", image)


def test_a_pull_that_hangs_is_given_up(commands: support.Commands, tmp_path: pathlib.Path) -> None:
    """Ctrl-C ends the command at once, there is no run, and nobody goes on pulling."""
    left = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(support.PATIENCE)

        def hold() -> None:
            connected, _ = silent.accept()
            with connected:
                connected.settimeout(support.PATIENCE)
                begun.set()
                while connected.recv(1000):
                    pass
                left.set()

        begun = threading.Event()
        holding = threading.Thread(target=hold)
        holding.start()
        before = commands.run("run", "list", "--limit", 1).stdout
        file = run_file(tmp_path, f"127.0.0.1:{silent.getsockname()[1]}/x:1")
        process = commands.start("run", "exec", "-f", file, "--pull")
        assert begun.wait(support.PATIENCE)
        process.send_signal(signal.SIGINT)
        assert process.wait(support.PATIENCE) == -signal.SIGINT
        assert left.wait(support.PATIENCE)
        holding.join()
        assert commands.run("run", "list", "--limit", 1).stdout == before

"""A fake daemon and a way to supervise real jobs beside it; container engines, and mains in them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import fakedocker, joined, transferdaemon, watched
from tests.support import podman as podman_support
from tygerd.supervisor import container, control, dockerapi, ending, sockets, spec

PATIENT = "ending.SETTLE = 60"
"""For `changed`: how main has ended is waited for as long as a busy machine takes to tell."""

LASTING = "container.REMOVAL = dockerapi.REMOVABLE = 120"
"""For `changed`: an engine may take so long to remove a container."""

HASTENED = """
def hastened(honest=supervise.boottime):
    return honest() + 3600 * os.path.exists(sys.argv[1] + '/later')
supervise.boottime = hastened
"""
"""For `changed`: an hour passes at `Beside.an_hour_passes`."""


def changed(statements: str) -> list[str]:
    """Words in front of a supervisor's own: it runs with something in it replaced."""
    text = f"""
import os, runpy, sys
from tygerd.supervisor import container, dockerapi, ending, handle, supervise
sys.argv = sys.argv[-2:]
{statements}
runpy.run_module("tygerd.supervisor", run_name="__main__", alter_sys=True)
"""
    return [sys.executable, "-c", text]


class Beside:
    """One supervisor process, as a daemon sees it."""

    def __init__(self, directory: str, process: subprocess.Popen[bytes]) -> None:
        self.directory = directory
        self.process = process

    def connect(self) -> Iterator[dict]:
        """The events of the control socket; `send` on `self.sock`."""
        self.sock = socket.socket(socket.AF_UNIX)
        with control.address(self.directory) as path:
            self.sock.connect(path)
        self.file = self.sock.makefile("rb")
        return map(json.loads, self.file)

    def command(self, **message: object) -> None:
        self.sock.sendall(json.dumps(message).encode() + b"\n")

    def an_hour_passes(self) -> None:
        """By the clock of timeouts of a supervisor that is `HASTENED`."""
        with open(os.path.join(self.directory, "later"), "w"):
            self.command(command="state")  # it looks at its clock whenever it wakes

    def wait(self) -> spec.Status:
        assert self.process.wait(60) == 0, self.errors()
        status = spec.read_status(self.directory)
        assert status is not None
        return status

    def errors(self) -> str:
        with open(os.path.join(self.directory, spec.ERRORS)) as file:
            return file.read()

    def log(self) -> list[tuple[str, str]]:
        with open(os.path.join(self.directory, spec.LOG)) as file:
            return [(line.split(" ", 2)[1], line.split(" ", 2)[2].rstrip("\n")) for line in file]

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)
        if self.process.stdout:
            self.process.stdout.close()
        self.close_connection()

    def close_connection(self) -> None:
        if hasattr(self, "sock"):
            self.file.close()
            self.sock.close()


def until_log(run, events, text: str) -> None:
    """Read events until the job has printed this line."""
    for event in events:
        if event["event"] in {"log", "state"} and ("O", text) in run.log():
            return
    raise AssertionError(f"{text} was never logged")


def until_exited(events) -> None:
    """Read events until main has ended, which is told, or stands in the first state."""
    for event in events:
        if event["event"] == "exited" or event.get("phase") == "ending":
            return
    raise AssertionError("nothing told that main has ended")


@pytest.fixture
def daemon():
    with transferdaemon.TransferDaemon() as fake:
        yield fake


@pytest.fixture
def supervise(tmp_path, daemon):
    """Start a job under a supervisor: `supervise("shell text", inputs=["in"], outputs=["out"])`.

    With `replicas` each is told its number as $REPLICA. In place of a text a container's spec is taken, or
    a program's. `under` are words in front of the supervisor's own.
    """
    started: list[Beside] = []

    def start(
        script: str | list[str] | spec.ContainerSpec | spec.MainSpec,
        *,
        inputs=(),
        outputs=(),
        run=1,
        replicas=1,
        under=(),
        **more,
    ) -> Beside:
        directory = str(tmp_path / str(run))
        os.mkdir(directory)
        argv = ["/bin/sh", "-c", script] if isinstance(script, str) else script
        cwd = more.pop("cwd", directory)
        buffers = more.pop("buffers", {})  # IDs by name, where they are not the usual ones

        def main(name: str, pipes: str, label: str, number: int) -> spec.MainSpec:
            if isinstance(script, spec.MainSpec):
                return script
            if isinstance(script, spec.ContainerSpec):
                return spec.MainSpec(name, container=script, pipes=pipes, label=label)
            env = {"PATH": os.environ["PATH"], "REPLICA": str(number)}
            for buffer in (*inputs, *outputs):
                env[f"{buffer.upper()}_PIPE"] = spec.pipe_path(directory, buffer, pipes)
            return spec.MainSpec(name, spec.ProcessSpec(argv, env, cwd), pipes=pipes, label=label)

        spec.write_spec(
            directory,
            spec.Spec(
                run=run,
                mains=tuple(main(f"job-{i}", str(i), f"[job-{i}]", i) for i in range(replicas))
                if replicas > 1
                else (main("main", "", "", 0),),
                daemon_socket=daemon.socket,
                inputs=tuple(spec.Pipe(name, buffers.get(name, f"buffer-{name}")) for name in inputs),
                outputs=tuple(spec.Pipe(name, buffers.get(name, f"buffer-{name}")) for name in outputs),
                **more,
            ),
        )
        process = subprocess.Popen(
            [*under, sys.executable, "-m", "tygerd.supervisor", directory],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        beside = Beside(directory, process)
        started.append(beside)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n", process.wait(5)
        return beside

    yield start
    for beside in started:
        beside.close()


@pytest.fixture(params=["podman", "docker"])
def engine(request):
    """An engine that is left without containers."""
    if request.param == "podman":
        yield request.getfixturevalue("podman")
        return
    with fakedocker.docker() as fake:
        yield fake


@pytest.fixture(params=["podman", "docker"])
def restarting(request):
    """An engine, and how it goes away and comes back."""
    if request.param == "podman":
        own = request.getfixturevalue("restarted")
        yield own, own.kill, own.start
        return
    with fakedocker.docker() as fake:
        yield fake, fake.stop, fake.start


@pytest.fixture(scope="module")
def restarted():
    """A Podman whose service may be killed, and is running again afterwards."""
    with podman_support.service() as own:
        yield own


@pytest.fixture
def docker():
    with fakedocker.docker() as fake:
        yield fake


@pytest.fixture
def run(monkeypatch):
    """`run(engine.socket, "shell text")`: a main that was started, closed afterwards."""
    for module, name in ((container, "REMOVAL"), (dockerapi, "REMOVABLE")):
        monkeypatch.setattr(module, name, watched.PATIENCE)  # an engine may be busy
    made: list[watched.Watched] = []

    def start(*arguments: Any, **more: Any) -> watched.Watched:
        made.append(watched.start(*arguments, **more))
        return made[-1]

    yield start
    for each in made:
        watched.stop(each)


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.settimeout(joined.PATIENCE)
        yield sock


@pytest.fixture
def join(tmp_path, listener, monkeypatch):
    """`join()` starts an adapter that connects to `listener`, or to a `place`.

    `life` is a descriptor that tells when main's network goes; `proxied` is of the listener's address.
    """
    monkeypatch.setattr(ending, "SETTLE", 0.05)
    made: list[joined.Joined] = []

    def start(place=None, *, life=-1, proxied=False, **more) -> joined.Joined:
        if place is None:
            address = sockets.Address(*listener.getsockname(), proxied=proxied)
            place = joined.Fixed(address, ends=life)
        made.append(joined.Joined(tmp_path, place, **more))
        return made[-1]

    yield start
    for each in made:
        each.close()

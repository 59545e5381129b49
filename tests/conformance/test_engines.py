"""Every engine passes the one suite: the process engine with and without bubblewrap, containers of Podman
and of Docker."""

from __future__ import annotations

import contextlib
import itertools
import os
import pathlib
import secrets
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import trio

from tests.support import dockerd as dockerd_support
from tests.support import dockerlog, freeport, transferdaemon
from tests.support import podman as podman_support
from tyger import paths
from tygerd import config
from tygerd.conformance.engines import bench as conformance
from tygerd.conformance.engines import ends, limits, pipes, programs, wide
from tygerd.engines import base
from tygerd.engines.container import engine as container_engine
from tygerd.engines.process import bwrap
from tygerd.engines.process import engine as process_engine
from tygerd.engines.supervised import spawn
from tygerd.supervisor import dockerapi, log, output

ALL = (ends, limits, pipes, programs, wide)
"""Importing a part has put its checks on the list."""


class Bench:
    """An engine with a fake daemon for its transfers. `make` makes one over the same state."""

    unknown_image = "registry.example/unknown:1"
    tells_streams = True

    def __init__(
        self,
        daemon: transferdaemon.TransferDaemon,
        image: str,
        starts_within: int,
        make: Callable[[], base.Engine],
        nursery: trio.Nursery,
        ports: contextlib.ExitStack,
    ) -> None:
        self.daemon = daemon
        self.image = image
        self.starts_within = starts_within
        self._make = make
        self._nursery = nursery
        self._ports = ports
        self._numbers = itertools.count(1)
        self._life = trio.CancelScope()
        self._ended = trio.Event()

    async def start(self) -> None:
        """Make an engine and have its tasks run."""
        self.engine = self._make()
        await self._nursery.start(self._run, self.engine)

    async def _run(self, engine: base.Engine, task_status: trio.TaskStatus[None]) -> None:
        self._life, self._ended = trio.CancelScope(), trio.Event()
        with self._life:
            await engine.run(task_status=task_status)
        self._ended.set()

    async def restart(self) -> None:
        self._life.cancel()
        await self._ended.wait()
        await self.start()

    def next_run(self) -> int:
        return next(self._numbers)

    def next_port(self) -> int:
        return self._ports.enter_context(freeport.freeport())

    async def filled(self, content: bytes) -> str:
        name = f"buffer{next(self._numbers)}"
        self.daemon.buffers[name] = content
        return name

    async def empty(self) -> str:
        return f"buffer{next(self._numbers)}"

    async def outcome(self, buffer: str) -> tuple[str, bytes]:
        return self.daemon.outcomes[buffer][0], self.daemon.written[buffer]


def supervisor(word: str) -> list[str]:
    return [sys.executable, "-m", "tygerd.supervisor", word]


WORKS = (program := bwrap.find()) is not None and bwrap.probe(program) is None


@contextlib.asynccontextmanager
async def running(
    daemon: transferdaemon.TransferDaemon, image: str, starts_within: int, make: Callable[[], base.Engine]
) -> AsyncIterator[Bench]:
    """A bench whose engine runs."""
    with contextlib.ExitStack() as ports:
        async with trio.open_nursery() as nursery:
            bench = Bench(daemon, image, starts_within, make, nursery, ports)
            await bench.start()
            yield bench
            nursery.cancel_scope.cancel()


@pytest.fixture(
    params=[
        "off",
        pytest.param("require", marks=pytest.mark.skipif(not WORKS, reason="bubblewrap does not work here")),
    ]
)
async def process(request, tmp_path) -> AsyncIterator[Bench]:
    settings = config.parse(
        f'[engine.process]\nbubblewrap = "{request.param}"\ncancel_grace = 0.3\n'
        '[[engine.process.images]]\nimage = "here"\n'
    )
    with transferdaemon.TransferDaemon() as daemon:
        places = paths.Paths(
            system=False, socket=daemon.socket, state=str(tmp_path / "state"), config="/etc/x/tygerd.toml"
        )

        def make() -> base.Engine:
            return process_engine.ProcessEngine(places, settings, spawn.Supervisors(supervisor))

        async with running(daemon, "here", 2, make) as bench:
            yield bench


@pytest.fixture
async def container(podman, known_podman, tmp_path) -> AsyncIterator[Bench]:
    (tmp_path / "state").mkdir()
    shutil.copy(known_podman, tmp_path / "state")
    async with containing(podman.socket, tmp_path) as bench:
        yield bench


@pytest.fixture(scope="module")
def dockerd() -> Iterator[dockerd_support.Docker]:
    with dockerd_support.service() as engine:
        yield engine


@pytest.fixture
async def docker(dockerd, tmp_path) -> AsyncIterator[Bench]:
    (tmp_path / "state").mkdir()
    async with containing(dockerd.socket, tmp_path) as bench:
        yield bench


@contextlib.asynccontextmanager
async def containing(api: str, tmp_path: pathlib.Path) -> AsyncIterator[Bench]:
    """A bench of the container engine with what listens there."""
    settings = config.parse(f'[engine.container]\nsocket = "{api}"\ncancel_grace = 0.5\n')
    with transferdaemon.TransferDaemon() as daemon:
        places = paths.Paths(
            system=False, socket=daemon.socket, state=str(tmp_path / "state"), config="/etc/x/tygerd.toml"
        )
        installation = secrets.token_hex(16)

        def make() -> base.Engine:
            return container_engine.ContainerEngine(
                places, settings, installation=installation, supervisors=spawn.Supervisors(supervisor)
            )

        async with running(daemon, podman_support.BUSYBOX, 5, make) as bench:
            yield bench


@pytest.mark.parametrize("name", conformance.CHECKS)
async def test_process_engine(process, name):
    await conformance.CHECKS[name](process)


@pytest.mark.parametrize("name", conformance.CHECKS)
async def test_container_engine(container, name):
    await conformance.CHECKS[name](container)


@pytest.mark.long  # half a minute more for what Podman has shown but for the engine's own ways
@pytest.mark.parametrize("name", conformance.CHECKS)
async def test_container_engine_with_docker(docker, name):
    await conformance.CHECKS[name](docker)


@pytest.mark.long
def test_dockers_log_has_long_lines_whole(dockerd):
    """The connection that was attached is not used; where the log ends in a long line, its end is unknown."""
    length = dockerlog.PART
    sizes = [3, length - 1, length, length + 1, 2 * length, 0, 5 * length, 5 * length + 7, 1]
    script = "; ".join(f"head -c {size} /dev/zero | tr '\\0' x; echo" for size in sizes) + "; printf end"
    body = {"Image": podman_support.BUSYBOX, "Cmd": ["sh", "-c", script]}
    api, stamps = dockerapi.Api(dockerd.socket), log.Stamps()
    host = {"LogConfig": {"Type": "local"}, "NetworkMode": "none"}
    api.call("POST", "/containers/create", query={"name": "long"}, body={**body, "HostConfig": host})
    it = output.Output(api, lambda fd, stream: log.Source(fd, stream, stamps), local=True)
    api.call("POST", "/containers/long/start")
    api.call("POST", "/containers/long/wait")
    it.begin("long", None)
    it.finish(damaged=False)
    found = b""
    for source in it.sources:
        os.set_blocking(source.fileno(), True)
        while data := os.read(source.fileno(), 65536):
            found += data
        source.close()
    it.close()
    api.call("DELETE", "/containers/long")
    assert found == b"".join(b"x" * size + b"\n" for size in sizes) + b"end"

"""The Kubernetes engine passes the suite of all engines; buffers are in Azurite or behind our data plane."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import trio

from tests.support import cluster as cluster_support
from tests.support import storedbuffers
from tyger import paths
from tygerd import config
from tygerd.conformance.engines import bench as conformance
from tygerd.conformance.engines import ends, limits, pipes, programs, wide
from tygerd.engines import base
from tygerd.engines.kubernetes import engine as kubernetes_engine
from tygerd.engines.kubernetes import secrets as run_secrets

ALL = (ends, limits, pipes, programs, wide)
"""Importing a part has put its checks on the list."""

CONFIG = """
[engine.kubernetes]
kubeconfig = "{kubeconfig}"
namespace = "{namespace}"
node_selector = {{}}
pull = "missing"
pump_image = "{pump}"
cancel_grace = 5
pump_requests = {{ cpu = "100m", memory = "32Mi" }}
"""


class Finishing:
    """An engine, and what a daemon does when it says that outputs were left unfinished (`runs.supervise`)."""

    def __init__(
        self, engine: base.Engine, buffers: storedbuffers.Buffers, jobs: dict[int, base.Job]
    ) -> None:
        self._engine = engine
        self._buffers = buffers
        self._jobs = jobs

    def __getattr__(self, name: str) -> object:
        return getattr(self._engine, name)

    async def start(self, job: base.Job) -> None:
        self._jobs[job.run] = job
        await self._engine.start(job)

    async def follow(self, run: int, report: base.Report) -> base.Observation:
        end = await self._engine.follow(run, report)
        for name in end.incomplete:
            await trio.to_thread.run_sync(self._buffers.fail, self._jobs[run].buffers[name])
        return end


class Bench:
    """An engine, and the buffers of a daemon for its transfers. `make` makes one over the same state."""

    unknown_image = "registry.example/No Name:1"
    starts_within = 30

    def __init__(
        self,
        image: str,
        buffers: storedbuffers.Buffers,
        make: Callable[[], base.Engine],
        nursery: trio.Nursery,
        *,
        tells_streams: bool,
    ) -> None:
        self.image = image
        self.tells_streams = tells_streams
        self.buffers = buffers
        self._make = make
        self._nursery = nursery
        self._numbers = itertools.count(1)
        self._runs: list[int] = []
        self._jobs: dict[int, base.Job] = {}
        self._life = trio.CancelScope()
        self._ended = trio.Event()

    async def start(self) -> None:
        """Make an engine and have its tasks run."""
        self.engine = Finishing(self._make(), self.buffers, self._jobs)
        await self._nursery.start(self._run, self.engine)

    async def _run(self, engine: Finishing, task_status: trio.TaskStatus[None]) -> None:
        self._life, self._ended = trio.CancelScope(), trio.Event()
        with self._life:
            await engine.run(task_status=task_status)
        self._ended.set()

    async def restart(self) -> None:
        self._life.cancel()
        await self._ended.wait()
        await self.start()

    async def clear(self) -> None:
        """Take away what the check's runs have left."""
        for run in self._runs:
            await self.engine.remove(run)

    def next_run(self) -> int:
        self._runs.append(next(self._numbers))
        return self._runs[-1]

    def next_port(self) -> int:
        return 8000  # each pod has a network of its own

    async def filled(self, content: bytes) -> str:
        return await trio.to_thread.run_sync(self.buffers.filled, content)

    async def empty(self) -> str:
        return await trio.to_thread.run_sync(self.buffers.empty)

    async def outcome(self, buffer: str) -> tuple[str, bytes]:
        return await trio.to_thread.run_sync(self.buffers.outcome, buffer)


@pytest.fixture(scope="module")
def azurite(cluster: cluster_support.Cluster) -> Iterator[storedbuffers.Buffers]:
    with storedbuffers.on_azurite(cluster.host) as buffers:
        yield buffers


@pytest.fixture(scope="module")
def our_own(cluster: cluster_support.Cluster) -> Iterator[storedbuffers.Buffers]:
    with storedbuffers.on_our_own(cluster.host) as buffers:
        yield buffers


@pytest.fixture(params=["azurite", "our_own"])
async def bench(request, cluster, namespace, pump_image, tmp_path) -> AsyncIterator[Bench]:
    buffers: storedbuffers.Buffers = request.getfixturevalue(request.param)
    state = tmp_path / "state"
    state.mkdir()
    places = paths.Paths(system=False, socket="/nowhere/s", state=str(state), config="/etc/x/tygerd.toml")
    text = CONFIG.format(kubeconfig=cluster.kubeconfig, namespace=namespace, pump=pump_image)
    settings, installation = config.parse(text), secrets.token_hex(16)

    def make() -> base.Engine:
        urls = run_secrets.AccessUrls(buffers.sign, buffers.trusted)
        return kubernetes_engine.KubernetesEngine(places, settings, installation=installation, urls=urls)

    async with trio.open_nursery() as nursery:
        told = cluster.tells_streams()
        made = Bench(cluster.busybox, buffers, make, nursery, tells_streams=told)
        await made.start()
        yield made
        with trio.fail_after(conformance.PATIENCE):
            await made.clear()
        left = [
            pod["metadata"]["name"] for pod in cluster.pods(namespace, f"tyger-installation={installation}")
        ]
        nursery.cancel_scope.cancel()
    assert left == []


@pytest.mark.parametrize("name", conformance.CHECKS)
async def test_kubernetes_engine(bench, name):
    await conformance.CHECKS[name](bench)

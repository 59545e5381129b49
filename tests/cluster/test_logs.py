"""The output of real pods, as the kubelet gives it, into a run's log: all of it, once, whatever breaks."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trio

from tests.support import apigate
from tests.support import cluster as cluster_support
from tygerd import enginesettings
from tygerd.engines.kubernetes import access, api, logfile, logs, logsource

PATIENCE = 180
"""Seconds for one pod."""


class Run:
    """Pods that are a run's, and what has become of their log."""

    def __init__(
        self,
        cluster: cluster_support.Cluster,
        namespace: str,
        directory: pathlib.Path,
        kubeconfig: str | None = None,
    ) -> None:
        self.cluster = cluster
        self.at = f"/api/v1/namespaces/{namespace}/pods"
        self.directory = directory
        settings = enginesettings.Kubernetes(kubeconfig=kubeconfig or cluster.kubeconfig, namespace=namespace)
        self.api = api.Api(access.Access(settings, {}), settings)
        self.name = directory.name.replace("_", "-").rstrip("-")
        self.labels = {self.name: ""}
        self.pods: dict[str, Any] = {}
        self._changed = trio.Event()

    def create(self, script: str, **spec: object) -> None:
        """A pod whose `main` executes a shell text."""
        container = {
            "name": "main",
            "image": self.cluster.busybox,
            "imagePullPolicy": "IfNotPresent",
            "command": ["sh", "-c", script],
        }
        spec = {
            "containers": [container],
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 2,
        } | spec
        metadata = {"name": self.name, "labels": {"tyger-test": self.name}}
        self.cluster.post(self.at, {"metadata": metadata, "spec": spec})

    @contextlib.asynccontextmanager
    async def collecting(self) -> AsyncIterator[logs.Collector]:
        """Collect, with what a watch tells of the pods."""
        async with (
            logs.collecting(self.api, str(self.directory), self.labels) as collector,
            trio.open_nursery() as nursery,
        ):
            collector.observe(self.pods)
            nursery.start_soon(self._watch, collector)
            yield collector
            nursery.cancel_scope.cancel()

    async def _watch(self, collector: logs.Collector) -> None:
        found, version = await self.api.list("Pod", f"tyger-test={self.name}")
        watch = self.api.watch("Pod", f"tyger-test={self.name}", version)

        def tell(event: str, pod: Any) -> None:
            name = pod["metadata"]["name"]
            self.pods.pop(name, None)
            if event != "DELETED":
                self.pods[name] = pod
            collector.observe(self.pods)
            changed, self._changed = self._changed, trio.Event()
            changed.set()

        def listen() -> None:
            for event, pod in watch:
                trio.from_thread.run_sync(tell, event, pod)

        for pod in found:
            tell("ADDED", pod)
        try:
            await trio.to_thread.run_sync(listen, abandon_on_cancel=True)
        finally:
            watch.close()

    async def until(self, holds: Callable[[Any], object]) -> None:
        """Until this holds for what the pod says of main."""
        while True:
            changed = self._changed
            for pod in self.pods.values():
                for status in pod["status"].get("containerStatuses", ()):
                    if holds(status):
                        return
            await changed.wait()

    async def has_ended(self) -> None:
        """Until main has ended."""
        await self.until(lambda status: "terminated" in status["state"])

    def records(self) -> list[list[bytes]]:
        """The records of the log, whole."""
        data = (self.directory / logfile.LOG).read_bytes()
        return [record.split(b" ", 2) for record in data.splitlines()]

    def kept(self) -> list[bytes]:
        """The lines that the cluster has of it, at the end."""
        return self.cluster.ask("GET", f"{self.at}/{self.name}/log").splitlines()

    def lines(self) -> list[bytes]:
        """Their texts."""
        return [record[2] for record in self.records()]


@pytest.fixture
def run(cluster: cluster_support.Cluster, namespace: str, tmp_path: pathlib.Path) -> Run:
    return Run(cluster, namespace, tmp_path)


async def printed(collector: logs.Collector, run: Run, text: bytes) -> None:
    """Until the log has this line."""
    while True:
        grown = collector.next()
        if text in run.lines():
            return
        await grown.wait()


async def test_what_is_printed_is_there_while_it_runs(run: Run) -> None:
    run.create("echo up; sleep 600")
    with trio.fail_after(PATIENCE):
        async with run.collecting() as collector:
            await printed(collector, run, b"up")
            assert collector.size == len((run.directory / logfile.LOG).read_bytes())


async def test_lines_of_any_length_and_many_at_once(run: Run) -> None:
    """As the kubelet has them: where the machine is slow, the runtime loses what is printed just before an
    end."""
    script = "head -c 2000000 /dev/zero | tr '\\0' x; echo; seq 50000; head -c 16384 /dev/zero | tr '\\0' y"
    run.create(f"{script}; echo; printf end; sleep 3")
    with trio.fail_after(PATIENCE):
        async with run.collecting() as collector:
            await run.has_ended()
            await collector.finish()
    found = run.lines()
    assert found == run.kept()
    assert [len(line) for line in found if line[:1] == b"x"] == [2_000_000]
    assert found[1:50001] == [b"%d" % number for number in range(1, 50001)]
    assert found[50001:] == [b"y" * 16384, b"end"]
    times = [record[0] for record in run.records()]
    assert times == sorted(set(times))


async def test_a_container_that_is_restarted(run: Run) -> None:
    """What was printed before the restart is not lost, and not taken twice."""
    run.create("echo up; date +%s%N; seq 100; exit 1", restartPolicy="Always")
    with trio.fail_after(PATIENCE):
        async with run.collecting() as collector:
            await run.until(lambda status: status["restartCount"] == 1 and "running" not in status["state"])
            await collector.finish()
    found = run.lines()
    assert found.count(b"up") == 2
    assert len(found) == 2 * 102


async def test_a_pod_that_is_deleted_has_last_words(run: Run) -> None:
    run.create("trap 'echo bye; exit 3' TERM; echo up; while true; do sleep 0.1; done")
    with trio.fail_after(PATIENCE):
        async with run.collecting() as collector:
            await printed(collector, run, b"up")
            run.cluster.delete(f"{run.at}/{run.name}", grace=5)
            while run.pods:
                await run._changed.wait()
            await collector.finish()
    assert run.lines() == [b"up", b"bye"]


async def test_which_lines_are_of_standard_error(run: Run) -> None:
    """Where the cluster has the feature for it, as the tests' own has by default.

    The runtime reads both pipes at once: a line without an end must come when the others have been read, or
    it gets theirs.
    """
    if not run.cluster.tells_streams():
        pytest.skip("this cluster does not have PodLogsQuerySplitStreams")
    run.create("echo out; echo trouble >&2; echo out again; sleep 1; printf 'the end' >&2")
    with trio.fail_after(PATIENCE):
        async with run.collecting() as collector:
            await run.has_ended()
            await collector.finish()
    assert {text: letter.upper() for _, letter, text in run.records()} == {
        b"out": b"O",
        b"trouble": b"E",
        b"out again": b"O",
        b"the end": b"E",
    }


async def test_another_daemon_goes_on(run: Run) -> None:
    """Also where the first one has not taken note of all that it wrote."""
    run.create("for i in 1 2 3 4 5 6; do seq ${i}000 ${i}999; sleep 0.3; done")
    with trio.fail_after(PATIENCE):
        for _ in range(4):
            async with run.collecting() as collector:
                await collector.next().wait()
        async with run.collecting() as collector:
            await run.has_ended()
            await collector.finish()
    assert run.lines() == [b"%d" % number for number in range(1000, 7000)]


async def test_breaks(
    cluster: cluster_support.Cluster, namespace: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of lines of all lengths, many of them in one instant: nothing is lost or doubled."""
    monkeypatch.setattr(logsource, "FIRST_PAUSE", 0.05)
    script = """
        for round in 1 2 3 4 5 6 7 8; do
            seq ${round}000 ${round}300
            head -c 40000 /dev/zero | tr '\\0' $round; echo; echo trouble $round >&2
            usleep 300000
            printf half; usleep 300000; echo $round
        done
        printf end
    """
    with trio.fail_after(PATIENCE), apigate.gate(cluster, tmp_path) as gate:
        run = Run(cluster, namespace, tmp_path, gate.kubeconfig)
        run.create(script)
        async with run.collecting() as collector, trio.open_nursery() as nursery:

            async def cut() -> None:
                while True:
                    await collector.next().wait()
                    gate.cut("/log")

            nursery.start_soon(cut)
            await run.has_ended()
            nursery.cancel_scope.cancel()
        assert sum("/log" in request for request in gate.requests) > 5
        async with run.collecting() as collector:
            await run.has_ended()
            await collector.finish()
        assert run.lines() == run.kept()
        assert len(run.lines()) == 8 * 304 + 1


@pytest.mark.long
async def test_rotation(run: Run) -> None:
    """The kubelet begins a new file when one has 10 MiB, which it looks at every ten seconds.

    What is followed has all of it, though the cluster has the last file only.
    """
    run.create("for round in 1 2 3 4 5 6; do seq ${round}00000 ${round}99999; sleep 6; done")
    with trio.fail_after(PATIENCE * 2):
        async with run.collecting() as collector:
            await run.has_ended()
            await collector.finish()
    found = run.lines()
    assert len(run.kept()) < len(found)
    assert found == [b"%d" % number for number in range(100_000, 700_000)]

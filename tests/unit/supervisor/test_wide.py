"""Runs of several containers, on a real Podman: workers first, then the job; nothing is left of either."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Callable
from typing import NamedTuple

import pytest

from tests.support import podman as podman_support
from tests.unit.supervisor import conftest
from tygerd.supervisor import spec


class Wide(NamedTuple):
    """Starts a job and its workers: `wide.start("shell text", ["shell text of worker-0", ...])`."""

    engine: podman_support.Podman
    network: str
    unique: str
    supervise: Callable[..., conftest.Beside]

    def _program(self, name: str, script: str, label: str, image: str, **hosts: str) -> spec.MainSpec:
        body = {
            "Image": image,
            "Entrypoint": ["sh", "-c"],
            "Cmd": [script],
            "Labels": {"test": self.unique},
            "HostConfig": {"NetworkMode": self.network, "Init": True},
        }
        made = spec.ContainerSpec(self.engine.socket, f"tyger-{self.unique}-{name}", body, hosts)
        return spec.MainSpec(name, container=made, label=label)

    def start(self, script, workers, image=podman_support.BUSYBOX, changes="", **more) -> conftest.Beside:
        under = conftest.changed(f"{conftest.LASTING}\n{changes}")
        names = [f"worker-{number}" for number in range(len(workers))]
        helpers = [
            self._program(name, worker, f"[{name}]", image)
            for name, worker in zip(names, workers, strict=True)
        ]
        hosts = {f"host-of-{name}": name for name in names}
        job = self._program("main", script, "[job]", image, **hosts)
        return self.supervise(job, workers=tuple(helpers), under=under, **more)


@pytest.fixture(scope="module")
def network(podman):
    name = f"test-{uuid.uuid4().hex[:8]}"
    podman.cli("network", "create", name)
    yield name
    podman.cli("network", "rm", name)


@pytest.fixture
def wide(podman, network, supervise):
    """Of which nothing is left afterwards."""
    made = Wide(podman, network, uuid.uuid4().hex[:8], supervise)
    yield made
    assert podman.containers(test=made.unique) == []


def test_a_job_reaches_its_workers(wide):
    script = "for i in 0 1; do until echo hello $i | nc host-of-worker-$i 8000; do sleep 0.02; done; done"
    run = wide.start(script, ["echo up; exec nc -ll -p 8000 -e cat"] * 2)
    assert run.wait().status == "Succeeded"
    said = sorted(text for _, text in run.log())
    assert said == ["[job] hello 0", "[job] hello 1", "[worker-0] up", "[worker-1] up"]


def test_a_worker_that_fails_fails_the_run(wide):
    run = wide.start("exec sleep 600", ["exec sleep 600", "exit 4"])
    status = run.wait()
    assert (status.status, status.reason) == ("Failed", "Worker exited with code 4 in worker-1")


def test_workers_that_cannot_run(wide):
    status = wide.start("echo up", ["true"], image="localhost/none:1").wait()
    assert (status.status, status.started_at) == ("Failed", None)
    assert status.reason.startswith("cannot create worker-0's container: ")


def test_a_job_is_cancelled_with_its_workers(wide):
    run = wide.start("echo up; exec sleep 600", ["trap '' TERM; while :; do sleep 600; done"])
    events = run.connect()
    conftest.until_log(run, events, "[job] up")
    run.command(command="cancel", reason="Canceled by user")
    status = run.wait()
    assert (status.status, status.exit_code) == ("Canceled", 143)


def test_an_engine_that_hangs_does_not_hold_up_the_end_of_a_run(supervise):
    with podman_support.service() as engine:
        wide = Wide(engine, "none", uuid.uuid4().hex[:8], supervise)
        engine.hang()
        # An engine that was hanging may take a while until it has created what nobody waits for any more.
        run = wide.start("true", ["true"], cancel_grace=0.1, changes="handle.CREATION = 5")
        events = run.connect()
        run.command(command="cancel", reason="enough")
        (end,) = [event["status"] for event in events if event["event"] == "finished"]
        os.kill(engine.pid, signal.SIGCONT)
        assert (end["status"], end["reason"], end["started_at"]) == ("Canceled", "enough", None)
        run.wait()
        assert engine.containers(test=wide.unique) == []

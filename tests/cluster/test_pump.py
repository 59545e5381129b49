"""The sidecar of a pod, where a kubelet's slowness matters: before main begins, and after it has ended."""

from __future__ import annotations

import concurrent.futures
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.support import cluster as cluster_support
from tests.support import daemon, pods

NUMBER = 8
"""Of a cluster of our own, whose kubelet is held; nobody else's."""

BLIND = 8.0
"""Seconds for which the kubelet sees nothing: longer than any verdict waits where main cannot be seen."""


@pytest.fixture(scope="module")
def host(cluster: cluster_support.Cluster, namespace: str, pump_image: str) -> Iterator[pods.Host]:
    with pods.host(cluster, namespace) as made:
        yield made


def reads(host: pods.Host, run: int) -> tuple[bool, bytes]:
    """Whether a run's output is whole, and what is in it."""
    done = host.commands.run("buffer", "read", host.show(run)["job"]["buffers"]["out"])
    return done.returncode == 0, done.stdout


def test_mains_that_end_at_once(host: pods.Host) -> None:
    """Their pumps have begun all the same, and heard of their end: outputs are empty, or have failed."""
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda number: host.create(f"exit {number % 2}", outputs=("out",)), range(8)))
        list(pool.map(lambda each: host.ends(each[1], ("Succeeded", "Failed")[each[0] % 2]), enumerate(runs)))
    for number, run in enumerate(runs):
        whole, data = reads(host, run)
        assert (whole, data) == (number % 2 == 0, b"")
    host.clean()


@pytest.mark.long
def test_a_main_that_crashes_while_the_kubelet_looks_away(tmp_path: pathlib.Path) -> None:
    """What it had written and closed does not pass for whole, however late its end is known."""
    archive = tmp_path / "pump.tar"
    script = daemon.ROOT / "packaging/container/image.py"
    subprocess.run([sys.executable, str(script), "--output", str(archive)], check=True, capture_output=True)
    with cluster_support.another(NUMBER) as own, own.namespace() as namespace:
        own.image(own.busybox, {})
        own.load(archive)
        with pods.host(own, namespace) as host:
            run = host.create('echo up; sleep 2; echo half > "$OUT_PIPE"; exit 7', outputs=("out",))
            host.logged(run, "up")
            assert own.own is not None
            kubelet = int((own.own / "pid/kubelet").read_text())
            os.kill(kubelet, signal.SIGSTOP)
            try:
                time.sleep(2 + BLIND)  # nothing happens, and that is what is looked for
            finally:
                os.kill(kubelet, signal.SIGCONT)
            host.ends(run, "Failed", "Main exited with code 7")
            assert reads(host, run)[0] is False
            host.clean()

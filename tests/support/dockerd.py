"""A real Docker Engine with a store of its own, without its bridge and without rules in this host's firewall.

with dockerd.service() as engine:
    engine.socket

Debian's; packaging/setup.sh unpacks it. It ends with the process that has started it, whatever ends that.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import pathlib
import select
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator

import pytest

from tests.support import daemon
from tests.support import podman as podman_support

PLACE = daemon.ROOT / ".venv/docker/usr"

PATIENCE = 180
"""Seconds until it answers; two on a quiet machine."""


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("docker", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        """See `http.client`."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


class Docker:
    """One store of images and containers, and its two daemons."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.socket = f"{directory}/s"
        self._path = f"{directory}/bin:{PLACE}/bin:{PLACE}/sbin:{os.environ['PATH']}:/usr/sbin:/sbin"
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start it, and wait until it answers."""
        at = self.directory
        os.mkdir(f"{at}/bin")
        init = shutil.which("catatonit") or "/nowhere"
        os.symlink(init, f"{at}/bin/docker-init")
        layers = ["--root", f"{at}/layers", "--state", f"{at}/tasks", "--address", f"{at}/c"]
        self._spawn("containerd", "--config", os.devnull, *layers)
        places = ["--data-root", f"{at}/data", "--exec-root", f"{at}/exec", "--pidfile", f"{at}/pid"]
        network = ["--bridge=none", "--iptables=false", "--ip-masq=false"]
        drivers = ["--storage-driver", "vfs", "--exec-opt", "native.cgroupdriver=cgroupfs"]
        engine = self._spawn(
            "dockerd", "--host", f"unix://{at}/s", "--containerd", f"{at}/c", *places, *network, *drivers
        )
        ended = os.pidfd_open(engine.pid)
        try:
            for _ in range(PATIENCE * 50):
                with contextlib.suppress(OSError):
                    assert self.ask("GET", "/_ping") == b"OK"
                    return
                if select.select([ended], [], [], 0.02)[0]:
                    break
        finally:
            os.close(ended)
        raise AssertionError(f"dockerd does not start:\n{pathlib.Path(at, 'log').read_text()}")

    def ask(self, method: str, path: str, body: bytes = b"") -> bytes:
        """One exchange with its API; the body of the answer. Raises OSError where nobody listens."""
        connection = _Connection(self.socket)
        with contextlib.closing(connection):
            connection.request(method, path, body, {"Content-Type": "application/x-tar"})
            answer = connection.getresponse()
            data = answer.read()
            assert answer.status == 200, data
            return data

    def _spawn(self, *argv: str) -> subprocess.Popen[bytes]:
        with open(f"{self.directory}/log", "ab") as log:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *argv],
                env={"PATH": self._path, "HOME": self.directory},
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def stop(self) -> None:
        """End its containers and itself, and remove its files."""
        with contextlib.suppress(OSError):
            self.ask("POST", "/networks/prune")  # each has a bridge on this host
        for process in reversed(self._processes):
            process.terminate()
            process.wait(PATIENCE)
        for line in reversed(pathlib.Path("/proc/self/mounts").read_text().splitlines()):
            if (target := line.split()[1]).startswith(f"{self.directory}/"):
                subprocess.run(["umount", "--lazy", target], check=False)
        shutil.rmtree(self.directory)


def missing() -> str | None:
    """Why there can be no Docker here; None where it can."""
    path = f"{PLACE}/bin:{PLACE}/sbin:{os.environ['PATH']}:/usr/sbin:/sbin"
    for program in ("dockerd", "containerd", "runc", "busybox"):
        if shutil.which(program, path=path) is None:
            return f"there is no {program}: packaging/setup.sh unpacks it"
    return None if os.geteuid() == 0 else "needs root, for a Docker"


@contextlib.contextmanager
def service() -> Iterator[Docker]:
    """A Docker that answers and has `podman.BUSYBOX`. Skips the test where there is none."""
    if (reason := missing()) is not None:
        pytest.skip(reason)
    engine = Docker(tempfile.mkdtemp(prefix="tyger-docker-", dir="/tmp"))
    try:
        engine.start()
        name, _, tag = podman_support.BUSYBOX.rpartition(":")
        query = f"fromSrc=-&repo={name}&tag={tag}&changes=ENV%20PATH=/bin"
        engine.ask("POST", f"/images/create?{query}", podman_support.root_filesystem({}))
        yield engine
    finally:
        engine.stop()

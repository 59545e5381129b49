"""A real Podman with a store of its own, and the service of its API, which speaks Docker's as well.

def test_it(podman):                                    # the session's own, from tests/conftest.py
    podman.socket                                       # http://d/v1.41/... on this Unix socket
    podman.cli("run", "--rm", podman_support.BUSYBOX, "true")
with podman_support.service() as engine:                # one of a test's own, for the faults
    engine.kill()
    engine.start()

Each takes a free slot: a directory below PLACE that its flock keeps for this process, and a range of subnets.
Whoever takes a slot removes what one that was killed has left there: containers, networks, mounts, files. The
networks' definitions stand in one directory for all, because Podman chooses names of bridges by those it can
see, and bridges belong to the host.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.support import daemon

PLACE = pathlib.Path(f"/tmp/tyger-podman-{os.getuid()}")
"""Short, because sockets stand below it."""

SLOTS = 40

BUSYBOX = "localhost/busybox:1"
"""An image of busybox alone, with a link in /bin for each applet, and a /tmp for all; it runs as root."""

PATIENCE = 180
"""Seconds for one command; half a second on a quiet machine."""

CONFIG = """
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
tmp_dir = "{directory}/tmp"

[containers]
default_ulimits = ["nofile=10000:10000", "nproc=4096:4096"]

[network]
network_config_dir = "{networks}"
default_subnet_pools = [{{ "base" = "{subnet}0.0/16", "size" = 24 }}]
"""
"""What works on any host, also on one with hybrid cgroups or without CAP_SYS_RESOURCE."""

REGISTRIES = """
[[registry]]
location = "127.0.0.1"
insecure = true
"""
"""A registry of a test's own has no certificate, on whatever port it listens."""


def missing() -> str | None:
    """Why there can be no Podman here; None where it can."""
    for program, package in (("podman", "podman"), ("runc", "runc"), ("busybox", "busybox-static")):
        if shutil.which(program) is None and not os.path.exists(f"/usr/sbin/{program}"):
            return f"there is no {program}: apt-get install {package}"
    return None if os.geteuid() == 0 else "needs root, for a Podman with networks and limits"


def registry_program() -> str:
    """Debian's docker-registry, which packaging/setup.sh unpacks; skips the test where it is missing."""
    unpacked = daemon.ROOT / ".venv/docker-registry/usr/bin/docker-registry"
    if (found := shutil.which("docker-registry")) is None and not unpacked.exists():
        pytest.skip("there is no docker-registry: packaging/setup.sh unpacks it")
    return found or str(unpacked)


class Podman:
    """One store of images and containers; the service runs unless it was stopped."""

    def __init__(self, slot: int) -> None:
        self.directory = PLACE / str(slot)
        self.socket = str(self.directory / "s")
        self.env = {"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin", "HOME": str(self.directory)}
        self.env["CONTAINERS_CONF"] = str(self.directory / "containers.conf")
        self.env["CONTAINERS_REGISTRIES_CONF"] = str(self.directory / "registries.conf")
        self._subnet = f"10.{210 + slot}."
        self._process: subprocess.Popen[bytes] | None = None
        places = ["--root", str(self.directory / "store"), "--runroot", str(self.directory / "run")]
        self.command = ["podman", *places, "--storage-driver", "vfs"]

    @property
    def pid(self) -> int:
        """The service's process."""
        assert self._process is not None
        return self._process.pid

    def hang(self) -> None:
        """Stop the service with SIGSTOP; returns once it does nothing any more. SIGCONT lets it go on."""
        os.kill(self.pid, signal.SIGSTOP)
        _, status = os.waitpid(self.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)

    @property
    def log(self) -> str:
        """What the services here have written to stderr so far."""
        return (self.directory / "log").read_text()

    def cli(self, *arguments: str, stdin: bytes | None = None, check: bool = True) -> str:
        """Run a command of podman on the same store, beside the service. Its standard output, stripped."""
        done = subprocess.run(
            [*self.command, *arguments],
            env=self.env,
            cwd=self.directory,
            input=stdin or b"",
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"podman {' '.join(arguments)}: {done.stderr.decode()}")
        return done.stdout.decode().strip()

    def containers(self, **labels: str) -> list[dict[str, Any]]:
        """The containers that have all of these labels (`_` stands for `-`), whether they run or not."""
        filters = [f"--filter=label={name.replace('_', '-')}={value}" for name, value in labels.items()]
        found: list[dict[str, Any]] = json.loads(self.cli("ps", "--all", "--format=json", *filters) or "[]")
        return found

    def image(self, name: str, *changes: str, files: Mapping[str, bytes] | None = None) -> str:
        """Make an image: busybox, these files (path without the first slash; executable), `changes` as in a
        Dockerfile (`USER 1000`, `ENTRYPOINT ["/bin/x"]`). Its name."""
        options = [f"--change={change}" for change in ("ENV PATH=/bin", *changes)]
        self.cli("import", "--quiet", *options, "-", name, stdin=root_filesystem(files or {}))
        return name

    def start(self) -> None:
        """Start the service, and wait until it answers."""
        assert self._process is None
        pathlib.Path(self.socket).unlink(missing_ok=True)
        with open(self.directory / "log", "ab") as log:
            self._process = subprocess.Popen(
                [*self.command, "--log-level=info", "system", "service", "--time=0", f"unix://{self.socket}"],
                env=self.env,
                cwd=self.directory,  # conmon leaves files where it is
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        ended = os.pidfd_open(self._process.pid)
        try:
            for _ in range(PATIENCE * 100):
                with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
                    probe.settimeout(PATIENCE)
                    probe.connect(self.socket)
                    # It may take connections and then begin anew, and refuse some.
                    probe.sendall(b"GET /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n")
                    if probe.recv(100).startswith(b"HTTP/1.1 200"):
                        return
                if select.select([ended], [], [], 0.01)[0]:
                    break
        finally:
            os.close(ended)
        self.kill()
        raise AssertionError(f"podman system service does not start:\n{self.log}")

    def stop(self) -> None:
        """End the service in order. Containers go on."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the service at once. Containers go on."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(PATIENCE)
            self._process = None

    def set_up(self) -> None:
        """An empty store with BUSYBOX in it, and its service."""
        self.clean()
        self.directory.mkdir(parents=True)
        networks = PLACE / "networks"
        networks.mkdir(exist_ok=True)
        config = CONFIG.format(directory=self.directory, networks=networks, subnet=self._subnet)
        pathlib.Path(self.env["CONTAINERS_CONF"]).write_text(config)
        pathlib.Path(self.env["CONTAINERS_REGISTRIES_CONF"]).write_text(REGISTRIES)
        self.image(BUSYBOX)
        self.start()

    def clean(self) -> None:
        """Remove the containers, the networks and everything else in the slot."""
        self.kill()
        for process in pathlib.Path("/proc").glob("[0-9]*/cmdline"):  # of somebody who was killed
            with contextlib.suppress(OSError):
                if process.read_bytes().endswith(f"\0unix://{self.socket}\0".encode()):
                    os.kill(int(process.parent.name), signal.SIGKILL)
        if not self.directory.exists():
            return
        if os.path.exists(self.env["CONTAINERS_CONF"]):
            self.cli("rm", "--all", "--force", "--time=0", check=False)
            for network in json.loads(self.cli("network", "ls", "--format=json", check=False) or "[]"):
                if any(subnet["subnet"].startswith(self._subnet) for subnet in network.get("subnets") or []):
                    self.cli("network", "rm", "--force", network["name"], check=False)
        for line in reversed(pathlib.Path("/proc/self/mounts").read_text().splitlines()):
            if (target := line.split()[1]).startswith(f"{self.directory}/"):
                subprocess.run(["umount", "--lazy", target], check=False)
        # What cleans up behind a container may still be writing where we remove.
        for _ in range(600):
            with contextlib.suppress(OSError):
                shutil.rmtree(self.directory)
                return
            time.sleep(0.1)
        shutil.rmtree(self.directory)


def root_filesystem(files: Mapping[str, bytes]) -> bytes:
    """A root file system of busybox and these files, as tar."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("bin", "tmp", "etc", "root"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            tar.addfile(entry)
        program = shutil.which("busybox") or ""
        for name, data in {"bin/busybox": pathlib.Path(program).read_bytes(), **files}.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o755
            tar.addfile(entry, io.BytesIO(data))
        applets = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout
        for name in {*applets.split()} - {"busybox"} - {os.path.basename(path) for path in files}:
            entry = tarfile.TarInfo(f"bin/{name}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry)
    return buffer.getvalue()


def _take() -> tuple[int, int]:
    """The first slot that nobody holds, and the descriptor that holds it."""
    PLACE.mkdir(mode=0o711, exist_ok=True)
    for slot in range(SLOTS):
        fd = os.open(PLACE / f"slot-{slot}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
        else:
            return slot, fd
    raise AssertionError(f"all slots in {PLACE} are taken")


@contextlib.contextmanager
def service() -> Iterator[Podman]:
    """A Podman whose service runs; afterwards nothing of it is left. Skips the test where there is none."""
    if (reason := missing()) is not None:
        pytest.skip(reason)
    slot, fd = _take()
    try:
        engine = Podman(slot)
        try:
            engine.set_up()
            yield engine
        finally:
            engine.clean()
    finally:
        os.close(fd)

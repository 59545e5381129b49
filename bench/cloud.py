"""What stands in for Azure, and what else speaks to it: the blob server, rclone, Azurite.

The programs are built on demand into `.cache`, which git ignores. What this machine lacks is a `Missing`.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple, Self

import rig as rigs
import table

ACCOUNT = "devstoreaccount1"
LOCATION = "bench"
KEY = base64.b64encode(b"no secret: a key that the blob server never looks at").decode()
RCLONE = "github.com/rclone/rclone@v1.71.0"
SAMPLE = 256 * table.MIB
"""Bytes that do not compress; streams repeat them."""

_CACHE = rigs.HERE / ".cache"


def blobserver() -> str:
    """The path of the blob server, built when it is older than its source."""
    program, package = _CACHE / "blobserver", rigs.HERE / "blobserver"
    if not program.exists() or program.stat().st_mtime < (package / "main.go").stat().st_mtime:
        _go("build", "-o", str(program), ".", cwd=package)
    return str(program)


def rclone() -> str:
    """The path of rclone, which takes minutes to build for the first time."""
    program = _CACHE / "rclone"
    if not program.exists():
        print(f"building {RCLONE}, once ...", file=sys.stderr)
        _go("install", RCLONE, cwd=_CACHE)
    return str(program)


def _go(*arguments: str, cwd: pathlib.Path) -> None:
    _CACHE.mkdir(exist_ok=True)
    go = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    if go is None:
        raise rigs.Missing("there is no Go to build the blob server and rclone with (https://go.dev/dl)")
    done = subprocess.run(
        [go, *arguments],
        cwd=cwd,
        env={**os.environ, "GOBIN": str(_CACHE)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip().splitlines()
        raise rigs.Missing(f"go {arguments[0]} failed: {words[-1] if words else done.returncode}")


class Statistics(NamedTuple):
    """What a blob server was asked: requests, and the most that were under way at once."""

    requests: int
    parallel: int


class BlobServer:
    """A running blob server, as a context. It holds everything in memory."""

    def __init__(self, *flags: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._command = [blobserver(), "-listen", f"127.0.0.1:{self.port}", *flags]
        self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._kill()

    def restart(self) -> None:
        """Forget everything; the memory of a Go program would long be that of its largest moment."""
        self._kill()
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self._process.stdout.readline()
        rigs.until(self._answers, "the blob server does not answer")

    def _kill(self) -> None:
        self._process.kill()
        self._process.communicate()

    @property
    def endpoint(self) -> str:
        """The URL of the account."""
        return f"http://127.0.0.1:{self.port}/{ACCOUNT}"

    def statistics(self) -> Statistics:
        """What happened since the last call, this one apart."""
        said = json.loads(self._request("GET", "/-/stats"))
        return Statistics(sum(said["requests"].values()), said["parallel"])

    def renew(self, container: str) -> str:
        """Make an empty container, in place of one that may be there; its name."""
        self._request("DELETE", f"/{ACCOUNT}/{container}?restype=container")
        self._request("PUT", f"/{ACCOUNT}/{container}?restype=container")
        return container

    def put(self, container: str, blob: str, file: pathlib.Path, size: int) -> None:
        """Write `size` bytes made of `file` as one blob, which no client of Azure could."""
        data = file.read_bytes()
        pieces = (data[: min(len(data), size - at)] for at in range(0, size, len(data)))
        self._request("PUT", f"/{ACCOUNT}/{container}/{blob}", pieces, {"Content-Length": str(size)})

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            self.statistics()
            return True
        return False

    def _request(
        self,
        method: str,
        target: str,
        body: Iterator[bytes] | None = None,
        headers: dict[str, str] | None = None,
    ) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        with contextlib.closing(connection):
            connection.request(method, target, body, headers or {})
            return connection.getresponse().read()


class Site(NamedTuple):
    """A blob server, a daemon whose buffers are in it, and incompressible bytes."""

    server: BlobServer
    rig: rigs.Rig
    sample: pathlib.Path

    def source(self, size: int) -> list[str]:
        """A producer of `size` bytes."""
        return rigs.source(self.sample, size)

    def rclone(self) -> tuple[str, dict[str, str]]:
        """rclone, and the environment in which its remote `bench:` is the blob server."""
        remote = {
            "CONFIG": "/dev/null",
            "CONFIG_BENCH_TYPE": "azureblob",
            "CONFIG_BENCH_ACCOUNT": ACCOUNT,
            "CONFIG_BENCH_KEY": KEY,
            "CONFIG_BENCH_ENDPOINT": self.server.endpoint,
        }
        return rclone(), {**os.environ, **{f"RCLONE_{name}": value for name, value in remote.items()}}


@contextlib.contextmanager
def site(options: table.Options, *flags: str) -> Iterator[Site]:
    """All three, the server started with `flags`."""
    with BlobServer(*flags) as server, daemon(options, server.endpoint, KEY) as rig:
        sample = rig.path / "sample"
        sample.write_bytes(os.urandom(SAMPLE))
        yield Site(server, rig, sample)


@contextlib.contextmanager
def daemon(options: table.Options, endpoint: str, key: str) -> Iterator[rigs.Rig]:
    """A daemon whose buffers are in the storage account at `endpoint`."""
    rig = rigs.Rig(options.directory)
    key_file = rig.path / "account-key"
    key_file.write_text(key + "\n")
    key_file.chmod(0o600)
    account = f"""
[[store.azure]]
name = "{ACCOUNT}"
location = "{LOCATION}"
endpoint = "{endpoint}"
credential = {{ kind = "key", key_file = "{key_file}" }}
"""
    rig.configure(rigs.CONFIG + account)
    with rig:
        yield rig


@contextlib.contextmanager
def azurite() -> Iterator[tuple[str, str]]:
    """A running Azurite: its endpoint, its key."""
    sys.path.insert(0, str(rigs.HERE.parent))
    from tests.support import azurite as support

    if not support.installed():
        raise rigs.Missing("there is no Azurite (./just setup installs it where there is npm)")
    with support.azurite() as server:
        yield server.endpoint(), support.KEY

"""A real Azurite (Microsoft's emulator of the Blob service; packaging/setup.sh installs it), on its own port.

with azurite.azurite() as server:                       # in memory
    daemon.daemon(config=server.config(access_ttl='"30s"'))
with azurite.azurite(str(tmp_path)) as server:          # on disk: what was stored survives stop and start
    server.stop()
    server.start()

Where Azurite is not installed the test is skipped. Azurite refuses an overwrite as
AuthorizationPermissionMismatch where Azure says UnauthorizedBlobOverwrite.
"""

from __future__ import annotations

import base64
import contextlib
import os
import pathlib
import re
import select
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from typing import IO

import pytest

from tests.support import daemon

SCRIPT = daemon.ROOT / ".venv/azurite/node_modules/azurite/dist/src/blob/main.js"

PRELOAD = pathlib.Path(__file__).with_suffix(".js")

ACCOUNT = "devstoreaccount1"
KEY = base64.b64encode(
    b"no secret: a key for an Azurite that only this test can reach, and which is 64+ bytes"
).decode()

PATIENCE = 120
"""Seconds until it listens, or has ended: two on a quiet machine, more than 30 were seen on a busy one."""

LISTENS = re.compile(rb"successfully listens on https?://[\d.]+:\d")


def installed() -> bool:
    """Whether there is an Azurite, and a Node.js that runs it."""
    return SCRIPT.exists() and shutil.which("node") is not None


class Azurite:
    """One Azurite, running unless it was stopped; its port stays the same when it is started again.

    `directory` None: in memory, so that nothing survives `stop`. With `certificate` (`certificates.make`) it
    serves HTTPS, and takes any unexpired OAuth token that is made for Azure Storage. `host` is the address on
    which it listens.
    """

    def __init__(
        self,
        home: pathlib.Path,
        directory: str | None,
        accounts: Sequence[str],
        *,
        certificate: str | None,
        host: str = "127.0.0.1",
    ) -> None:
        self.accounts = accounts
        self.host = host
        self._held = socket.socket()  # so that nobody else gets the port while it is stopped
        self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._held.bind((host, 0))
        self.port = self._held.getsockname()[1]
        self.certificate = certificate
        self._home = home
        self._arguments = [
            "--skipApiVersionCheck",
            "--disableTelemetry",
            "--silent",
            "--disableProductStyleUrl",
        ]
        self._arguments += ["--inMemoryPersistence"] if directory is None else ["--location", directory]
        if certificate is not None:
            self._arguments += ["--oauth", "basic", "--cert", certificate, "--key", certificate]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process, for SIGSTOP and SIGCONT."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """What it has printed so far."""
        return (self._home / "log").read_text()

    def endpoint(self, account: str | None = None, port: int | None = None) -> str:
        """The URL of an account, path style; behind a proxy, by the proxy's `port`."""
        scheme = "http" if self.certificate is None else "https"
        return f"{scheme}://{self.host}:{port or self.port}/{account or self.accounts[0]}"

    def connection_string(self, account: str | None = None) -> str:
        """The account with its key, as Azure's tools write it."""
        name = account or self.accounts[0]
        endpoint = self.endpoint(name)
        return f"AccountName={name};AccountKey={KEY};BlobEndpoint={endpoint};DefaultEndpointsProtocol=http"

    def key_file(self) -> str:
        """A file that holds the accounts' key."""
        path = self._home / "account-key"
        path.write_text(KEY + "\n")
        path.chmod(0o600)
        return str(path)

    def config(self, *, location: str = "azurite", port: int | None = None, **more: str) -> str:
        """[[store.azure]] tables for tygerd.toml, one an account; `more` are further keys as TOML values.

        `port` is that of a proxy, where there is one.
        """
        lines = []
        for account in self.accounts:
            values = {
                "name": f'"{account}"',
                "location": f'"{location}"',
                "endpoint": f'"{self.endpoint(account, port)}"',
                "credential": f'{{ kind = "key", key_file = "{self.key_file()}" }}',
            }
            lines += ["[[store.azure]]", *(f"{name} = {value}" for name, value in {**values, **more}.items())]
        return "\n".join(lines) + "\n"

    def _listens(self) -> list[str]:
        return ["--blobHost", self.host, "--blobPort", str(self.port)]

    def start(self) -> None:
        """Start it, and wait until it says that it listens."""
        assert self._process is None
        keys = ";".join(f"{account}:{KEY}" for account in self.accounts)
        self._process = subprocess.Popen(
            ["node", "--require", str(PRELOAD), str(SCRIPT), *self._listens(), *self._arguments],
            env=os.environ | {"AZURITE_ACCOUNTS": keys},
            cwd=self._home,  # it writes there what has no other place
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        said = b""
        assert self._process.stdout is not None
        output = self._process.stdout.fileno()
        while not LISTENS.search(said):
            ready, _, _ = select.select([output], [], [], PATIENCE)
            data = os.read(output, 65536) if ready else b""
            said += data
            if not data:
                self._process.stdout.close()
                self.kill()
                raise AssertionError(f"Azurite does not start:\n{said.decode()}")
        threading.Thread(target=self._drain, args=(self._process.stdout, said), daemon=True).start()

    def _drain(self, output: IO[bytes], said: bytes) -> None:
        with output, open(self._home / "log", "ab", buffering=0) as log:
            log.write(said)
            log.writelines(output)

    def stop(self) -> None:
        """Let it finish and write down what it holds."""
        self._end("terminate")

    def kill(self) -> None:
        """End it at once; what it has not yet written down is gone, even what it has confirmed."""
        self._end("kill")

    def close(self) -> None:
        """End it for good."""
        self.kill()
        self._held.close()

    def _end(self, how: str) -> None:
        if self._process is not None:
            getattr(self._process, how)()
            self._process.wait(PATIENCE)
            self._process = None


@contextlib.contextmanager
def azurite(
    directory: str | None = None,
    *,
    accounts: Sequence[str] = (ACCOUNT,),
    certificate: str | None = None,
    host: str = "127.0.0.1",
) -> Iterator[Azurite]:
    """An Azurite that runs; it is ended afterwards."""
    if not installed():
        pytest.skip("there is no Azurite: packaging/setup.sh installs it")
    with tempfile.TemporaryDirectory(prefix="tyger-azurite-", dir="/tmp") as home:
        server = Azurite(pathlib.Path(home), directory, accounts, certificate=certificate, host=host)
        try:
            server.start()
            yield server
        finally:
            server.close()

"""Buffers of a real daemon, for jobs that are executed elsewhere: in an account, or behind its data plane.

with storedbuffers.on_azurite("10.77.0.1") as buffers:      # or storedbuffers.on_our_own(...)
    name = buffers.filled(b"content")
    urls = secrets.AccessUrls(buffers.sign, buffers.trusted)
"""

from __future__ import annotations

import contextlib
import pathlib
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import requests
import trio

from tests.support import azurite, commands, daemon, unixrequests

V = "api-version=1.0"


class Buffers:
    """Those of one daemon. All methods but `sign` block; each thread may call them."""

    def __init__(self, server: daemon.Daemon, certificate: pathlib.Path | None) -> None:
        self.daemon = server
        self._certificate = certificate
        self._tyger = commands.Commands(server.env)
        self._own = threading.local()

    def _session(self) -> requests.Session:
        if not hasattr(self._own, "session"):
            self._own.session = unixrequests.session(self.daemon.socket)
        session: requests.Session = self._own.session
        return session

    def _ask(self, method: str, path: str, **options: Any) -> Any:
        answer = self._session().request(method, f"http://tyger{path}", **options)
        assert answer.ok, answer.text
        return answer.json()

    def empty(self) -> str:
        """The id of a new buffer."""
        made: str = self._ask("POST", f"/buffers?{V}", json={})["id"]
        return made

    def filled(self, content: bytes) -> str:
        """The id of a complete buffer with this content."""
        name = self.empty()
        done = self._tyger.run("buffer", "write", name, data=content)
        assert done.returncode == 0, done.stderr
        return name

    def outcome(self, name: str) -> tuple[str, bytes]:
        """`complete` with its content, or `failed`; until one of them is so."""
        done = self._tyger.run("buffer", "read", name)
        if done.returncode == 0:
            return "complete", done.stdout
        assert b"fail" in done.stderr, done.stderr
        return "failed", done.stdout

    def fail(self, name: str) -> None:
        """Mark a buffer as failed unless it has its end, as a daemon does with what a run left unfinished."""
        path = f"/buffers/{name}/access?{V}&writeable=true&preferTcp=true"
        place, _, signature = self._ask("POST", path)["uri"].partition("?")
        answer = requests.put(
            f"{place}/.bufferend?{signature}",
            b'{"status":"failed"}',
            headers={"x-ms-blob-type": "BlockBlob", "x-ms-version": "2021-08-06", "If-None-Match": "*"},
            verify=str(self._certificate) if self._certificate else True,
            timeout=daemon.PATIENCE,
        )
        assert answer.status_code in {201, 403, 409}, answer.text

    async def sign(self, name: str, writeable: bool, ttl: timedelta) -> str:
        """A URL that works from other machines (`secrets.Sign`)."""
        wanted = f"writeable={str(writeable).lower()}&preferTcp=true&ttl={ttl}"
        path = f"/buffers/{name}/access?{V}&{wanted}"
        answer = await trio.to_thread.run_sync(lambda: self._ask("POST", path))
        return str(answer["uri"])

    def trusted(self) -> str | None:
        """PEM of whom a job's machine has to trust."""
        return self._certificate.read_text() if self._certificate else None


@contextlib.contextmanager
def on_azurite(host: str) -> Iterator[Buffers]:
    """In an Azurite that listens at this address. Skips the test where there is none."""
    with azurite.azurite(host=host) as account, daemon.daemon(config=account.config()) as server:
        yield Buffers(server, None)


@contextlib.contextmanager
def on_our_own(host: str) -> Iterator[Buffers]:
    """In the daemon's own store, whose data plane listens at this address, with a certificate of its own."""
    with daemon.daemon(config=f'[store.local]\nlisten = "{host}:0"\n') as server:
        yield Buffers(server, pathlib.Path(server.state, "keys/tls.pem"))

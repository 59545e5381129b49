"""`tyger` starts fast because it imports little: what a command may have loaded when it has done its work.

A command is often one of a hundred in a script, so its start is part of its work. Modules are counted rather
than milliseconds, because a count is the same on every machine.
"""

from __future__ import annotations

import pathlib
import socketserver
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from http import server

import pytest

from tests.house import sources

# Each costs 5 to 80 ms. Only what a command cannot do its work without may be loaded, when it needs it.
FORBIDDEN = {
    "SQLAlchemy": "sqlalchemy",
    "alembic": "alembic",
    "asyncio": "asyncio",
    "cryptography": "cryptography",
    "email": "email",
    "h11": "h11",
    "http.client": "http.client",
    "httpx": "httpx",
    "msgspec": "msgspec",
    "ssl": "ssl",
    "trio": "trio",
    "tygerd": "tygerd",
    "urllib.request": "urllib.request",
    "yaml": "yaml",
}

COMMAND_MODULES = [name for name in sources.modules() if name.startswith("tyger.")]

# Modules of `tyger` that exist to do what costs an import; commands load them only where needed.
MAY_LOAD = {
    "tyger.model": {"msgspec"},
}


def loaded_by(*arguments: str, environ: dict[str, str] | None = None) -> set[str]:
    """The modules that a Python process imported, which `-X importtime` writes to stderr."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        env={"PYTHONPATH": str(sources.ROOT), **(environ or {})},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=120,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    assert lines, done.stderr
    return {line.rpartition("|")[2].strip() for line in lines}


def too_much(loaded: set[str]) -> set[str]:
    return {name for name in FORBIDDEN.values() if name in loaded}


@pytest.mark.parametrize("name", COMMAND_MODULES)
def test_importing_a_module_of_tyger_is_cheap(name: str) -> None:
    excess = too_much(loaded_by("-c", f"import {name}")) - MAY_LOAD.get(name, set())
    # A module that reads files may import what MAY_LOAD names through another module of ours.
    through = set().union(*(MAY_LOAD.get(other, set()) for other in sources.closure(name)))
    assert not excess - through


class Buffers(server.BaseHTTPRequestHandler):
    """Answers every request with one buffer: all that `tyger buffer show` needs of a daemon."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = b'{"id":"abc","location":"local","createdAt":"2026-01-01T00:00:00+00:00"}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Nothing is logged: the test reads the client's stderr, and pytest's should stay clean."""

    def address_string(self) -> str:
        return "unix"


@pytest.fixture
def daemon_socket() -> Iterator[str]:
    class Server(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True

        def get_request(self):
            connection, _ = super().get_request()
            return connection, ("unix", 0)

    with tempfile.TemporaryDirectory(prefix="tyger-") as directory:
        path = str(pathlib.Path(directory, "s"))
        with Server(path, Buffers) as listening:
            thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            yield path
            listening.shutdown()
            thread.join()


def test_buffer_show_stays_in_its_budget(daemon_socket: str) -> None:
    loaded = loaded_by(
        "-m",
        "tyger",
        "buffer",
        "show",
        "abc",
        environ={"TYGER_SOCKET": daemon_socket, "TYGER_AUTOSTART": "0"},
    )
    assert "tyger.client" in loaded
    assert not too_much(loaded)

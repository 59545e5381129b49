"""A real registry (Debian's docker-registry) for images, and a server that refuses as registries do.

with registry.serve(tmp_path) as place:            # "127.0.0.1:43211"; with password=True only for USER
    podman.cli("push", "--quiet", BUSYBOX, f"{place}/busybox:1")
with registry.refuse(429, "TOOMANYREQUESTS") as place:
    ...
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import select
import subprocess
import threading
from collections.abc import Iterator
from http import server

from tests.support import ending, freeport
from tests.support import podman as podman_support

USER, PASSWORD = "tyger", "secret"
_HTPASSWD = "tyger:$2b$04$8cujGdUkNI3NgMMuIAGarecKEAgt2WFfTxYHqHg3PbeL8xFUZHHb."
_SECONDS = 60


@contextlib.contextmanager
def serve(directory: pathlib.Path, *, password: bool = False) -> Iterator[str]:
    """A registry that keeps its images in the directory. Skips the test where the program is missing."""
    program = podman_support.registry_program()
    with freeport.freeport() as port:
        yield from _serve(program, directory, f"127.0.0.1:{port}", password=password)


def _serve(program: str, directory: pathlib.Path, place: str, *, password: bool) -> Iterator[str]:
    (directory / "htpasswd").write_text(f"{_HTPASSWD}\n")
    config: dict[str, object] = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(directory / "images")}},
        "http": {"addr": place},
        "log": {"level": "info", "accesslog": {"disabled": True}},
    }
    if password:
        config["auth"] = {"htpasswd": {"realm": "tests", "path": str(directory / "htpasswd")}}
    (directory / "config.yml").write_text(json.dumps(config))  # JSON is YAML
    with ending.Popen(
        [program, "serve", str(directory / "config.yml")], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as process:
        assert process.stderr is not None
        said = b""
        while b"listening on" not in said:
            assert select.select([process.stderr], [], [], _SECONDS)[0], said
            piece = process.stderr.read1()
            assert piece, said
            said += piece
        drain = threading.Thread(target=process.stderr.read)
        drain.start()
        try:
            yield place
        finally:
            process.kill()
            drain.join()


@contextlib.contextmanager
def refuse(status: int, code: str, *, message: str = "") -> Iterator[str]:
    """A registry whose every answer is this error, but for the one that says that it is a registry."""
    body = json.dumps({"errors": [{"code": code, "message": message or code.lower()}]}).encode()

    class Handler(server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/v2/" and status != 429 else status)
            self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
            self.send_header("Retry-After", "0")  # Podman heeds it, for a minute where there is none
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, *args: object) -> None:
            """Nothing: pytest's output should stay clean."""

    with server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"127.0.0.1:{listening.server_address[1]}"
        finally:
            listening.shutdown()
            thread.join()

"""What one daemon was asked to do from its first start to its sudden end, recorded to lose its power."""

from __future__ import annotations

import contextlib
import http.client
import pathlib
import random
import re
import socket
import subprocess
import urllib.parse
from typing import NamedTuple

from tests.support import daemon, tracing
from tyger import errors
from tygerd.blocks import container, names

DATA = random.Random(1).randbytes(50_000)
"""Seven blocks of 8 KiB."""

SAID = b"what a producer says before it fails\n"

BLOBS = {
    names.START: container.START_MARKER,
    "00/000": random.Random(2).randbytes(9000),
    "00/001": b"",
    names.END: container.END_MARKERS["complete"],
}


class Story(NamedTuple):
    """What one daemon was asked to do from its first start to its sudden end.

    Of each container: its path in the state directory, and the moment when its end was acknowledged; of the
    blobs that were PUT, the moment of each. `created` is when the first was acknowledged as created.
    """

    recording: tracing.Recording
    synced: bool
    created: int
    whole: tuple[str, int]
    broken: tuple[str, int]
    spooled: tuple[str, int]
    put: tuple[str, dict[str, int]]


def record(durability: str, far_url: str) -> Story:
    with daemon.directory() as path:
        it = tracing.Traced(path, config(durability))
        try:
            it.start()
            whole, broken, put = (tyger(it, "buffer", "create").decode().strip() for _ in range(3))
            tyger(it, "buffer", "write", whole, "-b", "8K", data=DATA)
            producer = ["--", "sh", "-c", "cat; exit 3"]
            tyger(it, "buffer", "write", broken, *producer, data=SAID, code=errors.BUFFER_FAILED.exit_code)
            tyger(it, "buffer", "write", far_url, "-b", "8K", "--detach", data=DATA)
            for name, data in BLOBS.items():
                assert ask(it, tyger(it, "buffer", "access", put, "-w"), "PUT", name, data)[0] == 201
        finally:
            it.kill()
        (spooled,) = (pathlib.Path(it.state) / "spool").iterdir()
        streams = {whole: DATA, broken: SAID, spooled.name: DATA}
        recording = tracing.Recording(it, streams)
    moment = recording.when_sent(said("spooled"))
    acknowledged = {}
    for name in BLOBS:
        moment = recording.when_sent(re.escape(f"{put}?api-version=".encode()), moment + 1)
        moment = acknowledged[name] = recording.when_sent(b"HTTP/1.1 201", moment + 1)
    return Story(
        recording,
        synced=durability == "power",
        created=recording.when_sent(whole.encode()),
        whole=(f"containers/{whole}", recording.when_sent(said("complete"))),
        broken=(f"containers/{broken}", recording.when_sent(said("failed"))),
        spooled=(f"spool/{spooled.name}", recording.when_sent(said("spooled"))),
        put=(f"containers/{put}", acknowledged),
    )


def said(state: str) -> bytes:
    """What tells a client that its write is so far: an event of its stream, or the answer to its word."""
    return f'"(event|state)":"{state}"'.encode()


def config(durability: str) -> str:
    return f'[store]\ndurability = "{durability}"\n'


def tyger(it: daemon.Daemon, *arguments: str, data: bytes = b"", code: int = 0) -> bytes:
    done = subprocess.run(
        [*daemon.TYGER, "--log-level", "error", *arguments],
        env=it.env, input=data, check=False, capture_output=True, timeout=180,
    )  # fmt: skip
    assert done.returncode == code, done.stderr.decode() + it.log
    return done.stdout


def ask(
    it: daemon.Daemon, url: bytes, method: str, blob: str, data: bytes | None = None
) -> tuple[int, bytes]:
    """One request to the data plane: status and body."""
    target = urllib.parse.urlsplit(url.decode().strip().split(":", 2)[2])
    connection = http.client.HTTPConnection("x")
    connection.sock = socket.socket(socket.AF_UNIX)
    with contextlib.closing(connection):
        connection.sock.connect(it.socket)
        connection.request(method, f"{target.path}/{blob}?{target.query}", data)
        answer = connection.getresponse()
        return answer.status, answer.read()


def buffer_of(kept: tuple[str, object]) -> str:
    return kept[0].rpartition("/")[2]

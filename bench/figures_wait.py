"""The figures of waiting: how soon a byte comes through a storage account, what an idle reader asks for."""

from __future__ import annotations

import contextlib
import json
import pathlib
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import IO

import cloud
import rig as rigs
import table

from tyger import client

OPENED_FOR = [0.3, 0.9, 1.7, 2.6, 3.4, 4.1, 4.8]
"""Seconds that a reader waits before its writer begins; all within the five of the promise."""

IDLE = 30.0
WATCHED = 10.0


def first_byte(options: table.Options) -> list[table.Row]:
    """From a byte in the writer's pipe to the same byte in that of a reader at another daemon."""
    took: list[float] = []
    with (
        cloud.azurite() as (endpoint, key),
        cloud.daemon(options, endpoint, key) as writing,
        rigs.Rig(options.directory) as reading,
    ):
        for _ in range(options.repeat):
            for opened_for in OPENED_FOR:
                buffer = writing.tyger("buffer", "create", "--location", cloud.LOCATION)
                with _writer(writing, buffer) as into, _reader(reading, writing, buffer) as out:
                    time.sleep(opened_for)
                    start = time.monotonic()
                    into.write(b"x")
                    assert out.read(1) == b"x"
                    took.append(time.monotonic() - start)
                writing.purge(buffer)
    p50 = statistics.median(took) * 1000
    subject = f"{len(took)} first bytes, the slowest {table.milliseconds(max(took))}"
    return [table.at_most("first byte through Azurite, p50", subject, p50, "ms", 150, took)]


def idle(options: table.Options) -> list[table.Row]:
    """Requests a second of a reader that has waited for half a minute."""
    with cloud.site(options) as site, rigs.Rig(options.directory) as other:
        buffer = site.rig.tyger("buffer", "create", "--location", cloud.LOCATION)
        with _writer(site.rig, buffer) as into, _reader(other, site.rig, buffer) as out:
            into.write(b"x")
            assert out.read(1) == b"x"
            time.sleep(IDLE)
            site.server.statistics()
            time.sleep(WATCHED)
            azure = site.server.statistics().requests / WATCHED
    with rigs.Rig(options.directory) as rig:
        buffer = rig.tyger("buffer", "create")
        with _writer(rig, buffer) as into, _reader(rig, rig, buffer) as out:
            into.write(b"x")
            assert out.read(1) == b"x"
            time.sleep(IDLE)
            before = _served(rig)
            time.sleep(WATCHED)
            ours = (_served(rig) - before - 1) / WATCHED
    return [
        table.at_most("idle reader, plain Azure", "its writer's included", azure, "requests/s", 2, [azure]),
        table.at_most("idle reader, our own store", "", ours, "requests/s", 0, [ours]),
    ]


def _served(rig: rigs.Rig) -> int:
    """Requests that a daemon has served, this one included."""
    status = json.loads(client.Client(rig.socket).request("GET", "/status").body)
    return int(status["server"]["requestsTotal"])


@contextlib.contextmanager
def _writer(rig: rigs.Rig, buffer: str) -> Iterator[IO[bytes]]:
    """The pipe into a write, which ends with the block."""
    command = [rigs.TYGER, "buffer", "write", buffer, "--flush-interval", "50ms"]
    with _command(rig, command, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        yield process.stdin
        process.stdin.close()


@contextlib.contextmanager
def _reader(rig: rigs.Rig, owner: rigs.Rig, buffer: str) -> Iterator[IO[bytes]]:
    """The pipe out of a read by `rig`'s daemon, which knows of `owner`'s buffer only by its access URL."""
    name = buffer
    if rig is not owner:
        file = pathlib.Path(rig.path, "access-url")
        file.write_text(owner.tyger("buffer", "access", buffer))
        name = str(file)
    with _command(rig, [rigs.TYGER, "buffer", "read", name], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield process.stdout
        process.terminate()


@contextlib.contextmanager
def _command(
    rig: rigs.Rig, command: list[str], *, stdin: int = subprocess.DEVNULL, stdout: int = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        command, env=rig.environ, stdin=stdin, stdout=stdout, stderr=subprocess.DEVNULL, bufsize=0
    ) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


FIGURES: dict[str, Callable[[table.Options], list[table.Row]]] = {
    "first-byte": first_byte,
    "idle-reader": idle,
}

"""Two recorded stories, with durability and without, and a place for disks."""

from __future__ import annotations

import pathlib
import tempfile
from collections.abc import Iterator

import pytest

from tests.support import daemon, powerstory


@pytest.fixture(scope="session")
def far() -> Iterator[tuple[daemon.Daemon, str]]:
    """Another host: a daemon that is away, and the access URL of a buffer that it has."""
    with daemon.daemon() as it:
        buffer = powerstory.tyger(it, "buffer", "create").decode().strip()
        url = powerstory.tyger(it, "buffer", "access", buffer, "-w").decode().strip()
        it.stop()
        yield it, url


@pytest.fixture(scope="session")
def safe(far) -> powerstory.Story:
    return powerstory.record("power", far[1])


@pytest.fixture(scope="session")
def fast(far) -> powerstory.Story:
    return powerstory.record("process", far[1])


@pytest.fixture(params=["safe", "fast"])
def story(request) -> powerstory.Story:
    told: powerstory.Story = request.getfixturevalue(request.param)
    return told


@pytest.fixture(scope="session")
def place() -> Iterator[pathlib.Path]:
    """Where disks are rebuilt: in memory, because there are thousands."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as path:
        yield pathlib.Path(path, "disk")

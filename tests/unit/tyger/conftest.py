"""What the two halves of a transfer at the client share: a way to stop it, and pipes."""

import os

import pytest

from tests.support import scriptedwrites
from tyger import streams


@pytest.fixture
def stop():
    made = streams.Stop()
    yield made
    made.close()


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for fd in ends:
        os.close(fd)


@pytest.fixture(params=["pipe", "file", "append"])
def destination(request, tmp_path, pipe):
    """Where a read goes: its descriptor, and what has arrived there."""
    if request.param == "pipe":
        yield pipe[1], lambda: os.read(pipe[0], 1 << 20)
        return
    path = tmp_path / "out"
    flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if request.param == "append" else 0)
    fd = os.open(path, flags)
    yield fd, path.read_bytes
    os.close(fd)


@pytest.fixture
def held():
    it = scriptedwrites.Held()
    yield it
    if it.sock is not None:
        it.sock.close()

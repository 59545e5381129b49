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


@pytest.fixture
def held():
    it = scriptedwrites.Held()
    yield it
    if it.sock is not None:
        it.sock.close()

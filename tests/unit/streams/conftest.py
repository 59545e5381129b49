"""A data plane for shipping and downloading, and writers and readers of it."""

import pytest
import trio

from tests.support import blobserver
from tygerd.stores import access, dataplane, retrying


@pytest.fixture
def server():
    with blobserver.BlobServer() as made:
        yield made


def connect(server, *url, deadline=3600.0, threads=40):
    """A patient client that never waits between attempts."""
    return retrying.Retrying(
        dataplane.DataPlane(access.locate(server.url(*url))),
        retrying.Policy(deadline=deadline),
        threads=trio.CapacityLimiter(threads),
        chance=lambda: 0.0,
    )


@pytest.fixture
def remote(server):
    return connect(server)


@pytest.fixture
def connecting(server):
    return lambda *url, **options: connect(server, *url, **options)

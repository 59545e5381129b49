"""A data plane, writers and readers of it, and whole writes, here and to a store elsewhere."""

import pytest
import trio

from tests.support import blobserver, delivering, localwrites
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


@pytest.fixture
def site(tmp_path, server):
    made = delivering.Site(tmp_path, server)
    yield made
    made.catalog.close()


@pytest.fixture
def producer():
    made = delivering.Producer()
    yield made
    made.close()


@pytest.fixture
def client():
    made = localwrites.Client()
    yield made
    made.close()

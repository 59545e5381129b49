"""A data plane, writers and readers of it, and whole writes, here and to a store elsewhere."""

import pytest
import trio

from tests.support import blobserver, delivering, localwrites, podapi, pumppods
from tygerd.stores import access, dataplane, retrying
from tygerd.streams import hashing, podmates, podpipes, pumppod, ship
from tygerd.supervisor import ending


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Last words may take long on a busy machine."""
    monkeypatch.setattr(ship, "LAST_WORDS", 60.0)


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


@pytest.fixture
def scene():
    """What the transfers of a pod share; a main that goes on has ended well after a moment."""
    end = ending.Ending(0.05)
    yield podpipes.Scene(
        end=end,
        over=trio.Event(),
        hasher=hashing.Hasher(),
        openers=trio.CapacityLimiter(100),
        dop=2,
        block_size=4096,
        flush_interval=1.0,
    )
    end.close()


@pytest.fixture
def pod(tmp_path, server, monkeypatch):
    """This host is none: nobody's processes are main's. How main ends is heard in time."""
    monkeypatch.setattr(podmates, "main_lives", lambda: None)
    monkeypatch.setattr(pumppod, "SLOW_SETTLE", 60.0)
    (tmp_path / "api").mkdir()
    with podapi.PodApi(tmp_path / "api") as api:
        yield pumppods.Pod(tmp_path, server, api)

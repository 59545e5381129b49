"""Whether a cluster is there: told at once, found out in the background."""

from __future__ import annotations

import contextlib

import pytest
import trio

from tests.unit.engines.kubernetes import fakecluster
from tygerd.engines.kubernetes import probing, refusals


@pytest.fixture
def cluster():
    return fakecluster.FakeCluster()


@contextlib.asynccontextmanager
async def probe(cluster):
    async with trio.open_nursery() as nursery:
        made = probing.Probe(cluster)
        nursery.start_soon(made.run)
        yield made
        nursery.cancel_scope.cancel()


async def test_a_cluster_that_is_there_and_then_is_not(cluster, monkeypatch):
    monkeypatch.setattr(probing, "FRESH_SECONDS", 3600.0)
    async with probe(cluster) as made:
        assert await made.trouble() is None
        cluster.trouble.append(refusals.Transient("no answer", what="reach the cluster"))
        assert await made.trouble() is None, "what was found out a moment ago counts"
        monkeypatch.setattr(probing, "FRESH_SECONDS", 0.0)
        assert await made.trouble() == "cannot reach the cluster: no answer"
        assert await made.trouble() is None


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (refusals.Transient("too many requests", status=429), None),
        (refusals.NoAccess("who are you?", status=401), "who are you?"),
    ],
)
async def test_what_answers_is_there_if_it_lets_us_in(cluster, trouble, said):
    cluster.trouble.append(trouble)
    async with probe(cluster) as made:
        assert await made.trouble() == said


async def test_rights_that_are_lacking_are_named(cluster, monkeypatch):
    monkeypatch.setattr(probing, "FRESH_SECONDS", 0.0)
    cluster.forbidden.add("secrets")
    async with probe(cluster) as made:
        said = await made.trouble()
        assert "create and delete and get and list and patch secrets in the namespace ns" in said
        cluster.forbidden.clear()
        assert await made.trouble() is None


async def test_nobody_waits_long_for_a_cluster_that_is_silent(cluster, monkeypatch):
    monkeypatch.setattr(probing, "FIRST_SECONDS", 0.05)
    silent = trio.Event()

    async def version():
        await silent.wait()

    cluster.version = version
    async with probe(cluster) as made:
        assert await made.trouble() == probing.UNKNOWN
        monkeypatch.setattr(probing, "FIRST_SECONDS", 60.0)
        silent.set()
        assert await made.trouble() is None
        silent = trio.Event()
        monkeypatch.setattr(probing, "FRESH_SECONDS", 0.0)
        monkeypatch.setattr(probing, "QUICK_SECONDS", 0.05)
        assert await made.trouble() is None, "what was known counts"

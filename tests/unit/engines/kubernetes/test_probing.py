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
        cluster.trouble += [refusals.Transient("no answer", what="reach the cluster")] * 2
        assert await made.trouble() is None, "what was found out a moment ago counts"
        monkeypatch.setattr(probing, "FRESH_SECONDS", 0.0)
        monkeypatch.setattr(probing, "TROUBLE_SECONDS", 0.0)
        assert await made.trouble() == "cannot reach the cluster: no answer"
        assert await made.trouble() is None


async def test_trouble_does_not_count_as_long(cluster, autojump_clock):
    cluster.trouble += [refusals.Transient("no answer")] * 2
    async with probe(cluster) as made:
        assert await made.trouble() == "no answer"
        cluster.trouble.append(refusals.NoAccess("who are you?", status=401))
        assert await made.trouble() == "no answer", "it was just found out"
        await trio.sleep(1.1 * probing.TROUBLE_SECONDS)
        assert await made.trouble() == "who are you?"


@pytest.mark.parametrize("calls", [0, 1])
async def test_one_connection_that_is_cut_is_no_trouble(cluster, monkeypatch, calls):
    """The first call is whether it is there, the others are about rights."""
    honest, broken = (
        (cluster.version, cluster.create)[calls],
        [refusals.Transient("the connection was closed")],
    )

    async def cut(*arguments):
        if broken:
            raise broken.pop()
        return await honest(*arguments)

    monkeypatch.setattr(cluster, ("version", "create")[calls], cut)
    async with probe(cluster) as made:
        assert await made.trouble() is None
    assert not broken


async def test_what_took_long_to_break_is_not_repeated(cluster, monkeypatch, autojump_clock):
    asked = []

    async def version():
        asked.append(1)
        await trio.sleep(probing.AGAIN_SECONDS + 0.1)
        raise refusals.Transient("timed out")

    monkeypatch.setattr(cluster, "version", version)
    async with probe(cluster) as made:
        assert await made.trouble() == "timed out"
    assert asked == [1]


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
    monkeypatch.setattr(probing, "TROUBLE_SECONDS", 0.0)
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

"""Access URLs of a run: which there are, and that they are replaced before they expire, whatever happens."""

import dataclasses
import logging

import pytest
import trio

from tests.unit.engines.kubernetes import pods
from tyger import errors
from tygerd.engines.kubernetes import objects, refusals, rundir, secrets

SECRET, POD = "run-7-01234567-job", "run-7-01234567-job-0"
PATIENCE = 60


class Signer:
    """URLs that tell the first from the second; `lost` are buffers that have none."""

    def __init__(self):
        self.count = 0
        self.lost = {}
        self.trusted = "PEM"

    async def sign(self, buffer, writeable, ttl):
        if buffer in self.lost:
            raise self.lost[buffer]
        self.count += 1
        return f"https://h/{buffer}?{'cr' if writeable else 'r'}&{ttl.total_seconds():g}&{self.count}"


class Cluster:
    """Remembers patches; each in `answers` that is an exception is raised in its turn."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self._send, self.patches = trio.open_memory_channel(100)

    async def patch(self, kind, name, patch):
        if kind == "Secret" and self.answers and (answer := self.answers.pop(0)) is not None:
            raise answer
        await self._send.send((kind, name, patch))
        return {}

    async def next(self):
        with trio.fail_after(PATIENCE):
            return await self.patches.receive()


def record(*, ttl=3600.0, ephemeral=(), **more):
    job = dataclasses.replace(pods.job(**{"inputs": ["in"], "outputs": ["out"], **more}), access_ttl=ttl)
    job.buffers.update({name: f"run-7-temp-{name}" for name in ephemeral})
    made = objects.compose(job, pods.place())
    return rundir.Record(namespace="ns", installation=pods.INSTALLATION, job=job, objects=made)


@pytest.fixture
def signer():
    return Signer()


@pytest.fixture
def urls(signer):
    return secrets.AccessUrls(signer.sign, lambda: signer.trusted)


async def test_a_url_for_each_parameter_and_the_certificates(urls):
    assert await urls.of(record(ttl=60.0).job) == {
        "in": "https://h/buffer-in?r&60&1",
        "out": "https://h/buffer-out?cr&60&2",
        "ca.pem": "PEM",
    }


async def test_ephemeral_buffers_have_none(urls):
    assert list(await urls.of(record(ephemeral=["in"]).job)) == ["out", "ca.pem"]
    assert await urls.of(record(ephemeral=["in", "out"]).job) == {}
    assert await urls.of(record(inputs=[], outputs=[]).job) == {}


async def test_only_public_authorities(signer):
    assert list(await secrets.AccessUrls(signer.sign).of(record().job)) == ["in", "out"]


async def test_a_buffer_that_pods_cannot_reach(signer, urls):
    signer.lost["buffer-out"] = errors.Problem(errors.CONFIG, "set listen")
    with pytest.raises(errors.Problem, match="set listen"):
        await urls.of(record().job)


@pytest.mark.parametrize("ephemeral", [[], ["in"]])
async def test_they_are_replaced_in_time_and_again(urls, ephemeral):
    run = record(ttl=0.2, ephemeral=ephemeral, replicas=1)
    first = await urls.of(run.job)
    cluster = Cluster()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep, urls, cluster, run)
        seen = [first]
        for _ in range(2):
            kind, name, patch = await cluster.next()
            assert (kind, name) == ("Secret", SECRET)
            assert patch["stringData"].keys() == first.keys()
            assert patch["stringData"]["ca.pem"] == "PEM"
            assert patch["stringData"]["out"] not in [each["out"] for each in seen]
            seen.append(patch["stringData"])
            kind, name, patch = await cluster.next()
            assert (kind, name) == ("Pod", POD)
            assert patch["metadata"]["annotations"].keys() == {"buffer-sas-token-update"}
        nursery.cancel_scope.cancel()


async def keep(urls, cluster, run, adopted=False):
    await urls.keep_fresh(cluster, run, adopted=adopted)


async def test_nothing_happens_before(urls):
    run = record()
    await urls.of(run.job)
    cluster = Cluster()
    with trio.move_on_after(0.05):
        await keep(urls, cluster, run)
    assert cluster.patches.statistics().current_buffer_used == 0


@pytest.mark.parametrize("known", [True, False])
async def test_of_a_run_that_was_taken_up_they_are_replaced_at_once(urls, known):
    run = record(replicas=2, outputs=[])
    if known:  # the Secret was there already
        await urls.of(run.job)
    cluster = Cluster()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep, urls, cluster, run, True)
        told = [(await cluster.next())[:2] for _ in range(3)]
        assert sorted(told) == [("Pod", POD), ("Pod", "run-7-01234567-job-1"), ("Secret", SECRET)]
        nursery.cancel_scope.cancel()


async def test_their_age_counts_from_when_they_were_made(urls, monkeypatch):
    """Between a Secret and the end of creation there may be an hour, in which workers come up."""
    now = [1000.0]
    monkeypatch.setattr(secrets.clock, "boottime", lambda: now[0])
    run = record()
    await urls.of(run.job)
    now[0] += 0.7 * 3600
    cluster = Cluster()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep, urls, cluster, run)
        assert (await cluster.next())[0] == "Secret"
        nursery.cancel_scope.cancel()


async def test_another_certificate_is_told_at_once(signer, urls, monkeypatch):
    monkeypatch.setattr(secrets, "LOOK", 0.01)
    run = record()
    await urls.of(run.job)
    cluster = Cluster()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep, urls, cluster, run)
        await trio.testing.wait_all_tasks_blocked()
        signer.trusted = "NEW"
        assert (await cluster.next())[2]["stringData"]["ca.pem"] == "NEW"
        nursery.cancel_scope.cancel()


async def test_a_run_that_is_taken_away_ends_it(urls):
    with trio.fail_after(PATIENCE):
        await keep(urls, Cluster(refusals.NotFound("gone", status=404)), record(), True)


async def test_a_run_without_stored_buffers_needs_nothing(urls):
    with trio.fail_after(PATIENCE):
        await keep(urls, Cluster(), record(inputs=[], outputs=[]), True)
        await keep(urls, Cluster(), record(ephemeral=["in", "out"]), True)


async def test_trouble_passes(urls, monkeypatch):
    monkeypatch.setattr(secrets.making, "FIRST_PAUSE", 0.001)
    cluster = Cluster(*[refusals.Transient("busy", status=status) for status in (None, 429, 500, 503)])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep, urls, cluster, record(), True)
        assert (await cluster.next())[:2] == ("Secret", SECRET)
        nursery.cancel_scope.cancel()


async def test_what_is_refused_is_asked_for_again(urls, monkeypatch, caplog):
    monkeypatch.setattr(secrets, "PAUSE", 0.01)
    cluster = Cluster(refusals.Refused("secrets is forbidden", status=403), None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep, urls, cluster, record(), True)
        assert (await cluster.next())[:2] == ("Secret", SECRET)
        nursery.cancel_scope.cancel()
    assert "run 7: its access URLs cannot be replaced: secrets is forbidden" in caplog.text


async def test_one_that_cannot_be_signed_does_not_stop_the_others(signer, urls, monkeypatch, caplog):
    monkeypatch.setattr(secrets, "PAUSE", 0.01)
    signer.lost["buffer-in"] = errors.Problem(errors.UNAVAILABLE, "the account does not answer")
    cluster = Cluster()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep, urls, cluster, record(), True)
        assert (await cluster.next())[2]["stringData"].keys() == {"ca.pem", "out"}
        signer.lost.clear()
        await cluster.next()  # the pod
        assert (await cluster.next())[2]["stringData"].keys() == {
            "ca.pem",
            "in",
            "out",
        }  # soon, not in an hour
        nursery.cancel_scope.cancel()
    assert "run 7: no access URL for 'in': the account does not answer" in caplog.text


async def test_a_buffer_that_is_gone_is_not_waited_for(signer, urls, monkeypatch):
    monkeypatch.setattr(secrets, "PAUSE", 0.0)
    signer.lost["buffer-in"] = errors.not_found()
    cluster = Cluster()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep, urls, cluster, record(), True)
        assert (await cluster.next())[2]["stringData"].keys() == {"ca.pem", "out"}
        await cluster.next()
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert cluster.patches.statistics().current_buffer_used == 0
        nursery.cancel_scope.cancel()


async def test_a_pod_that_is_gone_is_no_trouble(urls, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)

    class NoPods(Cluster):
        async def patch(self, kind, name, patch):
            if kind == "Pod":
                raise refusals.NotFound("no such pod", status=404)
            return await super().patch(kind, name, patch)

    cluster = NoPods()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep, urls, cluster, record(ttl=0.1), True)
        for _ in range(2):
            assert (await cluster.next())[0] == "Secret"
        nursery.cancel_scope.cancel()
    assert f"{POD} is not told of new access URLs: no such pod" in caplog.text

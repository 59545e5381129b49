"""The ephemeral buffers of runs: there while their run is looked after, and for a minute more."""

import datetime as dt

import pytest
import trio

from tests.support import parts
from tyger import errors
from tygerd.streams import relay, relays

A, B = "run-7-temp-" + "a" * 26, "run-7-temp-" + "b" * 26


@pytest.fixture
async def registry(tmp_path, nursery):
    made = parts.relaying(tmp_path)
    await nursery.start(made.run)
    return made


async def test_those_of_a_run(registry):
    registry.expect(7, {"in": A, "stored": "c" * 26, "out": B}, ["in", "stored"])
    assert [registry.find(name).direction for name in (A, B)] == ["input", "output"]
    assert registry.find("run-12-temp-" + "a" * 26).name == A  # the number does not count
    for unknown in ("c" * 26, "run-7-temp-" + "d" * 26, "temp-" + "a" * 26, "a-b"):
        with pytest.raises(errors.Problem, match="buffer relay server does not exist"):
            registry.find(unknown)


async def test_access_urls(registry):
    registry.expect(7, {"in": A}, ["in"])
    url = registry.url(A, dt.timedelta(minutes=1), True)
    assert url.startswith(f"http+unix:///s:/relays/{A}?api-version=1.0&sv=0.1.0&sp=cr&")
    assert url.endswith("&relay=true")
    with pytest.raises(errors.Problem, match="The resource was not found"):
        registry.url(B, dt.timedelta(minutes=1), False)


async def test_a_run_that_has_ended(registry, autojump_clock):
    registry.expect(7, {"in": A}, ["in"])
    registry.end(7, None)
    registry.end(7, None)
    registry.end(8, None)
    await trio.sleep(relays.LINGER - 1)
    assert registry.find(A).phase is relay.Phase.CLOSED
    await trio.sleep(2)
    with pytest.raises(errors.Problem):
        registry.find(A)


async def test_what_goes_on(registry, autojump_clock):
    registry.expect(7, {"in": A, "out": B}, ["in"])
    assert (registry.waiting(), registry.statistics()) == ([], (0, 0, 0))
    it = registry.find(A)
    it.claim(relay.End("writer", -1))
    assert registry.waiting() == [f"{A}: the job has not opened its pipe yet"]
    assert registry.statistics() == (1, 0, 0)
    it.bytes = 5  # as its thread would count
    registry.end(7, None)
    assert (registry.waiting(), registry.statistics()) == ([], (0, 0, 5))
    await trio.sleep(relays.LINGER + 1)
    assert registry.statistics().bytes_total == 5

"""Patience: what is tried again, how often, how long, and how an expired URL is renewed."""

import hashlib
import logging
import math

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from tests.support import blobserver
from tyger import errors
from tygerd.stores import access, dataplane, retrying

EMPTY = hashlib.md5(b"").digest()


@pytest.fixture
def server():
    with blobserver.BlobServer() as made:
        made.put("00/000", b"data")
        yield made


def patient(server, policy=None, *, opened=None, chance=0.0):
    """Without jitter nothing waits, unless the test wants it to."""
    plane = dataplane.DataPlane(opened or access.locate(server.url()))
    return retrying.Retrying(
        plane,
        policy or retrying.Policy(deadline=3600),
        threads=trio.CapacityLimiter(8),
        chance=lambda: chance,
    )


async def using(remote, work):
    """What `work` returns or raises, with the connections closed afterwards."""
    outcome = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(remote.guard)
        try:
            outcome = await work()
        except errors.Problem as problem:
            outcome = problem
        nursery.cancel_scope.cancel()
    if isinstance(outcome, errors.Problem):
        raise outcome
    return outcome


# --- the policy ------------------------------------------------------------------------------------------


@given(st.integers(1, 10**6), st.none() | st.floats(0, 1e6), st.floats(0, 1, exclude_max=True))
def test_a_pause_is_bounded_below_by_the_server_and_above_by_the_cap(failures, retry_after, chance):
    policy = retrying.Policy(deadline=1)
    pause = policy.pause(failures, retry_after, chance)
    assert (retry_after or 0) <= pause <= max(policy.cap, retry_after or 0)


def test_pauses_double_up_to_the_cap():
    policy = retrying.Policy(deadline=1)
    longest = [policy.pause(n, None, 1.0) for n in range(1, 9)]
    assert longest == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


# --- trying again ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        blobserver.HANG_UP,
        blobserver.LOST_REPLY,
        blobserver.GARBAGE,
        *(blobserver.Refusal(status) for status in (408, 429, 500, 502, 503, 504)),
    ],
)
async def test_what_may_pass_is_tried_again(server, fault):
    server.fault("HEAD", "00/000", fault, fault, fault)
    remote = patient(server)
    assert (await using(remote, lambda: remote.head("00/000"))).length == 4
    assert server.count("HEAD", "00/000") == 4


@pytest.mark.parametrize("status", [400, 403, 404, 409, 413, 501])
async def test_what_cannot_pass_is_raised_at_once(server, status):
    server.fault("HEAD", "00/000", blobserver.Refusal(status, "Some"))
    remote = patient(server)
    with pytest.raises(errors.Problem):
        await using(remote, lambda: remote.head("00/000"))
    assert server.count("HEAD", "00/000") == 1


async def test_an_md5_mismatch_is_tried_five_times(server):
    server.fault("GET", "00/000", *[blobserver.CORRUPT] * 4)
    remote = patient(server)
    memory = bytearray(4)
    await using(remote, lambda: remote.get("00/000", lambda _: memoryview(memory)))
    assert memory == b"data"
    server.fault("GET", "00/000", *[blobserver.CORRUPT] * 5)
    again = remote.again(retrying.Policy(deadline=1))
    with pytest.raises(dataplane.Md5MismatchError):
        await using(again, lambda: again.get("00/000", lambda _: memoryview(memory)))


async def test_waiting_is_as_long_as_the_policy_says(server, autojump_clock):
    server.fault("HEAD", "00/000", *[blobserver.Refusal(503)] * 3)
    remote = patient(server, chance=1.0)
    started = trio.current_time()
    await using(remote, lambda: remote.head("00/000"))
    assert math.isclose(trio.current_time() - started, 0.5 + 1 + 2)


async def test_the_server_may_ask_for_more(server, autojump_clock):
    server.fault("HEAD", "00/000", blobserver.Refusal(429, headers=(("Retry-After", "77"),)))
    remote = patient(server)
    started = trio.current_time()
    await using(remote, lambda: remote.head("00/000"))
    assert math.isclose(trio.current_time() - started, 77)


async def test_patience_ends(server, autojump_clock, caplog):
    server.fault("HEAD", "00/000", *[blobserver.Refusal(503, "ServerBusy")] * 4)
    remote = patient(server, retrying.Policy(deadline=4), chance=1.0)
    with pytest.raises(dataplane.TransientError, match="503: ServerBusy"):
        await using(remote, lambda: remote.head("00/000"))
    assert trio.current_time() < 4
    assert [record.getMessage() for record in caplog.records] == [
        "buffer buffer1: unexpected status code 503: ServerBusy; trying again for up to 4s"
    ]


async def test_less_patience_for_one_that_has_never_answered(server, autojump_clock):
    policy = retrying.Policy(deadline=100, first_contact=1)
    server.fault("HEAD", "00/000", *[blobserver.HANG_UP] * 2)
    remote = patient(server, policy, chance=1.0)
    with pytest.raises(dataplane.TransientError):
        await using(remote, lambda: remote.head("00/000"))
    server.fault("HEAD", "00/001", *[blobserver.HANG_UP] * 4)
    met = remote.again(policy)

    async def work():
        await met.head("00/000")
        with pytest.raises(dataplane.BlobNotFoundError):
            await met.head("00/001")

    await using(met, work)


async def test_an_outage_is_two_lines_in_the_log(server, caplog):
    caplog.set_level(logging.INFO)
    server.fault("HEAD", "00/000", *[blobserver.HANG_UP] * 5)
    remote = patient(server)
    await using(remote, lambda: remote.head("00/000"))
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert "trying again for up to 1h0m0s" in said[0]
    assert "answers again after" in said[1]


async def test_a_silent_server_does_not_hold_up_cancellation(server, caplog):
    server.fault("HEAD", "00/000", blobserver.SILENCE)
    remote = patient(server)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(remote.guard)
        nursery.start_soon(remote.head, "00/000")
        await trio.to_thread.run_sync(server.wait, lambda: server.count("HEAD", "00/000") == 1)
        started = trio.current_time()
        nursery.cancel_scope.cancel()
    assert trio.current_time() - started < 2
    assert not caplog.records


# --- access URLs -----------------------------------------------------------------------------------------


@pytest.fixture
def renewable(server):
    """Access through a function; `urls` are what it gives, the last one for ever."""

    class Source:
        urls = [server.url(sig="expired")]  # noqa: RUF012 - replaced, never changed
        asked = 0

        def __call__(self):
            self.asked += 1
            found = self.urls[0]
            self.urls = self.urls[1:] or self.urls
            if isinstance(found, errors.Problem):
                raise found
            return found

    source = Source()
    return source, access.Access(access.parse(server.url(sig="expired")), source)


async def test_an_expired_url_is_renewed_once_for_all(server, renewable):
    source, opened = renewable
    source.urls = [server.url()]
    remote = patient(server, opened=opened)
    for number in range(8):
        server.put(f"00/00{number}", b"x")

    async def work():
        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(remote.head, f"00/00{number}")

    await using(remote, work)
    assert source.asked == 1


async def test_a_literal_url_is_not_renewed(server):
    remote = patient(server, opened=access.locate(server.url(sig="expired")))
    with pytest.raises(dataplane.ExpiredError, match=r"^invalid access URL$"):
        await using(remote, lambda: remote.head("00/000"))
    assert server.count("HEAD", "00/000") == 1


async def test_a_fresh_url_that_does_not_open_is_not_renewed_again(server, renewable):
    source, opened = renewable
    source.urls = [server.url(sig="forged"), server.url(sig="forged2")]
    remote = patient(server, opened=opened)
    with pytest.raises(dataplane.ExpiredError):
        await using(remote, lambda: remote.head("00/000"))
    assert source.asked == 1


async def test_a_source_that_is_late_is_waited_for(server, renewable, autojump_clock, caplog):
    source, opened = renewable
    late = errors.Problem(errors.UNAVAILABLE, "the file is being replaced")
    source.urls = [source.urls[0]] * 3 + [late, server.url()]
    remote = patient(server, opened=opened)
    assert (await using(remote, lambda: remote.head("00/000"))).length == 4
    assert [record.getMessage().partition("; ")[2] for record in caplog.records] == [
        "waiting, as its source still gives the same one",
        "waiting, as the file is being replaced",
    ]


async def test_a_source_that_never_gives_another(server, renewable, autojump_clock):
    _, opened = renewable
    remote = patient(server, opened=opened)
    with pytest.raises(
        errors.Problem, match="failed to refresh access URL: it expired, and its source still"
    ):
        await using(remote, lambda: remote.head("00/000"))
    assert math.isclose(trio.current_time(), retrying.RENEWAL_PATIENCE, abs_tol=2)


async def test_a_put_is_repeated_whole(server, tmp_path):
    path = tmp_path / "block"
    path.write_bytes(b"block")
    server.fault("PUT", "00/001", blobserver.Refusal(503), blobserver.Refusal(500, early=True))
    remote = patient(server)
    body = dataplane.File(str(path), 5)
    await using(remote, lambda: remote.put("00/001", body, hashlib.md5(b"block").digest(), {"k": "v"}))
    assert server.blobs["00/001"] == blobserver.Blob(b"block", {"k": "v"})

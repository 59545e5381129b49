"""Patience: what is tried again, how often and how long, and in which turn."""

import hashlib
import math

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from tests.support import blobserver, patiently
from tyger import errors
from tygerd.stores import dataplane, link, network, retrying

EMPTY = patiently.EMPTY
HOUR = patiently.HOUR


# --- the policy ------------------------------------------------------------------------------------------


@given(st.integers(1, 10**6), st.none() | st.floats(0, 1e6), st.floats(0, 1, exclude_max=True), st.booleans())
def test_a_pause_is_bounded_below_by_the_server_and_above_by_the_cap(failures, retry_after, chance, offline):
    policy = retrying.Policy(first=0.25, deadline=1)
    pause = policy.pause(failures, retry_after, chance, offline=offline)
    cap = policy.offline_cap if offline else policy.cap
    assert (retry_after or 0) <= pause <= max(cap, retry_after or 0)


def test_pauses_double_up_to_the_cap():
    policy = retrying.Policy(first=0.25, deadline=1)
    longest = [policy.pause(n, None, 1.0) for n in range(1, 9)]
    assert longest == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    offline = [policy.pause(n, None, 1.0, offline=True) for n in range(2, 7)]
    assert offline == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_a_night_is_the_usual_patience():
    assert retrying.Policy().deadline == 86400


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
    remote = patiently.patient(server)
    assert (await patiently.using(remote, lambda: remote.head("00/000"))).length == 4
    assert server.count("HEAD", "00/000") == 4


@pytest.mark.parametrize("status", [400, 403, 404, 409, 413, 501])
async def test_what_cannot_pass_is_raised_at_once(server, status):
    server.fault("HEAD", "00/000", blobserver.Refusal(status, "Some"))
    remote = patiently.patient(server)
    with pytest.raises(errors.Problem):
        await patiently.using(remote, lambda: remote.head("00/000"))
    assert server.count("HEAD", "00/000") == 1


async def hash_afterwards(data):
    """As whoever hashes several blocks together."""
    await trio.lowlevel.checkpoint()
    return hashlib.md5(data).digest()


@pytest.mark.parametrize("digest", [None, hash_afterwards])
async def test_an_md5_mismatch_is_tried_five_times(server, digest):
    server.fault("GET", "00/000", *[blobserver.CORRUPT] * 4)
    remote = patiently.patient(server, digest=digest)
    memory = bytearray(4)
    await patiently.using(remote, lambda: remote.get("00/000", lambda _: memoryview(memory)))
    assert memory == b"data"
    server.fault("GET", "00/000", *[blobserver.CORRUPT] * 5)
    again = remote.again(retrying.Policy(first=0.25, deadline=1))
    with pytest.raises(dataplane.Md5MismatchError):
        await patiently.using(again, lambda: again.get("00/000", lambda _: memoryview(memory)))


@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_after_the_second_mismatch_there_is_a_pause(server, autojump_clock, method):
    """Damaged on its way up or down."""
    remote = patiently.patient(server, chance=1.0)
    fault = blobserver.CORRUPT if method == "GET" else blobserver.Refusal(400, "Md5Mismatch")
    server.fault(method, "00/000" if method == "GET" else "00/001", *[fault] * 4)
    started = trio.current_time()
    if method == "GET":
        await patiently.using(remote, lambda: remote.get("00/000", lambda _: memoryview(bytearray(4))))
    else:
        await patiently.using(remote, lambda: remote.put("00/001", b"", EMPTY, {}))
    assert math.isclose(trio.current_time() - started, 0.5 + 1 + 2)


async def test_waiting_is_as_long_as_the_policy_says(server, autojump_clock):
    server.fault("HEAD", "00/000", *[blobserver.Refusal(503)] * 3)
    remote = patiently.patient(server, chance=1.0)
    started = trio.current_time()
    await patiently.using(remote, lambda: remote.head("00/000"))
    assert math.isclose(trio.current_time() - started, 0.5 + 1 + 2)


async def test_the_server_may_ask_for_more(server, autojump_clock):
    server.fault("HEAD", "00/000", blobserver.Refusal(429, headers=(("Retry-After", "77"),)))
    remote = patiently.patient(server)
    started = trio.current_time()
    await patiently.using(remote, lambda: remote.head("00/000"))
    assert math.isclose(trio.current_time() - started, 77)


async def test_patience_ends(server, autojump_clock, caplog):
    server.fault("HEAD", "00/000", *[blobserver.Refusal(503, "ServerBusy")] * 4)
    remote = patiently.patient(server, retrying.Policy(first=0.25, deadline=4), chance=1.0)
    with pytest.raises(dataplane.TransientError, match="503: ServerBusy"):
        await patiently.using(remote, lambda: remote.head("00/000"))
    assert trio.current_time() < 4
    assert [record.getMessage() for record in caplog.records] == [
        "buffer buffer1: unexpected status code 503: ServerBusy; trying again for up to 4s"
    ]


async def test_less_patience_for_one_that_has_never_answered(server, autojump_clock):
    policy = retrying.Policy(first=0.25, deadline=100, first_contact=1)
    server.fault("HEAD", "00/000", *[blobserver.HANG_UP] * 2)
    remote = patiently.patient(server, policy, chance=1.0)
    with pytest.raises(dataplane.TransientError):
        await patiently.using(remote, lambda: remote.head("00/000"))
    server.fault("HEAD", "00/001", *[blobserver.HANG_UP] * 4)
    met = remote.again(policy)

    async def work():
        await met.head("00/000")
        with pytest.raises(dataplane.BlobNotFoundError):
            await met.head("00/001")

    await patiently.using(met, work)


async def test_a_silent_server_does_not_hold_up_cancellation(server, caplog):
    server.fault("HEAD", "00/000", blobserver.SILENCE)
    remote = patiently.patient(server)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(remote.guard)
        nursery.start_soon(remote.head, "00/000")
        await trio.to_thread.run_sync(server.until_met)
        started = trio.current_time()
        nursery.cancel_scope.cancel()
    assert trio.current_time() - started < network.SILENCE, "it waited for the silent request"
    assert not caplog.records


async def test_the_first_that_gets_through_wakes_those_that_found_nobody(server):
    """Not those to whom the server said when to come back; but somebody who knows more wakes all."""
    remote = patiently.patient(server, HOUR, chance=1.0)
    server.put("00/001", b"x")
    server.fault("HEAD", "00/000", blobserver.HANG_UP)
    server.fault("HEAD", "00/001", blobserver.Refusal(503))
    came = []

    async def ask(name):
        await remote.head(name)
        came.append(name)

    async def work():
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask, "00/000")
                nursery.start_soon(ask, "00/001")
                await patiently.asleep(remote, 2)
                with pytest.raises(dataplane.BlobNotFoundError):  # an answer all the same
                    await remote.head("00/00F")
                await patiently.until(lambda: came)
                assert came == ["00/000"]
                remote.wake()

    await patiently.using(remote, work)
    assert came == ["00/000", "00/001"]


# --- turns -----------------------------------------------------------------------------------------------


async def test_blocks_take_turns_and_markers_do_not(server):
    flow = link.Link().lane("there", "up").flow()
    remote = patiently.patient(server, flow=flow)

    async def work():
        async with flow.turn(1), flow.turn(1):  # all there are
            await remote.head("00/000")
            await remote.put(".bufferstart", b"", EMPTY, {})
            await remote.get(".bufferstart", lambda _: memoryview(b""))
            with trio.move_on_after(0.05) as scope:
                await remote.put("00/001", b"", EMPTY, {})
            assert scope.cancelled_caught
        await remote.put("00/001", b"", EMPTY, {})

    await patiently.using(remote, work)
    assert server.count("PUT", "00/001") == 1


async def test_the_lane_learns_what_became_of_a_turn(server, autojump_clock):
    lane = link.Link().lane("there", "down")
    flow = lane.flow()
    remote = patiently.patient(server, flow=flow, chance=1.0)
    server.fault("GET", "00/000", blobserver.Refusal(503), blobserver.HANG_UP, blobserver.CORRUPT)
    await patiently.using(remote, lambda: remote.get("00/000", lambda _: memoryview(bytearray(4))))
    found = lane.statistics()
    assert (found.moved, found.pushed_back, found.in_flight) == (4, 1, 0)


async def test_who_waits_to_try_again_has_no_turn(server):
    lane = link.Link().lane("there", "down")
    remote = patiently.patient(server, HOUR, flow=lane.flow(), chance=1.0)
    server.fault("GET", "00/000", blobserver.Refusal(503))

    async def work():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(remote.get, "00/000", lambda _: memoryview(bytearray(4)))
            await patiently.asleep(remote, 1)
            assert lane.statistics().in_flight == 0
            remote.wake()

    await patiently.using(remote, work)

"""Patience: what is tried again, how often, how long, and how an expired URL is renewed."""

import datetime as dt
import hashlib
import logging
import math

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from tests.support import blobserver
from tyger import errors
from tygerd.stores import access, dataplane, link, retrying, serverclock

EMPTY = hashlib.md5(b"").digest()


@pytest.fixture
def server():
    with blobserver.BlobServer() as made:
        made.put("00/000", b"data")
        yield made


def patient(server, policy=None, *, opened=None, chance=0.0, **options):
    """Without jitter nothing waits, unless the test wants it to."""
    plane = dataplane.DataPlane(opened or access.locate(server.url()))
    return retrying.Retrying(
        plane,
        policy or retrying.Policy(first=0.25, deadline=3600),
        threads=trio.CapacityLimiter(8),
        chance=lambda: chance,
        **options,
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


async def hash_afterwards(data):
    """As whoever hashes several blocks together."""
    await trio.lowlevel.checkpoint()
    return hashlib.md5(data).digest()


@pytest.mark.parametrize("digest", [None, hash_afterwards])
async def test_an_md5_mismatch_is_tried_five_times(server, digest):
    server.fault("GET", "00/000", *[blobserver.CORRUPT] * 4)
    remote = patient(server, digest=digest)
    memory = bytearray(4)
    await using(remote, lambda: remote.get("00/000", lambda _: memoryview(memory)))
    assert memory == b"data"
    server.fault("GET", "00/000", *[blobserver.CORRUPT] * 5)
    again = remote.again(retrying.Policy(first=0.25, deadline=1))
    with pytest.raises(dataplane.Md5MismatchError):
        await using(again, lambda: again.get("00/000", lambda _: memoryview(memory)))


@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_after_the_second_mismatch_there_is_a_pause(server, autojump_clock, method):
    """Damaged on its way up or down."""
    remote = patient(server, chance=1.0)
    fault = blobserver.CORRUPT if method == "GET" else blobserver.Refusal(400, "Md5Mismatch")
    server.fault(method, "00/000" if method == "GET" else "00/001", *[fault] * 4)
    started = trio.current_time()
    if method == "GET":
        await using(remote, lambda: remote.get("00/000", lambda _: memoryview(bytearray(4))))
    else:
        await using(remote, lambda: remote.put("00/001", b"", EMPTY, {}))
    assert math.isclose(trio.current_time() - started, 0.5 + 1 + 2)


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
    remote = patient(server, retrying.Policy(first=0.25, deadline=4), chance=1.0)
    with pytest.raises(dataplane.TransientError, match="503: ServerBusy"):
        await using(remote, lambda: remote.head("00/000"))
    assert trio.current_time() < 4
    assert [record.getMessage() for record in caplog.records] == [
        "buffer buffer1: unexpected status code 503: ServerBusy; trying again for up to 4s"
    ]


async def test_less_patience_for_one_that_has_never_answered(server, autojump_clock):
    policy = retrying.Policy(first=0.25, deadline=100, first_contact=1)
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


# Threads work in real time, so what several tasks do at once is tested in real time; those who wait do so for
# an hour, unless they are woken.
HOUR = retrying.Policy(deadline=7200, first=3600, cap=3600, offline_cap=3600)


async def until(predicate):
    with trio.fail_after(5):
        while not predicate():
            await trio.lowlevel.checkpoint()


async def asleep(remote, count):
    """Until so many wait to try again."""
    await until(lambda: len(remote._sleepers) == count)


async def test_the_first_that_gets_through_wakes_those_that_found_nobody(server):
    """Not those to whom the server said when to come back; but somebody who knows more wakes all."""
    remote = patient(server, HOUR, chance=1.0)
    server.put("00/001", b"x")
    server.fault("HEAD", "00/000", blobserver.HANG_UP)
    server.fault("HEAD", "00/001", blobserver.Refusal(503))
    came = []

    async def ask(name):
        await remote.head(name)
        came.append(name)

    async def work():
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask, "00/000")
                nursery.start_soon(ask, "00/001")
                await asleep(remote, 2)
                with pytest.raises(dataplane.BlobNotFoundError):  # an answer all the same
                    await remote.head("00/00F")
                await until(lambda: came)
                assert came == ["00/000"]
                remote.wake()

    await using(remote, work)
    assert came == ["00/000", "00/001"]


# --- what is the matter ----------------------------------------------------------------------------------


async def test_trouble_is_told_and_that_it_is_over(server):
    told = []
    remote = patient(server, on_trouble=told.append)
    server.fault("HEAD", "00/000", blobserver.HANG_UP, blobserver.Refusal(503, "ServerBusy"))
    await using(remote, lambda: remote.head("00/000"))
    assert [trouble and (trouble.blob, trouble.offline, trouble.attempts) for trouble in told] == [
        ("00/000", True, 1),
        ("00/000", False, 2),
        None,
    ]
    assert told[0].since == told[1].since
    assert told[1].message == "unexpected status code 503: ServerBusy"


async def test_of_several_troubles_the_oldest_is_told(server):
    told = []
    remote = patient(server, HOUR, chance=1.0, on_trouble=told.append)
    server.put("00/001", b"x")
    for name in ("00/000", "00/001"):
        server.fault("HEAD", name, blobserver.Refusal(503))

    async def work():
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()

            async def first():
                with scope:
                    await remote.head("00/000")

            nursery.start_soon(first)
            await asleep(remote, 1)
            nursery.start_soon(remote.head, "00/001")
            await asleep(remote, 2)
            scope.cancel()
            await asleep(remote, 1)
            remote.wake()

    await using(remote, work)
    assert [trouble and trouble.blob for trouble in told] == ["00/000", "00/001", None]


async def test_trouble_that_ends_in_an_error_is_over_too(server, autojump_clock):
    told = []
    remote = patient(server, retrying.Policy(first=0.25, deadline=1), chance=1.0, on_trouble=told.append)
    server.fault("HEAD", "00/000", *[blobserver.HANG_UP] * 2)
    with pytest.raises(dataplane.TransientError) as caught:
        await using(remote, lambda: remote.head("00/000"))
    assert caught.value.offline
    assert told[-1] is None


async def test_who_is_cancelled_has_no_trouble_left(server):
    told = []
    remote = patient(server, HOUR, chance=1.0, on_trouble=told.append)
    server.fault("HEAD", "00/000", blobserver.Refusal(503))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(remote.head, "00/000")
        await asleep(remote, 1)
        nursery.cancel_scope.cancel()
    assert [trouble and trouble.attempts for trouble in told] == [1, None]
    remote._plane.abort()


# --- turns -----------------------------------------------------------------------------------------------


async def test_blocks_take_turns_and_markers_do_not(server):
    flow = link.Link().lane("there", "up").flow()
    remote = patient(server, flow=flow)

    async def work():
        async with flow.turn(1), flow.turn(1):  # all there are
            await remote.head("00/000")
            await remote.put(".bufferstart", b"", EMPTY, {})
            await remote.get(".bufferstart", lambda _: memoryview(b""))
            with trio.move_on_after(0.05) as scope:
                await remote.put("00/001", b"", EMPTY, {})
            assert scope.cancelled_caught
        await remote.put("00/001", b"", EMPTY, {})

    await using(remote, work)
    assert server.count("PUT", "00/001") == 1


async def test_the_lane_learns_what_became_of_a_turn(server, autojump_clock):
    lane = link.Link().lane("there", "down")
    flow = lane.flow()
    remote = patient(server, flow=flow, chance=1.0)
    server.fault("GET", "00/000", blobserver.Refusal(503), blobserver.HANG_UP, blobserver.CORRUPT)
    await using(remote, lambda: remote.get("00/000", lambda _: memoryview(bytearray(4))))
    found = lane.statistics()
    assert (found.moved, found.pushed_back, found.in_flight) == (4, 1, 0)


async def test_who_waits_to_try_again_has_no_turn(server):
    lane = link.Link().lane("there", "down")
    remote = patient(server, HOUR, flow=lane.flow(), chance=1.0)
    server.fault("GET", "00/000", blobserver.Refusal(503))

    async def work():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(remote.get, "00/000", lambda _: memoryview(bytearray(4)))
            await asleep(remote, 1)
            assert lane.statistics().in_flight == 0
            remote.wake()

    await using(remote, work)


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


# --- ahead of expiry -------------------------------------------------------------------------------------


class Signer:
    """Access by URLs that live as long as the test says; `refusals` are raised first."""

    def __init__(self, server, life):
        self.server = server
        self.boot = 0.0
        self.life = life
        self.signed = []
        self.refusals = []
        self.clock = serverclock.ServerClock(boottime=lambda: self.boot)
        self.clock.learn("Fri, 02 Jan 2026 03:04:05 GMT")
        self.clock.learn = lambda _: None  # the server's own clock is the test's
        self.opened = access.Access(access.parse(self.sign()), self.sign, clock=self.clock)

    def sign(self):
        if self.refusals:
            raise self.refusals.pop(0)
        name = f"key{len(self.signed)}"
        self.signed.append(name)
        self.server.signatures[name] = "cr"
        end = self.clock.now() + dt.timedelta(seconds=self.life)
        begin = self.clock.now()
        return f"{self.server.url(sig=name)}&st={begin:%Y-%m-%dT%H:%M:%SZ}&se={end:%Y-%m-%dT%H:%M:%SZ}"

    def passes(self, seconds):
        """Time passes, and with it the keys whose end has come."""
        self.boot += seconds
        if self.opened.is_expired():
            self.server.signatures.pop(self.signed[-1], None)


async def test_a_url_is_renewed_before_it_expires(server):
    """In a stream of requests no request is ever refused."""
    signer = Signer(server, 30)
    remote = patient(server, opened=signer.opened)

    async def work():
        for _ in range(60):
            await remote.head("00/000")
            signer.passes(5)

    await using(remote, work)
    assert server.count("HEAD", "00/000") == 60
    assert 10 <= len(signer.signed) <= 16


async def test_a_renewal_that_fails_ahead_is_no_error(server, caplog):
    signer = Signer(server, 30)
    remote = patient(server, opened=signer.opened)
    signer.refusals = [errors.Problem(errors.FORBIDDEN, "the key was revoked")]

    async def work():
        signer.passes(25)
        await remote.head("00/000")
        assert (await remote.head("00/000")).length == 4

    await using(remote, work)
    said = "buffer buffer1: no fresh access URL, 5 s before it expires: the key was revoked"
    assert [record.getMessage() for record in caplog.records] == [said]


async def test_a_source_that_may_come_back_is_asked_as_long_as_patience_lasts(server, autojump_clock):
    signer = Signer(server, 30)
    remote = patient(server, opened=signer.opened, chance=1.0)
    signer.refusals = [errors.Problem(errors.TRY_AGAIN, "Entra ID cannot be reached")] * 5
    signer.passes(31)
    started = trio.current_time()
    assert (await using(remote, lambda: remote.head("00/000"))).length == 4
    assert trio.current_time() - started >= 0.5 + 1 + 2 + 4 + 8


async def test_a_source_that_never_comes_back(server, autojump_clock):
    told = []
    signer = Signer(server, 30)
    remote = patient(
        server,
        retrying.Policy(first=0.25, deadline=9),
        opened=signer.opened,
        chance=1.0,
        on_trouble=told.append,
    )
    signer.refusals = [errors.Problem(errors.TRY_AGAIN, "Entra ID cannot be reached")] * 99
    signer.passes(31)
    words = "^failed to refresh access URL: it expired, and Entra ID cannot be reached$"
    with pytest.raises(dataplane.TransientError, match=words):
        await using(remote, lambda: remote.head("00/000"))
    assert told[0].message == "the access URL expired, and Entra ID cannot be reached"


async def test_a_source_that_says_no_is_believed_at_once(server):
    """And once for all; until somebody knows better."""
    signer = Signer(server, 30)
    remote = patient(server, opened=signer.opened)
    signer.refusals = [errors.Problem(errors.CONFIG, "the client secret has expired")]
    signer.passes(31)

    async def work():
        for _ in range(2):
            with pytest.raises(errors.Problem, match="it expired, and the client secret has") as caught:
                await remote.head("00/000")
            assert caught.value.kind is errors.CONFIG
        remote.wake()
        await remote.head("00/000")

    await using(remote, work)
    assert len(signer.signed) == 2


async def test_a_url_that_expires_while_a_request_waits_for_its_turn(server):
    """It is renewed before anything is sent; a turn is not kept meanwhile."""
    signer = Signer(server, 30)
    lane = link.Link().lane("there", "up")
    flow = lane.flow()
    remote = patient(server, opened=signer.opened, flow=flow)

    async def work():
        async with trio.open_nursery() as nursery, flow.turn(1), flow.turn(1):
            nursery.start_soon(remote.put, "00/001", b"", EMPTY, {})
            await until(lambda: lane.statistics().waiting)
            signer.passes(31)

    await using(remote, work)
    assert server.count("PUT", "00/001") == 1
    assert len(signer.signed) == 2


async def test_a_second_expiry_in_one_request_is_one_too(server):
    """A URL that was renewed may expire again before the request got through: nobody is at fault."""
    signer = Signer(server, 30)
    remote = patient(server, opened=signer.opened)
    sign = signer.opened._source

    def slowly():
        made = sign()
        if len(signer.signed) < 4:
            signer.server.signatures.pop(signer.signed[-1])
            signer.boot += 31
        return made

    signer.opened._source = slowly
    signer.passes(31)
    assert (await using(remote, lambda: remote.head("00/000"))).length == 4

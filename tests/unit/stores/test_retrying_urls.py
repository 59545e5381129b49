"""An access URL that expires among retries: renewed afterwards, or ahead of its end."""

import datetime as dt
import hashlib
import math

import pytest
import trio

from tests.support import blobserver, patiently
from tyger import errors
from tygerd.stores import access, dataplane, link, retrying, serverclock

EMPTY = patiently.EMPTY


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
    remote = patiently.patient(server, opened=opened)
    for number in range(8):
        server.put(f"00/00{number}", b"x")

    async def work():
        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(remote.head, f"00/00{number}")

    await patiently.using(remote, work)
    assert source.asked == 1


async def test_a_literal_url_is_not_renewed(server):
    remote = patiently.patient(server, opened=access.locate(server.url(sig="expired")))
    with pytest.raises(dataplane.ExpiredError, match=r"^invalid access URL$"):
        await patiently.using(remote, lambda: remote.head("00/000"))
    assert server.count("HEAD", "00/000") == 1


async def test_a_fresh_url_that_does_not_open_is_not_renewed_again(server, renewable):
    source, opened = renewable
    source.urls = [server.url(sig="forged"), server.url(sig="forged2")]
    remote = patiently.patient(server, opened=opened)
    with pytest.raises(dataplane.ExpiredError):
        await patiently.using(remote, lambda: remote.head("00/000"))
    assert source.asked == 1


async def test_a_source_that_is_late_is_waited_for(server, renewable, autojump_clock, caplog):
    source, opened = renewable
    late = errors.Problem(errors.UNAVAILABLE, "the file is being replaced")
    source.urls = [source.urls[0]] * 3 + [late, server.url()]
    remote = patiently.patient(server, opened=opened)
    assert (await patiently.using(remote, lambda: remote.head("00/000"))).length == 4
    assert [record.getMessage().partition("; ")[2] for record in caplog.records] == [
        "waiting, as its source still gives the same one",
        "waiting, as the file is being replaced",
    ]


async def test_a_source_that_never_gives_another(server, renewable, autojump_clock):
    _, opened = renewable
    remote = patiently.patient(server, opened=opened)
    with pytest.raises(
        errors.Problem, match="failed to refresh access URL: it expired, and its source still"
    ):
        await patiently.using(remote, lambda: remote.head("00/000"))
    assert math.isclose(trio.current_time(), retrying.RENEWAL_PATIENCE, abs_tol=2)


async def test_a_put_is_repeated_whole(server, tmp_path):
    path = tmp_path / "block"
    path.write_bytes(b"block")
    server.fault("PUT", "00/001", blobserver.Refusal(503), blobserver.Refusal(500, early=True))
    remote = patiently.patient(server)
    body = dataplane.File(str(path), 5)
    await patiently.using(
        remote, lambda: remote.put("00/001", body, hashlib.md5(b"block").digest(), {"k": "v"})
    )
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
    remote = patiently.patient(server, opened=signer.opened)

    async def work():
        for _ in range(60):
            await remote.head("00/000")
            signer.passes(5)

    await patiently.using(remote, work)
    assert server.count("HEAD", "00/000") == 60
    assert 10 <= len(signer.signed) <= 16


async def test_a_renewal_that_fails_ahead_is_no_error(server, caplog):
    signer = Signer(server, 30)
    remote = patiently.patient(server, opened=signer.opened)
    signer.refusals = [errors.Problem(errors.FORBIDDEN, "the key was revoked")]

    async def work():
        signer.passes(25)
        await remote.head("00/000")
        assert (await remote.head("00/000")).length == 4

    await patiently.using(remote, work)
    said = "buffer buffer1: no fresh access URL, 5 s before it expires: the key was revoked"
    assert [record.getMessage() for record in caplog.records] == [said]


async def test_a_source_that_may_come_back_is_asked_as_long_as_patience_lasts(server, autojump_clock):
    signer = Signer(server, 30)
    remote = patiently.patient(server, opened=signer.opened, chance=1.0)
    signer.refusals = [errors.Problem(errors.TRY_AGAIN, "Entra ID cannot be reached")] * 5
    signer.passes(31)
    started = trio.current_time()
    assert (await patiently.using(remote, lambda: remote.head("00/000"))).length == 4
    assert trio.current_time() - started >= 0.5 + 1 + 2 + 4 + 8


async def test_a_source_that_never_comes_back(server, autojump_clock):
    told = []
    signer = Signer(server, 30)
    remote = patiently.patient(
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
        await patiently.using(remote, lambda: remote.head("00/000"))
    assert told[0].message == "the access URL expired, and Entra ID cannot be reached"


async def test_a_source_that_says_no_is_believed_at_once(server):
    """And once for all; until somebody knows better."""
    signer = Signer(server, 30)
    remote = patiently.patient(server, opened=signer.opened)
    signer.refusals = [errors.Problem(errors.CONFIG, "the client secret has expired")]
    signer.passes(31)

    async def work():
        for _ in range(2):
            with pytest.raises(errors.Problem, match="it expired, and the client secret has") as caught:
                await remote.head("00/000")
            assert caught.value.kind is errors.CONFIG
        remote.wake()
        await remote.head("00/000")

    await patiently.using(remote, work)
    assert len(signer.signed) == 2


async def test_a_url_that_expires_while_a_request_waits_for_its_turn(server):
    """It is renewed before anything is sent; a turn is not kept meanwhile."""
    signer = Signer(server, 30)
    lane = link.Link().lane("there", "up")
    flow = lane.flow()
    remote = patiently.patient(server, opened=signer.opened, flow=flow)

    async def work():
        async with trio.open_nursery() as nursery, flow.turn(1), flow.turn(1):
            nursery.start_soon(remote.put, "00/001", b"", EMPTY, {})
            await patiently.until(lambda: lane.statistics().waiting)
            signer.passes(31)

    await patiently.using(remote, work)
    assert server.count("PUT", "00/001") == 1
    assert len(signer.signed) == 2


async def test_a_second_expiry_in_one_request_is_one_too(server):
    """A URL that was renewed may expire again before the request got through: nobody is at fault."""
    signer = Signer(server, 30)
    remote = patiently.patient(server, opened=signer.opened)
    sign = signer.opened._source

    def slowly():
        made = sign()
        if len(signer.signed) < 4:
            signer.server.signatures.pop(signer.signed[-1])
            signer.boot += 31
        return made

    signer.opened._source = slowly
    signer.passes(31)
    assert (await patiently.using(remote, lambda: remote.head("00/000"))).length == 4

"""The TCP listener: who is served, who is closed for others, who waits; on real sockets, with TLS."""

import contextlib
import socket

import pytest
import trio

from tests.support import tlspeer, wire
from tyger import errors
from tygerd.http import messages, plane
from tygerd.http.router import Route


class Gates:
    """Handlers say that they were entered, and wait."""

    def __init__(self):
        self.entered = 0
        self.open = trio.Event()


async def quick(app: Gates, request: messages.Request) -> messages.Response:
    return messages.Response(body="quick")


async def slow(app: Gates, request: messages.Request) -> messages.Response:
    app.entered += 1
    await app.open.wait()
    return messages.Response(body="slow")


ROUTES = [
    Route("GET", "/quick", quick, "", versioned=False),
    Route("GET", "/slow", slow, "", versioned=False),
]
SLOW = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return tlspeer.certificate(tmp_path_factory.mktemp("tls"))


@contextlib.asynccontextmanager
async def running(certificate, connections=16, gates=None, **options):
    """A plane, with `dial` and `connect` as in `tlspeer`, of connections that are closed in the end."""
    listening = plane.listen(tlspeer.HOST, 0)
    it = plane.Plane(
        wire.site(ROUTES, app=gates or Gates()),
        listening,
        lambda: certificate.context,
        connections=connections,
        **{"stop_deadline": wire.PATIENCE, "handshake": wire.PATIENCE, "rate": 1e9, **options},
    )
    port = listening.getsockname()[1]
    it.listening, it.ended = it._listening, trio.Event()
    clients = contextlib.ExitStack()

    async def dial():
        return clients.enter_context(await tlspeer.dial(port))

    async def connect():
        return await tlspeer.over(await dial(), certificate.trusted)

    it.dial, it.connect = dial, connect

    async def serve():
        await it.serve()
        it.ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        with clients:
            yield it
        it.stop()
        with trio.fail_after(wire.PATIENCE):
            await it.ended.wait()


async def connected(it, count):
    return [await it.connect() for _ in range(count)]


async def served(it, count):
    """So many connections, each of which has had an answer; the oldest first."""
    peers = await connected(it, count)
    for peer in peers:
        assert (await peer.ask("GET", "/quick")).body == b'"quick"'
    return peers


async def is_open(peer):
    with trio.move_on_after(wire.PATIENCE):
        try:
            return (await peer.ask("GET", "/quick")).status == 200
        except trio.BrokenResourceError:
            return False
    return None


async def test_requests_are_served_and_counted(certificate):
    async with running(certificate) as it:
        (peer,) = await served(it, 1)
        assert it.statistics() == plane.Statistics(
            connections=1, closed_for_others_total=0, turned_away_total=0
        )
        await peer.stream.aclose()
        with trio.fail_after(wire.PATIENCE):
            while it.statistics().connections:
                await trio.lowlevel.checkpoint()


async def test_of_one_address_the_longest_idle_goes_first(certificate):
    async with running(certificate) as it:  # a quarter of 16
        first, second, third, fourth = await served(it, 4)
        assert (await first.ask("GET", "/quick")).status == 200  # now the second is the oldest
        (fifth,) = await served(it, 1)
        assert await second.closed()
        assert all([await is_open(peer) for peer in (first, third, fourth, fifth)])
        assert it.statistics() == plane.Statistics(
            connections=4, closed_for_others_total=1, turned_away_total=0
        )


async def test_who_has_asked_for_nothing_goes_before(certificate):
    async with running(certificate) as it:
        friends = await served(it, 3)
        stranger = await it.dial()
        (newcomer,) = await served(it, 1)
        assert await stranger.recv(1) == b""
        assert all([await is_open(peer) for peer in (*friends, newcomer)])


async def test_half_a_request_is_no_request(certificate):
    async with running(certificate) as it:
        (dripping,) = await connected(it, 1)
        await dripping.say(b"GET /quick HTTP/1.1\r\nHo")
        friends = await served(it, 4)
        assert await dripping.closed()
        assert all([await is_open(peer) for peer in friends])


async def test_a_request_under_way_is_never_cut(certificate):
    gates = Gates()
    async with running(certificate, gates=gates) as it:
        busy = await connected(it, 4)
        for peer in busy:
            await peer.say(SLOW)
        while gates.entered < 4:
            await trio.lowlevel.checkpoint()
        refused = await it.dial()  # of the same address: it is not waited for
        with contextlib.suppress(ConnectionResetError):
            assert await refused.recv(1) == b""
        assert it.statistics().turned_away_total == 1
        gates.open.set()
        assert [(await peer.answer()).body for peer in busy] == [b'"slow"'] * 4


async def test_newcomers_wait_while_everybody_is_busy(certificate, monkeypatch):
    monkeypatch.setattr(plane, "SHARE", 1)  # else one address is refused before
    gates = Gates()
    async with running(certificate, connections=2, gates=gates) as it:
        busy = await connected(it, 2)
        for peer in busy:
            await peer.say(SLOW)
        while gates.entered < 2:
            await trio.lowlevel.checkpoint()
        monkeypatch.setattr(it, "_most_of_one", 99)
        (third,) = await served(it, 1)
        fourth = await it.dial()
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert it.statistics().connections == 3  # the fourth is in the kernel's queue
        gates.open.set()
        assert [(await peer.answer()).body for peer in busy] == [b'"slow"'] * 2
        assert await is_open(await tlspeer.over(fourth, certificate.trusted))
        assert it.statistics()[:2] == (2, 2)
        assert await third.closed()  # it has waited longest for something to do


async def test_who_makes_too_many_connections_is_turned_away(certificate, now):
    async with running(certificate, rate=2) as it:  # 4 at once
        for _ in range(4):
            with await it.dial():
                pass
        fifth = await it.dial()
        with contextlib.suppress(ConnectionResetError):
            assert await fifth.recv(1) == b""
        assert it.statistics().turned_away_total == 1
        now[0] += 0.5
        assert await is_open(await it.connect())


@pytest.fixture
def now(monkeypatch):
    time = [1000.0]
    monkeypatch.setattr(plane.clock, "boottime", lambda: time[0])
    return time


def test_rates(now, monkeypatch):
    monkeypatch.setattr(plane, "ADDRESSES", 3)
    rates = plane.Rates(rate=10, burst=2)
    assert [rates.take("a") for _ in range(3)] == [True, True, False]
    assert rates.take("b")  # another one's affair
    now[0] += 0.1
    assert [rates.take("a") for _ in range(2)] == [True, False]
    now[0] += 3600
    assert [rates.take("a") for _ in range(3)] == [True, True, False]  # no more than at first
    for peer in "cdef":
        assert rates.take(peer)
    assert not rates.take("a")  # who came a moment ago is remembered


def test_rates_of_those_who_come_no_more_are_forgotten(now, monkeypatch):
    monkeypatch.setattr(plane, "ADDRESSES", 10)
    rates = plane.Rates(rate=10, burst=2)
    for number in range(100):
        now[0] += 0.1
        rates.take(str(number))
    assert len(rates._left) <= 10


async def test_a_stop_lets_a_request_finish(certificate):
    gates = Gates()
    async with running(certificate, gates=gates) as it:
        idle, busy = await connected(it, 2)
        silent = await it.dial()
        await busy.say(SLOW)
        while not gates.entered:
            await trio.lowlevel.checkpoint()
        it.stop()
        assert await idle.closed()
        assert await silent.recv(1) == b""
        gates.open.set()
        assert (await busy.answer()).body == b'"slow"'
        assert it.listening.fileno() < 0


async def test_a_stop_has_a_deadline(certificate):
    gates = Gates()
    async with running(certificate, gates=gates, stop_deadline=0.05) as it:
        (busy,) = await connected(it, 1)
        await busy.say(SLOW)
        while not gates.entered:
            await trio.lowlevel.checkpoint()
        it.stop()
        assert await busy.closed()


async def test_one_that_never_shakes_hands_is_closed(certificate):
    async with running(certificate, handshake=0.05) as it:
        silent = await it.dial()
        assert await silent.recv(1) == b""
        it._handshake = wire.PATIENCE
        assert await is_open(await it.connect())


async def test_one_that_is_gone_at_once(certificate):
    async with running(certificate) as it:
        for _ in range(20):
            sock = await it.dial()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))  # a reset
            sock.close()
        assert await is_open(await it.connect())


@pytest.mark.parametrize(
    ("name", "counted"),
    [
        (("10.0.0.7", 1), "10.0.0.7"),
        (("::ffff:10.0.0.7", 1, 0, 0), "10.0.0.7"),
        (("2001:db8:1:2:3:4:5:6", 1, 0, 0), "2001:db8:1:2::"),
        (("fe80::1%eth0", 1, 0, 2), "fe80::"),
    ],
)
def test_for_whom_a_connection_counts(name, counted):
    assert plane.address_of(name) == counted


def test_on_all_addresses():
    with plane.listen("", 0) as listening:
        port = listening.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            pass


@pytest.mark.skipif(not socket.has_ipv6, reason="there is no IPv6 on this machine")
def test_on_one_address_of_ipv6():
    with plane.listen("::1", 0) as listening:
        assert listening.getsockname()[0] == "::1"


def test_where_it_cannot_listen():
    with plane.listen("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        with pytest.raises(errors.Problem, match=f"listen on 127.0.0.1 port {port}: Address already in use"):
            plane.listen("127.0.0.1", port)
    with pytest.raises(errors.Problem, match=r"192.0.2.1 port 1: Cannot assign requested address") as caught:
        plane.listen("192.0.2.1", 1)
    assert caught.value.kind is errors.CONFIG
    with pytest.raises(errors.Problem, match=r"cannot listen on no\.such.host.invalid port 1: "):
        plane.listen("no.such.host.invalid", 1)

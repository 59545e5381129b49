"""Accepting, limits per user, the lost path and the graceful stop, on real sockets."""

import contextlib
import json
import math
import os
import socket

import pytest
import trio

from tests.support import daemon, wire
from tyger import errors
from tygerd.http import listener, messages, problems, server
from tygerd.http.router import Route


class Gate:
    """A handler waits here."""

    def __init__(self):
        self.entered = trio.Event()
        self.open = trio.Event()


async def quick(app: Gate, request: messages.Request) -> messages.Response:
    return messages.Response(body=request.peer.pid)


async def slow(app: Gate, request: messages.Request) -> messages.Response:
    app.entered.set()
    await app.open.wait()
    return messages.Response(body="done")


async def endless(app: Gate, request: messages.Request) -> messages.StreamResponse:
    async def run(sink: messages.Sink) -> None:
        await sink.send(b"x")
        app.entered.set()
        await trio.sleep_forever()

    return messages.StreamResponse(run)


ROUTES = [
    Route("GET", "/quick", quick, "", versioned=False),
    Route("GET", "/slow", slow, "", versioned=False),
    Route("GET", "/endless", endless, "", versioned=False),
]


@pytest.fixture
def place():
    with daemon.directory() as path:
        yield path


@contextlib.asynccontextmanager
async def running(path, *, connections=10, deadline=wire.PATIENCE, check=0.01, gate=None, **options):
    """A server on `path`/s; `ended` of it is set once `serve` has returned."""
    listening = listener.Listener.bind(str(path / "s"), mode=0o600, group=None)
    site = wire.site(ROUTES, app=gate or Gate())
    it = server.Server(
        site, listening, connections_per_uid=connections, stop_deadline=deadline, path_check=check, **options
    )
    it.ended = trio.Event()

    async def serve():
        await it.serve()
        it.ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        yield it
        it.stop()
        with trio.fail_after(wire.PATIENCE):
            await it.ended.wait()


def connect(path):
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.connect(str(path / "s"))
    except OSError:
        sock.close()
        raise
    return wire.Peer(sock)


async def test_requests_are_served_and_counted(place):
    async with running(place) as it:
        peer = connect(place)
        assert json.loads((await peer.ask("GET", "/quick")).body) == os.getpid()
        assert it.statistics() == server.Statistics(connections=1, passed_fds=0, requests_total=1)
        peer.sock.close()
    assert it.statistics().connections == 0
    assert not (place / "s").exists()


async def test_a_user_with_too_many_connections_is_turned_away(place):
    async with running(place, connections=1) as it:
        first = connect(place)
        assert (await first.ask("GET", "/quick")).status == 200
        second = connect(place)
        answer = await second.ask("GET", "/quick")
        assert (answer.status, json.loads(answer.body)["error"]["code"]) == (503, "TryAgain")
        assert answer.headers["request-id"].startswith("test:")
        assert {"date", "tyger-version"} <= set(answer.headers)
        assert await second.closed()
        first.sock.close()
        await trio.testing.wait_all_tasks_blocked()
        assert it.statistics().connections == 0
        third = connect(place)
        assert (await third.ask("GET", "/quick")).status == 200
        for peer in (second, third):
            peer.sock.close()


async def test_who_is_turned_away_is_heard_first(place):
    """An answer to nothing is a broken connection to a client. Those that say nothing do not pile up."""
    async with running(place, connections=1, turned_away=1, turned_away_patience=math.inf):
        first = connect(place)
        assert (await first.ask("GET", "/quick")).status == 200
        second, third = connect(place), connect(place)
        assert (await third.answer()).status == 503
        assert (await second.ask("GET", "/quick")).status == 503
        for peer in (first, second, third):
            peer.sock.close()
    async with running(place, connections=1, turned_away_patience=0.1):
        first = connect(place)
        assert (await first.ask("GET", "/quick")).status == 200
        silent = connect(place)
        assert (await silent.answer()).status == 503
        for peer in (first, silent):
            peer.sock.close()


async def test_a_stop_lets_a_request_finish(place):
    gate = Gate()
    async with running(place, gate=gate) as it, trio.open_nursery() as nursery:
        peer = connect(place)
        answers = []

        async def ask():
            answers.append(await peer.ask("GET", "/slow"))

        nursery.start_soon(ask)
        await gate.entered.wait()
        it.stop()
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(OSError, match=r"refused|No such file"):
            connect(place)
        gate.open.set()
        await it.ended.wait()
        assert await peer.closed()
        peer.sock.close()
    assert (answers[0].body, answers[0].headers["connection"]) == (b'"done"', "close")


async def test_a_stop_cuts_streams_at_once(place):
    gate = Gate()
    async with running(place, gate=gate) as it:
        peer = connect(place)
        await peer.say(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        await gate.entered.wait()
        it.stop()
        await it.ended.wait()
        answer = await peer.answer()
        assert (answer.body, answer.complete) == (b"x", False)
        peer.sock.close()


async def test_a_stop_does_not_wait_for_ever(place):
    gate = Gate()
    async with running(place, gate=gate, deadline=0.02) as it:
        peer = connect(place)
        await peer.say(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        await gate.entered.wait()
        it.stop()
        with trio.fail_after(wire.PATIENCE):
            await it.ended.wait()
        assert await peer.closed()
        peer.sock.close()


async def until_it_answers(path):
    with trio.fail_after(wire.PATIENCE):
        while True:
            try:
                return connect(path)
            except OSError:
                await trio.sleep(0.005)


@pytest.mark.parametrize("how", ["unlinked", "replaced", "moved"])
async def test_a_lost_path_is_bound_again(place, how, caplog):
    async with running(place / "dir") as it:
        before = connect(place / "dir")
        assert (await before.ask("GET", "/quick")).status == 200
        match how:
            case "unlinked":
                os.unlink(place / "dir/s")
            case "replaced":
                with socket.socket(socket.AF_UNIX) as dead:
                    dead.bind(str(place / "other"))
                os.rename(place / "other", place / "dir/s")
            case "moved":
                os.rename(place / "dir", place / "elsewhere")
        after = await until_it_answers(place / "dir")
        assert (await after.ask("GET", "/quick")).status == 200
        assert (await before.ask("GET", "/quick")).status == 200
        assert it.statistics().connections == 2
        for peer in (before, after):
            peer.sock.close()
    assert "binding it again" in caplog.text


async def test_a_path_that_another_daemon_took_ends_the_server(place):
    listening = listener.Listener.bind(str(place / "s"), mode=0o600, group=None)
    it = server.Server(wire.site(ROUTES), listening, connections_per_uid=1, stop_deadline=1, path_check=0.01)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(place / "other"))
        other.listen()
        os.rename(place / "other", place / "s")
        with trio.fail_after(wire.PATIENCE), pytest.raises(BaseExceptionGroup) as caught:
            await it.serve()
        assert problems.find(caught.value).kind is errors.CONFIG
        assert (place / "s").exists()


async def test_a_lost_socket_of_the_service_manager_ends_the_server(place):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(place / "s"))
        made.listen()
        listening = listener.Listener.passed(made.dup())
        it = server.Server(
            wire.site(ROUTES), listening, connections_per_uid=1, stop_deadline=1, path_check=0.01
        )
        os.unlink(place / "s")
        with trio.fail_after(wire.PATIENCE), pytest.raises(BaseExceptionGroup) as caught:
            await it.serve()
        assert "service manager" in str(problems.find(caught.value))

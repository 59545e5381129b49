"""Files and streams as answers, and every way in which they end."""

import contextlib

import pytest
import trio

from tests.support import wire
from tests.support.site import BIG, LIMITS, ROUTES, Log
from tygerd.http import connection, messages

# --- files and streams -------------------------------------------------------------------------------------


async def test_a_file_has_a_length_and_no_chunks(peer):
    answer = await peer.ask("GET", "/blob")
    assert answer.body == BIG[5:-5]
    assert answer.headers["content-length"] == str(len(BIG) - 10)
    assert "transfer-encoding" not in answer.headers
    assert answer.headers["content-md5"] == "x"


async def test_the_head_of_a_file(peer):
    answer = await peer.ask("HEAD", "/blob")
    assert (answer.body, answer.headers["content-length"]) == (b"", str(len(BIG) - 10))
    assert (await peer.ask("GET", "/plain/1")).status == 200


async def test_a_file_that_is_too_short_cuts_the_connection(peer, caplog):
    answer = await peer.ask("GET", "/lying")
    assert (answer.body, answer.complete) == (b"short", False)
    assert "incident" in caplog.text


async def test_a_stream_is_chunked_and_ends_with_its_trailers(peer):
    answer = await peer.ask("GET", "/chunks")
    assert (answer.status, answer.complete, answer.chunks) == (201, True, 3)
    assert answer.body == b"one" + BIG[1:101] + BIG
    assert answer.trailers == {"tyger-error": "none at all"}
    assert (await peer.ask("GET", "/plain/1")).status == 200


async def test_a_client_that_leaves_ends_a_silent_stream(peer, log):
    await peer.say(b"GET /silent HTTP/1.1\r\nHost: x\r\n\r\n")
    with trio.fail_after(wire.PATIENCE):
        await log.begun.wait()
        peer.sock.close()
        await log.ended.wait()
    assert log.ended_by is messages.EndedBy.PEER_GONE


async def test_a_client_that_leaves_ends_a_stream_it_does_not_read(peer, log):
    await peer.say(b"GET /gushing HTTP/1.1\r\nHost: x\r\n\r\n")
    assert await peer.receive()
    peer.sock.close()
    with trio.fail_after(wire.PATIENCE):
        await log.ended.wait()
    assert log.ended_by is messages.EndedBy.PEER_GONE


async def test_a_client_that_is_gone_before_the_stream_begins_is_told_to_the_stream(peer, log):
    await peer.say(b"GET /silent HTTP/1.1\r\nHost: x\r\n\r\n")
    peer.sock.close()
    with trio.fail_after(wire.PATIENCE):
        await log.ended.wait()
    assert log.ended_by is messages.EndedBy.PEER_GONE


async def test_a_daemon_that_stops_cuts_a_stream_and_says_so_to_it(peer, log):
    await peer.say(b"GET /silent HTTP/1.1\r\nHost: x\r\n\r\n")
    with trio.fail_after(wire.PATIENCE):
        await log.begun.wait()
        peer.served.stop()
        await log.ended.wait()
    assert log.ended_by is messages.EndedBy.DAEMON_STOPS
    answer = await peer.answer()
    assert (answer.status, answer.complete) == (200, False)


async def test_a_stream_of_a_daemon_that_already_stops(log):
    site = wire.site(ROUTES, LIMITS, log)
    async with wire.serving(ROUTES, site_=site) as peer:
        await peer.say(b"GET /silent HTTP/1.1\r\nHost: x\r\n")
        # The head is begun, so that the connection is not idle when the daemon stops ...
        peer.served._stopping = True
        await peer.say(b"\r\n")
        assert await peer.closed() or log.ended_by is messages.EndedBy.DAEMON_STOPS


async def test_a_daemon_that_stops_closes_idle_connections(peer):
    assert (await peer.ask("GET", "/plain/1")).status == 200
    await trio.testing.wait_all_tasks_blocked()
    peer.served.stop()
    assert await peer.closed()


async def test_requests_sent_during_a_stream_are_answered_after_it(peer):
    await peer.say(b"GET /chunks HTTP/1.1\r\nHost: x\r\n\r\nGET /plain/1 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await peer.answer()).complete
    assert (await peer.answer()).status == 200


async def test_a_client_that_floods_a_stream_is_cut(peer, log):
    await peer.say(b"GET /silent HTTP/1.1\r\nHost: x\r\n\r\n")
    with trio.fail_after(wire.PATIENCE):
        await log.begun.wait()
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            while True:
                await peer.say(b"x" * 10_000)
        await log.ended.wait()


async def test_a_problem_in_a_stream_is_a_trailer_where_one_is_announced(peer):
    answer = await peer.ask("GET", "/fails")
    assert (answer.body, answer.complete) == (b"some", True)
    assert answer.trailers == {"tyger-error": "Corrupt: bad block"}


@pytest.mark.parametrize("path", ["/fails/quietly", "/fails/badly"])
async def test_any_other_failure_cuts_a_stream(peer, path):
    answer = await peer.ask("GET", path)
    assert (answer.status, answer.body, answer.complete) == (200, b"some", False)


async def test_a_connection_that_says_nothing_for_too_long_is_closed(autojump_clock):
    assert connection.IDLE >= 130
    async with wire.serving(ROUTES, site_=wire.site(ROUTES, LIMITS, Log())) as peer:
        began = trio.current_time()
        await peer.sock.recv(1)
        assert trio.current_time() - began == pytest.approx(connection.IDLE)


async def test_a_head_that_drips_in_is_not_waited_for(autojump_clock):
    async with wire.serving(ROUTES, site_=wire.site(ROUTES, LIMITS, Log())) as peer:
        began = trio.current_time()
        with contextlib.suppress(OSError):
            await peer.say(b"GET /fails HTTP/1.1\r\nX: ")
            while True:
                await trio.sleep(10)
                await peer.say(b"x")
        assert trio.current_time() - began == pytest.approx(connection.HEAD_PATIENCE, abs=11)


async def test_a_connection_may_wait_long_between_two_requests(autojump_clock):
    async with wire.serving(ROUTES, site_=wire.site(ROUTES, LIMITS, Log())) as peer:
        for _ in range(2):
            await trio.sleep(connection.IDLE - 10)
            assert (await peer.ask("GET", "/fails")).complete

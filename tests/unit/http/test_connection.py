"""Connections over real socket pairs: whole requests and answers, and what is too much or too little."""

import json
import socket

import pytest

from tests.support import wire
from tests.support.site import ROUTES, code
from tygerd.http import connection

# --- whole answers -----------------------------------------------------------------------------------------


async def test_an_answer_has_the_headers_of_the_contract(peer):
    answer = await peer.ask("GET", "/plain/a%20b?q=1")
    assert answer.status == 200
    assert json.loads(answer.body) == {"path": "/plain/a b", "uid": 1000, "q": "1"}
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.headers["request-id"].startswith("test:")
    assert answer.headers["tyger-version"] == "9.9"
    assert answer.headers["date"].endswith("GMT")


async def test_a_connection_is_kept(peer, log):
    ids = {(await peer.ask("GET", "/plain/1")).headers["request-id"] for _ in range(3)}
    assert log.calls == len(ids) == 3


async def test_pipelined_requests_are_answered_in_order(peer):
    await peer.say(b"".join(b"GET /plain/%d HTTP/1.1\r\nHost: x\r\n\r\n" % i for i in range(3)))
    answers = [await peer.answer() for _ in range(3)]
    assert [json.loads(answer.body)["path"] for answer in answers] == ["/plain/0", "/plain/1", "/plain/2"]


async def test_a_client_that_wants_to_close_is_let_go(peer):
    assert (await peer.ask("GET", "/plain/1", headers="Connection: close\r\n")).status == 200
    assert await peer.closed()


async def test_an_old_client_is_served(peer):
    await peer.say(b"GET /plain/1 HTTP/1.0\r\n\r\n")
    assert (await peer.answer()).status == 200
    assert await peer.closed()


@pytest.mark.parametrize("host", ["unix----F52HIZLS" + "A" * 200, "../..", "a b", ""])
async def test_the_host_does_not_matter(peer, host):
    await peer.say(f"GET /plain/1 HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert (await peer.answer()).status == 200


async def test_the_target_may_be_absolute(peer):
    assert json.loads((await peer.ask("GET", "http://any/plain/7?q=2")).body)["path"] == "/plain/7"


async def test_a_body_is_decoded(peer):
    answer = await peer.ask("POST", "/things", b'{"name":"n"}')
    assert (answer.status, answer.body) == (201, b'{"name":"n"}')
    assert answer.headers["location"] == "/things/1"


@pytest.mark.parametrize(
    "framing", ["Content-Length: 0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "\r\n"]
)
async def test_a_post_without_a_body_is_not_parsed(peer, framing):
    await peer.say(f"POST /post HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{framing}".encode())
    assert (await peer.answer()).status == 202
    assert (await peer.ask("GET", "/plain/1")).status == 200


async def test_a_problem_is_an_answer(peer):
    assert code(await peer.ask("GET", "/problem")) == (412, "PreconditionFailed")


async def test_a_defect_is_a_500_without_a_body_and_with_an_incident(peer, caplog):
    answer = await peer.ask("GET", "/defect")
    assert (answer.status, answer.body) == (500, b"")
    assert answer.headers["incident"] in caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert (await peer.ask("GET", "/plain/1")).status == 200


async def test_what_is_not_a_route(peer):
    assert code(await peer.ask("GET", "/nowhere")) == (400, "InvalidRoute")
    assert code(await peer.ask("DELETE", "/plain/1")) == (400, "InvalidRoute")
    assert code(await peer.ask("GET", "/versioned")) == (400, "ApiVersionUnspecified")
    answer = await peer.ask("GET", "/favicon.ico")
    assert (answer.status, answer.body) == (404, b"")


@pytest.mark.parametrize(
    "body", [b"", b"{", b"null", b'{"name":1}', b'{"name":"x","more":1}', b"\xff", b"[]"]
)
async def test_a_body_that_does_not_fit(peer, body):
    assert code(await peer.ask("POST", "/things", body)) == (400, "InvalidInput")
    assert (await peer.ask("GET", "/plain/1")).status == 200


# --- bodies that are too much, or too little --------------------------------------------------------------


async def test_an_announced_body_that_is_too_long(peer):
    answer = await peer.ask("POST", "/things", b"x" * 1001)
    assert code(answer) == (413, "PayloadTooLarge")
    assert (await peer.ask("GET", "/plain/1")).status == 200


async def test_a_chunked_body_that_is_too_long(peer):
    chunk = b"100\r\n" + b"x" * 256 + b"\r\n"
    head = b"POST /things HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    await peer.say(head + chunk * 5 + b"0\r\n\r\n")
    assert code(await peer.answer()) == (413, "PayloadTooLarge")


async def test_a_streamed_body(peer):
    assert (await peer.ask("PUT", "/upload", b"x" * 300_000)).body == b"300000"
    assert code(await peer.ask("PUT", "/upload", b"x" * 300_001)) == (413, "PayloadTooLarge")


async def test_a_refused_body_is_read_and_the_connection_kept(peer):
    assert (await peer.ask("PUT", "/refused", b"x" * 200_000)).status == 403
    assert (await peer.ask("GET", "/plain/1")).status == 200


async def test_a_cut_body(peer):
    await peer.say(b"POST /things HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    peer.sock.shutdown(socket.SHUT_WR)
    assert code(await peer.answer()) == (400, "BadRequest")
    assert await peer.closed()


async def test_leave_is_given_to_send_a_body(peer):
    head = b"PUT /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    await peer.say(head)
    assert await peer.receive() == b"HTTP/1.1 100 \r\n\r\n"
    await peer.say(b"12345")
    assert (await peer.answer()).body == b"5"


async def test_leave_is_not_given_for_a_refused_body(peer):
    answer = await peer.ask("PUT", "/refused", headers="Content-Length: 5\r\nExpect: 100-continue\r\n")
    assert (answer.status, answer.headers["connection"]) == (403, "close")


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\xff\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/3.0\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 70_000,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS\r\n\r\n",
    ],
)
async def test_garbage_is_a_400_and_the_end(peer, garbage):
    await peer.say(garbage)
    answer = await peer.answer()
    assert code(answer) == (400, "BadRequest")
    assert answer.headers["connection"] == "close"
    assert answer.headers["request-id"]
    assert await peer.closed()


async def test_garbage_behind_a_good_request(peer):
    await peer.say(b"GET /plain/1 HTTP/1.1\r\nHost: x\r\n\r\n\x00\x01garbage\r\n\r\n")
    assert (await peer.answer()).status == 200
    assert code(await peer.answer()) == (400, "BadRequest")
    assert await peer.closed()


# --- bodies ------------------------------------------------------------------------------------------------


async def test_a_body_that_is_said_to_be_none_is_refused(peer):
    answer = await peer.ask("POST", "/things", b'{"name":"n"}', headers="Content-Type: text/plain\r\n")
    assert code(answer) == (415, "UnsupportedMediaType")
    assert (await peer.ask("GET", "/plain/1", headers="Content-Type: text/plain\r\n")).status == 200


async def test_a_long_body_is_decoded_too(log):
    name = "n" * (connection.SHORT + 1)
    async with wire.serving(ROUTES, site_=wire.site(ROUTES, app=log)) as peer:
        answer = await peer.ask("POST", "/things", json.dumps({"name": name}).encode())
    assert (answer.status, json.loads(answer.body)) == (201, {"name": name})

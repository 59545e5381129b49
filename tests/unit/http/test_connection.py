"""Connections over real socket pairs: requests, descriptors, streams, and every way in which they end."""

import json
import os
import socket
import tempfile

import msgspec
import pytest
import trio

from tests.support import wire
from tyger import errors
from tygerd import config
from tygerd.http import connection, messages
from tygerd.http.router import Route
from tygerd.osutil import fds


class Thing(msgspec.Struct, forbid_unknown_fields=True):
    name: str


class Log:
    """What handlers saw, for the test to look at."""

    def __init__(self):
        self.ended_by = "not ended"
        self.ended = trio.Event()
        self.begun = trio.Event()
        self.calls = 0
        self.kept = []


async def plain(app: Log, request: messages.Request) -> messages.Response:
    app.calls += 1
    return messages.Response(
        body={"path": request.path, "uid": request.peer.uid, "q": request.query.get("q")}
    )


async def make(app: Log, request: messages.Request, body: Thing) -> messages.Response:
    return messages.Response(201, {"name": body.name}, [("Location", "/things/1")])


async def post(app: Log, request: messages.Request) -> messages.Response:
    return messages.Response(202)


async def problem(app: Log, request: messages.Request) -> messages.Response:
    raise errors.Problem(errors.PRECONDITION_FAILED, "ETag does not match")


async def defect(app: Log, request: messages.Request) -> messages.Response:
    raise ZeroDivisionError("oh")


async def take(app: Log, request: messages.Request) -> messages.Response:
    with os.fdopen(os.dup(request.fds[0].fileno()), "rb") as file:
        return messages.Response(body=file.read())


async def keep(app: Log, request: messages.Request) -> messages.Response:
    app.kept += request.take_fds()
    return messages.Response(204)


async def upload(app: Log, request: messages.Request) -> messages.Response:
    return messages.Response(body=sum([len(piece) async for piece in request.data]))


async def refuse_upload(app: Log, request: messages.Request) -> messages.Response:
    return messages.Response(403)


def file_of(data: bytes) -> fds.OwnedFd:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        return fds.OwnedFd(os.dup(file.fileno()))


BIG = bytes(range(256)) * 4096


async def blob(app: Log, request: messages.Request) -> messages.FileResponse:
    return messages.FileResponse(file_of(BIG), len(BIG) - 10, offset=5, headers=[("Content-MD5", "x")])


async def lying_blob(app: Log, request: messages.Request) -> messages.FileResponse:
    return messages.FileResponse(file_of(b"short"), 1000)


async def chunks(app: Log, request: messages.Request) -> messages.StreamResponse:
    async def run(sink: messages.Sink) -> None:
        with file_of(BIG) as file:
            await sink.send(b"one")
            await sink.send_file(file.fileno(), 1, 100)
            await sink.send_file(file.fileno(), 0, len(BIG))
        sink.trailer("Tyger-Error", "none\nat all")

    return messages.StreamResponse(run, 201, [("Trailer", "Tyger-Error")])


async def silent(app: Log, request: messages.Request) -> messages.StreamResponse:
    async def run(sink: messages.Sink) -> None:
        app.begun.set()
        try:
            await sink.send(b"hello")
            await trio.sleep_forever()
        finally:
            app.ended_by = sink.ended_by
            app.ended.set()

    return messages.StreamResponse(run)


async def gushing(app: Log, request: messages.Request) -> messages.StreamResponse:
    async def run(sink: messages.Sink) -> None:
        try:
            with file_of(BIG) as file:
                while True:
                    await sink.send_file(file.fileno(), 0, len(BIG))
        finally:
            app.ended_by = sink.ended_by
            app.ended.set()

    return messages.StreamResponse(run)


def failing(error, announce):
    async def handler(app: Log, request: messages.Request) -> messages.StreamResponse:
        async def run(sink: messages.Sink) -> None:
            await sink.send(b"some")
            raise error

        return messages.StreamResponse(run, headers=[("Trailer", "Tyger-Error")] if announce else [])

    return handler


ROUTES = [
    Route("GET", "/plain/{id}", plain, "x", versioned=False),
    Route("GET", "/versioned", plain, "x"),
    Route("POST", "/things", make, "x", body=Thing, versioned=False),
    Route("POST", "/post", post, "x", versioned=False),
    Route("GET", "/problem", problem, "x", versioned=False),
    Route("GET", "/defect", defect, "x", versioned=False),
    Route("POST", "/take", take, "x", fds=1, versioned=False),
    Route("POST", "/keep", keep, "x", fds=2, versioned=False),
    Route("PUT", "/upload", upload, "x", streams_body=True, versioned=False),
    Route("PUT", "/refused", refuse_upload, "x", streams_body=True, versioned=False),
    Route("GET", "/blob", blob, "x", versioned=False),
    Route("HEAD", "/blob", blob, "x", versioned=False),
    Route("GET", "/lying", lying_blob, "x", versioned=False),
    Route("GET", "/chunks", chunks, "x", versioned=False),
    Route("GET", "/silent", silent, "x", versioned=False),
    Route("GET", "/gushing", gushing, "x", versioned=False),
    Route("GET", "/fails", failing(errors.Problem(errors.CORRUPT, "bad block"), True), "x", versioned=False),
    Route("GET", "/fails/quietly", failing(errors.Problem(errors.CORRUPT, "x"), False), "x", versioned=False),
    Route("GET", "/fails/badly", failing(ZeroDivisionError(), True), "x", versioned=False),
]
LIMITS = config.Limits(body_size=config.Size(1000), block_body_size=config.Size(300_000), fds_per_uid=4)


@pytest.fixture
def log():
    return Log()


@pytest.fixture
async def peer(log):
    before = open_fds()
    async with wire.serving(ROUTES, site_=wire.site(ROUTES, LIMITS, log)) as it:
        yield it
    assert open_fds() == before


def open_fds():
    return len(os.listdir("/proc/self/fd"))


def code(answer):
    return answer.status, json.loads(answer.body)["error"]["code"]


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


# --- descriptors -------------------------------------------------------------------------------------------


@pytest.fixture
def pipes():
    ends = [*os.pipe(), *os.pipe()]
    yield ends
    for end in ends:
        os.close(end)


async def test_a_descriptor_comes_along_and_is_closed_afterwards(peer):
    reading, writing = os.pipe()
    os.write(writing, b"through the pipe")
    os.close(writing)
    answer = await peer.ask("POST", "/take", b"{}", fds=[reading])
    os.close(reading)
    assert (answer.status, answer.body) == (200, b"through the pipe")


async def test_descriptors_come_in_order_and_can_be_kept(peer, log, pipes):
    answer = await peer.ask("POST", "/keep", b"", fds=[pipes[0], pipes[2]])
    assert answer.status == 204
    assert [os.fstat(fd.fileno()).st_ino for fd in log.kept] == [os.fstat(pipes[i]).st_ino for i in (0, 2)]
    assert not any(os.get_inheritable(fd.fileno()) for fd in log.kept)
    assert all(os.get_blocking(fd.fileno()) for fd in log.kept)
    for fd in log.kept:
        fd.close()
    # Their places in the quota are free again.
    assert (await peer.ask("POST", "/keep", b"", fds=[pipes[0], pipes[2]])).status == 204
    for fd in log.kept[2:]:
        fd.close()


@pytest.mark.parametrize(
    ("said", "sent"), [("0", 1), ("1", 0), ("2", 1), ("1", 2), ("x", 1), ("-1", 0), ("", 1), ("٣", 3)]
)
async def test_a_wrong_number_of_descriptors(peer, pipes, said, sent):
    head = f"POST /take HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nTyger-Fds: {said}\r\n\r\n"
    await peer.say(head.encode(), pipes[:sent])
    assert code(await peer.answer()) == (400, "BadRequest")
    assert await peer.closed()


async def test_a_route_that_takes_no_descriptors(peer, pipes):
    assert code(await peer.ask("POST", "/post", b"", fds=pipes[:1])) == (400, "BadRequest")
    assert await peer.closed()


async def test_descriptors_nobody_announced(peer, pipes):
    await peer.say(b"GET /plain/1 HTTP/1.1\r\nHost: x\r\n\r\n", pipes[:1])
    assert code(await peer.answer()) == (400, "BadRequest")


async def test_a_request_behind_one_with_descriptors(peer, pipes):
    head = b"POST /take HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nTyger-Fds: 1\r\n\r\n"
    await peer.say(head + b"GET /plain/1 HTTP/1.1\r\nHost: x\r\n\r\n", pipes[:1])
    assert code(await peer.answer()) == (400, "BadRequest")
    assert await peer.closed()


async def test_more_descriptors_than_a_message_may_bring(peer, pipes):
    await peer.say(b"POST /take HTTP/1.1\r\n", pipes[:1] * 17)
    answer = await peer.answer()
    assert code(answer) == (400, "BadRequest")
    assert await peer.closed()


async def test_more_descriptors_than_a_user_may_hold(peer, pipes):
    answer = await peer.ask("POST", "/take", b"", fds=pipes[:1] * 5)
    assert code(answer) == (503, "TryAgain")
    assert answer.headers["retry-after"] == "1"


async def test_descriptors_that_come_with_garbage_are_closed(peer, pipes):
    await peer.say(b"\x00\r\n\r\n", pipes)
    assert code(await peer.answer()) == (400, "BadRequest")


async def test_descriptors_of_a_request_that_never_ends_are_closed(peer, pipes):
    await peer.say(b"POST /take HTTP/1.1\r\nHost: x\r\n", pipes)


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

"""One exchange: requests as they go out, answers in every framing, what is retried and what is not."""

import os
import threading

import pytest

from tests.support import fakedaemon, scripted
from tyger import client, errors, sockets


def test_a_request_as_it_goes_out():
    with scripted.Peer(scripted.replying(scripted.answer(200, b'{"a":1}', b"X-Name: value"))) as peer:
        answer = client.Client(peer.path).request(
            "POST", "/a b/c", query=[("tag[x]", "1 2")], body={"k": "ü"}, headers={"Idempotency-Key": "z"}
        )
    assert (answer.status, answer.json(), answer.headers["x-name"]) == (200, {"a": 1}, "value")
    head = peer.requests[0].head.split(b"\r\n")
    assert head[0] == b"POST /a%20b/c?api-version=1.0&tag%5Bx%5D=1+2 HTTP/1.1"
    assert {
        b"Host: tyger",
        b"Connection: close",
        b"Content-Type: application/json",
        b"Idempotency-Key: z",
    } <= set(head)
    assert b"Content-Length: %d" % len(peer.requests[0].body) in head
    assert peer.requests[0].body == b'{"k":"\\u00fc"}'


def test_a_post_without_a_body_says_so():
    with scripted.Peer(scripted.replying(scripted.answer(202))) as peer:
        assert client.Client(peer.path).request("POST", "/runs/1/cancel").json() is None
    assert b"Content-Length: 0" in peer.requests[0].head


def test_descriptors_ride_along():
    reader, writer = os.pipe()
    os.write(writer, b"through")

    def script(connection):
        connection.read_request()
        assert b"Tyger-Fds: 1" in connection.head
        connection.say(scripted.answer(200, os.read(connection.fds[0], 100)))

    with scripted.Peer(script) as peer:
        assert client.Client(peer.path).request("POST", "/t", body={}, fds=[reader]).body == b"through"
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("size", [1, 3, 10**6])
def test_every_framing_whole_or_in_pieces(size):
    bodies = {
        b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\none\ntwo\nsix": b"one\ntwo\nsix",
        scripted.CHUNKED + b"4\r\none\n\r\n7\r\ntwo\nsix\r\n0\r\nTyger-Error: x\r\n\r\n": b"one\ntwo\nsix",
        b"HTTP/1.1 200 OK\r\n\r\none\ntwo\nsix": b"one\ntwo\nsix",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n": b"",
    }
    for raw, body in bodies.items():

        def script(connection, raw=raw):
            connection.read_request()
            connection.say(*(raw[n : n + size] for n in range(0, len(raw), size)))

        with scripted.Peer(script, script) as peer:
            asking = client.Client(peer.path)
            assert asking.request("GET", "/x").body == body
            with asking.stream("GET", "/x") as stream:
                assert list(stream.lines()) == (body.split(b"\n") if body else [])
                assert stream.trailers.get("tyger-error") == ("x" if b"Tyger-Error" in raw else None)


def test_the_daemons_problem_is_raised():
    body = b'{"error":{"code":"NotFound","message":"The resource was not found"}}'
    with (
        scripted.Peer(scripted.replying(scripted.answer(404, body))) as peer,
        pytest.raises(errors.Problem, match="The resource was not found") as caught,
    ):
        client.Client(peer.path).request("GET", "/buffers/x")
    assert caught.value.kind is errors.NOT_FOUND


def test_an_error_without_a_body():
    with (
        scripted.Peer(scripted.replying(scripted.answer(500))) as peer,
        pytest.raises(errors.Problem, match="unexpected status code 500") as caught,
    ):
        client.Client(peer.path).request("GET", "/x")
    assert caught.value.status == 500


def test_a_reset_before_the_answer_is_tried_again():
    with scripted.Peer(
        scripted.hanging_up, scripted.hanging_up, scripted.replying(scripted.answer(200))
    ) as peer:
        assert client.Client(peer.path).request("POST", "/x", body={}).status == 200
    assert len(peer.requests) == 3


def test_a_cut_answer_is_not_tried_again():
    with (
        scripted.Peer(scripted.replying(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")) as peer,
        pytest.raises(sockets.Disconnected),
    ):
        client.Client(peer.path).request("GET", "/x")


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        scripted.CHUNKED + b"zz\r\n",
        scripted.CHUNKED + b"1\r\nab\r\n",
    ],
)
def test_what_is_not_http_is_one_clear_problem(raw):
    with scripted.Peer(scripted.replying(raw)) as peer, pytest.raises(errors.Problem) as caught:
        client.Client(peer.path).request("GET", "/x")
    assert caught.value.kind is errors.PROTOCOL


def test_a_plain_get_takes_any_status():
    with scripted.Peer(scripted.replying(scripted.answer(503, b"no"))) as peer:
        answer = client.fetch(peer.path, "/metadata")
    assert (answer.status, answer.body) == (503, b"no")
    assert peer.requests[0].head.split(b"\r\n")[0] == b"GET /metadata HTTP/1.1"
    assert b"Content-Type" not in peer.requests[0].head


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"SSH-2.0\r\n\r\n", "the answer is not HTTP"),
        (b"x" * (sockets.LONGEST_LINE + 9), "a line without an end"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (client.FETCH_LIMIT + 1), "longer than 1 MiB"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 20000, "headers are too long"),
    ],
)
def test_a_plain_get_to_somebody_else(raw, why):
    with scripted.Peer(scripted.replying(raw)) as peer, pytest.raises(errors.Problem, match=why) as caught:
        client.fetch(peer.path, "/metadata")
    assert caught.value.kind is errors.PROTOCOL


def test_a_plain_get_does_not_wait_for_ever():
    def silent(connection):
        connection.read_request()
        connection.wait_closed()

    with (
        scripted.Peer(silent) as peer,
        pytest.raises(errors.Problem, match="has not answered within") as caught,
    ):
        client.fetch(peer.path, "/metadata", patience=0.05)
    assert caught.value.kind is errors.UNAVAILABLE


def test_nobody_answers(tmp_path):
    with pytest.raises(sockets.Disconnected, match="No such file or directory"):
        client.Client("/nowhere/tyger.sock").request("GET", "/x")


def test_somebody_is_started_when_nobody_answers():
    peers = []

    def ensure():
        peers.append(scripted.Peer(scripted.replying(scripted.answer(200))))
        asking.socket_path = peers[0].path

    asking = client.Client("/nowhere/tyger.sock", ensure=ensure)
    assert asking.request("GET", "/x").status == 200
    with peers[0]:
        pass


def test_a_socket_path_that_is_too_long():
    with pytest.raises(errors.Problem, match="longer than 107 bytes") as caught:
        client.Client("/" + "x" * 120).request("GET", "/x")
    assert caught.value.kind is errors.CONFIG


def test_waiting_ends_when_woken():
    reader, writer = os.pipe()
    os.write(writer, b"!")
    with (
        scripted.Peer(lambda connection: connection.read_request().wait_closed()) as peer,
        pytest.raises(sockets.Interrupted),
    ):
        client.Client(peer.path).stream("GET", "/x", wake=reader)
    os.close(reader)
    os.close(writer)


def test_the_daemons_version_is_remembered():
    with scripted.Peer(scripted.replying(scripted.answer(200, b"", b"Tyger-Version: 9.9"))) as peer:
        asking = client.Client(peer.path)
        asking.request("GET", "/x")
    assert asking.server_version == "9.9"


@pytest.mark.parametrize("slow", [False, True])
def test_what_is_made_ready_while_the_daemon_works(slow):
    made = threading.Event()

    def answer(_request):
        if slow:
            assert made.wait(60)
        return 200, {"a": 1}, {}

    with fakedaemon.FakeDaemon() as daemon:
        daemon.answers["GET", "/x"] = answer
        found = client.Client(daemon.path).request("GET", "/x", meanwhile=made.set)
    assert found.json() == {"a": 1}
    assert made.is_set() or not slow

"""What is no request of ours, on the real socket: each gets its answer or the end, and others get theirs."""

import json
import os
import random

import pytest

from tests.support.commands import complaint
from tests.support.rawhttp import error, request, say, status


@pytest.fixture(autouse=True)
def _still_there(host, commands):
    """Whatever was said, the daemon serves the next one, and nothing of it was a defect."""
    yield
    assert commands.run("status").returncode == 0
    assert '"level": "error"' not in host.log
    assert '"level": "critical"' not in host.log


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{nope", "JSON is malformed"),
        (b"\xff\xfe", "Error deserializing input"),
        (b"[]", "Expected `object`, got `array`"),
        (b'{"tags":5}', "Path: $.tags"),
        (b'{"tagz":{}}', "unrecognized properties 'tagz'"),
        (b'{"tags":{"a":"\\ud800"}}', "Error deserializing input"),
        (b"[" * 100_000, "Error deserializing input"),
        (b'{"expiresAt":"9999-12-31T23:59:59-23:59"}', "Path: $.expiresAt"),
    ],
)
def test_bodies_that_are_no_buffer(host, body, said):
    heard = say(host, request("POST", "/buffers", body))
    assert status(heard) == 400
    assert said in error(heard)["message"]


def test_bodies_that_are_too_long_or_too_short(host):
    long = b" " * 20_000_000
    assert status(say(host, request("POST", "/buffers", long))) == 413
    announced = request("POST", "/buffers").replace(b"Content-Length: 0", b"Content-Length: 99999999999")
    assert status(say(host, announced, end=False)) == 413
    cut = say(host, request("POST", "/buffers", b'{"tags":{}}')[:-3])
    assert (status(cut), error(cut)["code"]) == (400, "BadRequest")


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + bytes(100),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /metadata HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 200_000 + b"\r\n",
        request("POST", "/buffers").replace(b"Content-Length: 0", b"Content-Length: -5"),
        request("POST", "/buffers").replace(b"Content-Length: 0", b"Content-Length: 2\r\nContent-Length: 3"),
        random.Random(1).randbytes(100_000),
    ],
    ids=["tls", "http2", "line", "headers", "negative", "lengths", "noise"],
)
def test_what_is_not_http(host, data):
    heard = say(host, data, end=False)
    assert (status(heard), error(heard)["code"]) == (400, "BadRequest")


def test_garbage_behind_a_good_request(host):
    good = request("GET", "/metadata").replace(b"Connection: close\r\n", b"")
    heard = say(host, good + good + b"\x00\xff garbage\r\n\r\n")
    assert [part[:3] for part in heard.split(b"HTTP/1.1 ")[1:]] == [b"200", b"200", b"400"]


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/runs/99999999999999999999999999", 404),
        ("/runs/9223372036854775808", 404),
        ("/runs/-1", 404),
        ("/runs/%D9%A3", 404),
        ("/buffers/%00", 404),
        ("/buffers/%2e%2e%2f%2e%2e%2fetc", 404),
        ("/transfers/read/%2e%2e", 404),
        ("/containers/%2e%2e/%2e%2e%2fcatalog.sqlite3", 403),
        ("/codespecs/x/versions/99999999999999999999", 404),
        ("/buffers?limit=99999999999999999999", 400),
        ("/buffers?limit=-1", 400),
        ("/runs?_ct=WzFd", 400),
        ("/runs?since=9999-12-31T23:59:59-23:59", 400),
        ("/runs/1/logs?tailLines=999999999999999999999", 400),
        ("/nowhere", 400),
    ],
)
def test_numbers_and_paths_that_are_none(host, path, code):
    assert status(say(host, request("GET", path))) == code


def test_requests_for_a_transfer_that_leave_the_buffer_unwritten(host, commands):
    buffer = commands.buffer()
    reader, writer = os.pipe()
    file = os.open(os.devnull, os.O_RDONLY)
    one = "Tyger-Fds: 1\r\n"
    for given, headers, fds, said in (
        ({}, "", [], "takes 1 descriptors, not 0"),
        ({}, one, [], "descriptor"),
        ({}, one, [reader, reader], "descriptor"),
        ({}, one, [file], "not a pipe"),
        ({}, one, [writer], "the write end of its pipe"),
        ({"blockSize": 0}, one, [reader], "blockSize"),
        ({"blockSize": 10**30}, one, [reader], "blockSize"),
        ({"flushInterval": -1}, one, [reader], "flushInterval"),
        ({"run": 2**63}, one, [reader], "run must be"),
        ({"id": "../x"}, one, [reader], "32 hexadecimal digits"),
    ):
        body = json.dumps({"buffer": buffer, **given}).encode()
        heard = say(host, request("POST", "/transfers", body, headers), fds=fds)
        assert status(heard) == 400
        assert said in error(heard)["message"]
    for fd in (reader, writer, file):
        os.close(fd)
    assert commands.run("buffer", "write", buffer, data=b"now").returncode == 0
    assert commands.run("buffer", "read", buffer).stdout == b"now"


def test_a_lifetime_past_the_end_of_the_calendar(commands):
    commands.run("codespec", "create", "life", "--image", "host", "--output", "out", "--", "true")
    done = commands.run("run", "create", "-c", "life", "--buffer-ttl", "9999999.00:00")
    assert done.returncode == 65
    assert "bufferTtl 9999999.00:00:00 is out of the calendar" in complaint(done)

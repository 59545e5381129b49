"""Bodies that are no good, over raw HTTP: each gets a 4xx in the usual form, costs nobody else anything, and
leaves neither memory nor a word in the log behind."""

import json

import pytest

from tests.support.rawhttp import error, request, say, status

pytestmark = pytest.mark.usefixtures("unharmed")

BUFFER = "a" * 26
WITH_BODY = [
    ("POST", "/buffers"),
    ("PUT", f"/buffers/{BUFFER}"),
    ("PUT", "/codespecs/x"),
    ("POST", "/runs"),
    ("PUT", "/runs/1"),
    ("POST", "/transfers/read"),
    ("POST", f"/transfers/{BUFFER}/outcome"),
    ("POST", f"/transfers/{BUFFER}/access"),
]
MIB = 1024 * 1024
LONG = {
    "lists": b"[" + b"[]," * 340_000 + b"[]]",
    "objects": b"[" + b"{}," * 340_000 + b"{}]",
    "names": b"{" + b",".join(b'"%d":1' % i for i in range(90_000)) + b"}",
    "one name": b'{"' + b"a" * (MIB - 20) + b'":1}',
    "deep lists": b"[" * (MIB - 1),
    "deep objects": b'{"a":' * 200_000,
    "open text": b'{"tags":{"a":"' + b'\\"' * 500_000,
    "commas": b"[1,]" + b", " * 500_000,
    "digits": b"1" * (MIB - 1),
    "blanks": b" " * (MIB - 1),
}


@pytest.mark.parametrize(("method", "path"), WITH_BODY)
@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"null", b"[]", b'"x"', b"1", b"{", b'{"tags"', b'{"tags":{"a":"b"}', b"{}{}", b"{]",
        b"NaN", b"{'tags':{}}", b"{/**/}", b"\xff", b'{"\xc0\xaf":1}', b'{"tags":"\xed\xa0\x80"}',
        '{"tags":{}}'.encode("utf-16"), b'{"tags":null,"tags":null}', b'{"a":1e999}', b"1" * 5000,
        b"[" * 5000, b"\x00",
    ],
    ids=lambda body: ascii(body[:12].decode("latin-1")),
)  # fmt: skip
def test_what_is_no_body(host, method, path, body):
    heard = say(host, request(method, path, body))
    assert status(heard) == 400
    assert error(heard)["code"] == "InvalidInput"
    assert len(error(heard)["message"]) < 300


@pytest.mark.parametrize("body", LONG.values(), ids=LONG)
def test_what_is_long_and_no_body(host, body):
    assert len(body) <= MIB
    for method, path in (WITH_BODY[0], WITH_BODY[2], WITH_BODY[3]):
        heard = say(host, request(method, path, body))
        assert (status(heard), error(heard)["code"]) == (400, "InvalidInput")
        assert len(heard) < 5000


@pytest.mark.parametrize(("method", "path"), WITH_BODY)
def test_what_is_too_long(host, method, path):
    heard = say(host, request(method, path, b" " * (MIB + 1)))
    assert (status(heard), error(heard)["code"]) == (413, "PayloadTooLarge")


def test_routes_without_a_body_take_none_that_is_long(host):
    for method, path in [("GET", "/metadata"), ("POST", "/runs/1/cancel"), ("DELETE", f"/buffers/{BUFFER}")]:
        assert status(say(host, request(method, path, b"x" * (MIB + 1)))) == 413


@pytest.mark.parametrize(("method", "path"), WITH_BODY)
@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "a" * 60_000],
)
def test_what_is_said_to_be_something_else(host, method, path, kind):
    heard = say(host, request(method, path, b"{}", f"Content-Type: {kind}\r\n"))
    assert (status(heard), error(heard)["code"]) == (415, "UnsupportedMediaType")
    assert len(heard) < 1000


@pytest.mark.parametrize("twin", ['"tags":{"a":"2"}', '"Tags":{"a":"2"}', '"\\u0074ags":{"a":"2"}'])
def test_of_two_values_none_counts(host, twin):
    heard = say(host, request("POST", "/buffers", f'{{"tags":{{"a":"1"}},{twin}}}'.encode()))
    assert status(heard) == 400
    assert error(heard)["message"].lower().endswith("the property 'tags' is given twice")
    assert say(host, request("GET", "/buffers/count")).endswith(b"\r\n\r\n0")


def run(**more):
    return {"job": {"codespec": {"kind": "job", "image": "host", "command": ["true"]}}, **more}


def job(**more):
    return {"job": {"codespec": "x", **more}}


def inline(**more):
    return {"job": {"codespec": {"kind": "job", "image": "host", "command": ["true"], **more}}}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (run(timeoutSeconds=2**31), "Path: $.timeoutSeconds"),
        (run(timeoutSeconds=-(2**31) - 1), "Path: $.timeoutSeconds"),
        (run(timeoutSeconds=10**30), "Path: $.timeoutSeconds"),
        (run(timeoutSeconds="99999999999"), "Path: $.timeoutSeconds"),
        (run(timeoutSeconds=1.5), "Path: $.timeoutSeconds"),
        (run(id=2**63), "Path: $.id"),
        (run(bufferAccessTtl="99999999999.00:00"), "Path: $.bufferAccessTtl"),
        (job(replicas=2**31), "Path: $.job.replicas"),
        (job(bufferTtl="x"), "Path: $.job.bufferTtl"),
        (job(codespec="x/versions/99999999999999999999"), "is not a valid integer"),
        (job(buffers={"x": "\0"}), "was not found"),
        (inline(version=2**31), "Path: $.job.codespec.version"),
        (inline(maxReplicas=2**31), "Path: $.job.codespec.maxReplicas"),
        (inline(sockets=[{"port": 2**40}]), "Path: $.job.codespec.sockets[0].port"),
        (inline(resources={"gpu": 1e308}), "too large a quantity"),
        (inline(resources={"gpu": "1e999999999"}), "too large a quantity"),
        (inline(command=["tr\0ue"]), "null byte"),
        (inline(env={"A": "\0"}), "null byte"),
        (inline(workingDir="\0"), "null byte"),
        (run(tags={"\0": ""}), "Tag keys must"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_values_beyond_their_range(host, body, said):
    heard = say(host, request("POST", "/runs", json.dumps(body).encode()))
    assert (status(heard), error(heard)["code"]) == (400, "InvalidInput")
    assert said in error(heard)["message"]


HEAD = b"POST /buffers?api-version=1.0 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "data",
    [
        HEAD + b"Content-Length: 5\r\n\r\n{}",
        HEAD + b"Content-Length: 5x\r\n\r\n{}",
        HEAD + b"Content-Length: +2\r\n\r\n{}",
        HEAD + b"Content-Length: \r\n\r\n{}",
        HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n{}",
        HEAD + b"Transfer-Encoding: gzip\r\n\r\n{}",
        HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        CHUNKED + b"zz\r\n{}\r\n",
        CHUNKED + b"-1\r\n{}\r\n",
        CHUNKED + b"f" * 100 + b"\r\n{}\r\n",
        CHUNKED + b"ffffffffffffffff\r\n{}\r\n",
        CHUNKED + b"5\r\n{}",
        CHUNKED + b"2\r\n{}\r\n",
        CHUNKED + b"2\r\n{}xx0\r\n\r\n",
    ],
    ids=range(14),
)
def test_bodies_that_are_badly_framed(host, data):
    heard = say(host, data)
    assert (status(heard), error(heard)["code"]) == (400, "BadRequest")


def test_a_body_in_chunks_of_one_byte_is_bounded_too(host):
    heard = say(host, CHUNKED + b"1\r\n \r\n" * 20_000 + b"2\r\n{]\r\n0\r\n\r\n")
    assert (status(heard), error(heard)["code"]) == (400, "InvalidInput")
    heard = say(host, CHUNKED + b"10000\r\n" + (b" " * 65536 + b"\r\n10000\r\n") * 40)
    assert status(heard) == 413


def memory(host):
    """The daemon's, in KiB."""
    with open(f"/proc/{host.pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))


def test_no_memory_is_left_behind(host):
    def refuse(body, times):
        for _ in range(times):
            assert status(say(host, request("POST", "/buffers", body))) in (400, 413)
        return memory(host)

    for body in (LONG["lists"], LONG["deep lists"], b" " * (3 * MIB)):
        refuse(body, 2)
    # What one needs is kept for the next one, and does not add up.
    needed = refuse(LONG["names"], 4)
    assert refuse(LONG["names"], 16) - needed < 25 * 1024

"""What the proxy passes on and what it does not, as raw HTTP against a scripted server."""

import contextlib
import json

import pytest

from tests.support import scripted, wire
from tyger import addresses
from tyger.cli import output
from tyger_proxy import dataplane, logs, operations

REFUSED = b'{"error":{"code":"Unauthorized","message":"The operation cannot be proxied."}}'
VERSION = "api-version=1.0"


@contextlib.asynccontextmanager
async def proxied(*scripts, table=operations.EVERYBODY, here=True, **more):
    """A connection to a proxy before a server that plays `scripts`: (client, server)."""
    with scripted.Peer(*scripts) as peer:
        proxy = operations.Proxy(
            address=addresses.of_socket(peer.path),
            here=dataplane.Endpoint(peer.path, "/") if here else None,
            log=logs.Log(output.Console({})),
            authority="localhost:1",
            **more,
        )
        site = wire.site([], app=proxy)
        site.router = table
        async with wire.serving([], site_=site) as client:
            yield client, peer


def json_answer(value, status=200, *headers):
    return scripted.answer(
        status,
        json.dumps(value).encode(),
        *(header.encode() for header in headers),
        b"Content-Type: application/json",
    )


def first_line(peer, number=0):
    return peer.requests[number].head.split(b"\r\n")[0].decode()


def fields(peer):
    return {line.partition(b":")[0].lower() for line in peer.requests[0].head.split(b"\r\n")[1:]}


@pytest.mark.parametrize(
    ("target", "passed"),
    [
        (f"/runs/7?{VERSION}", f"/runs/7?{VERSION}"),
        (f"/runs/7?{VERSION}&watch=true", f"/runs/7?{VERSION}&watch=true"),
        ("/v1/runs/7", f"/runs/7?{VERSION}"),
        (
            f"/runs/7/logs?{VERSION}&follow=true&since=2026-01-01T00%3A00%3A00Z+",
            f"/runs/7/logs?{VERSION}&follow=true&since=2026-01-01T00%3A00%3A00Z+",
        ),
        ("/runs/7", "/runs/7"),
    ],
)
async def test_runs(target, passed):
    async with proxied(scripted.replying(json_answer({"id": 7}, 200, "Request-Id: theirs", "ETag: 5"))) as (
        client,
        peer,
    ):
        answer = await client.ask(
            "GET",
            target,
            headers="Accept-Encoding: gzip\r\nAuthorization: Bearer x\r\nX-A: b\r\nCookie: c\r\n",
        )
        assert (answer.status, answer.body) == (200, b'{"id": 7}')
        assert (answer.headers["etag"], answer.headers["request-id"]) == ("5", "test:00000001")
        assert first_line(peer) == f"GET {passed} HTTP/1.1"
        assert fields(peer) >= {b"x-a", b"accept-encoding"}
        assert not fields(peer) & {b"authorization", b"cookie"}


async def test_errors_pass_as_they_are():
    problem = {"error": {"code": "UnsupportedApiVersion", "message": "x", "apiVersions": ["1.0"]}}
    async with proxied(scripted.replying(json_answer(problem, 400))) as (client, _):
        answer = await client.ask("GET", "/runs/7?api-version=7")
        assert (answer.status, json.loads(answer.body)) == (400, problem)


async def test_a_stream_passes_as_it_comes():
    def script(connection):
        connection.read_request()
        connection.say(scripted.CHUNKED)
        connection.chunk(b'{"id":7}\n')
        connection.wait_closed()  # the client leaves, and so do we

    async with proxied(script) as (client, _):
        await client.say(b"GET /runs/7?watch=true HTTP/1.1\r\nHost: x\r\n\r\n")
        data = b""
        while b'{"id":7}\n' not in data:
            data += await client.receive()
        client.sock.close()


async def test_a_stream_that_is_cut_is_cut():
    raw = scripted.CHUNKED + b"3\r\nabc\r\n"
    async with proxied(scripted.replying(raw)) as (client, _):
        answer = await client.ask("GET", "/runs/7/logs")
        assert (answer.status, answer.body, answer.complete) == (200, b"abc", False)


@pytest.mark.parametrize(
    ("host", "authority"),
    [
        ("proxy.example:6888", "proxy.example:6888"),
        ("10.0.0.1", "10.0.0.1"),
        ("[::1]:6888", "[::1]:6888"),
        ("a b", "localhost:1"),
        ("evil/path?", "localhost:1"),
    ],
)
@pytest.mark.parametrize(
    "framing", ["Content-Length: 0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"]
)
async def test_access(host, authority, framing):
    async with proxied(
        scripted.replying(json_answer({"uri": "http+unix:///s:/containers/a?sig=b%2B"}, 201))
    ) as (client, peer):
        head = f"POST /buffers/abc/access?{VERSION}&writeable=false HTTP/1.1\r\nHost: {host}\r\n{framing}"
        await client.say(head.encode())
        answer = await client.answer("POST")
        assert answer.status == 201
        original = "http%2Bunix%3A%2F%2F%2Fs%3A%2Fcontainers%2Fa%3Fsig%3Db%252B"
        assert json.loads(answer.body) == {"uri": f"http://{authority}/dataplane?original={original}"}
        assert first_line(peer) == f"POST /buffers/abc/access?{VERSION}&writeable=false HTTP/1.1"
        assert b"Content-Length: 0" in peer.requests[0].head


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (json_answer({"uri": "https://a.blob.core.windows.net/x?sig=y"}, 201), 201),
        (json_answer({"uri": "temporary"}, 201), 201),
        (json_answer({"error": {"code": "NotFound"}}, 404), 404),
        (scripted.answer(201, b""), 201),
        (scripted.answer(201, b"x"), 201),
    ],
)
async def test_access_to_what_is_elsewhere(answer, status):
    async with proxied(scripted.replying(answer)) as (client, _):
        got = await client.ask("POST", f"/buffers/abc/access?{VERSION}", b"")
        assert got.status == status
        body = answer.partition(b"\r\n\r\n")[2]
        assert got.body == body or json.loads(got.body) == json.loads(body)


async def test_metadata():
    told = {
        "rbacEnabled": True,
        **dict.fromkeys(("authority", "audience", "apiAppUri", "apiAppId", "cliAppUri", "cliAppId"), "x"),
        "capabilities": ["LocalBuffers"],
        "new": 7,
    }
    async with proxied(
        scripted.replying(json_answer(told)), published={"serverUrl": "u", "logPath": "/l"}
    ) as (client, peer):
        answer = await client.ask("GET", "/metadata")
        assert json.loads(answer.body) == {
            "capabilities": ["LocalBuffers"],
            "new": 7,
            "serverUrl": "u",
            "logPath": "/l",
        }
        assert first_line(peer) == "GET /metadata HTTP/1.1"


# --- the data plane -----------------------------------------------------------------------------------------


def through(peer, name="", more=""):
    uri = f"http+unix://{peer.path}:/containers/abc?sig=a%2Bb"
    path, _, query = dataplane.through(uri, "h").removeprefix("http://h").partition("?")
    return f"{path}{name}?{query}{more}"


async def test_a_block_is_written():
    async with proxied(scripted.replying(scripted.answer(201))) as (client, peer):
        await client.say(
            f"PUT {through(peer, '/01/FFF', '&timeout=3')} HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
            "Expect: 100-continue\r\nX-Ms-Blob-Type: BlockBlob\r\n\r\n".encode()
        )
        assert (await client.receive()).startswith(b"HTTP/1.1 100 ")
        await client.say(b"abcd")
        answer = await client.answer("PUT")
        assert answer.status == 201
        assert first_line(peer) == "PUT /containers/abc/01/FFF?sig=a%2Bb HTTP/1.1"
        assert peer.requests[0].body == b"abcd"
        assert b"x-ms-blob-type" in fields(peer)
        assert b"expect" not in fields(peer)


async def test_a_block_in_chunks():
    bodies = []

    def script(connection):
        connection.read_request()
        while not connection.body.endswith(b"0\r\n\r\n"):
            connection.body += connection.sock.recv(100)
        bodies.append(connection.body)
        connection.say(scripted.answer(201))

    async with proxied(script) as (client, peer):
        head = f"PUT {through(peer, '/0')} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        await client.say(head.encode() + b"3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n")
        assert (await client.answer("PUT")).status == 201
    assert bodies[0].replace(b"\r\n", b"").translate(None, b"0123456789") == b"abcd"


async def test_a_block_is_read():
    headers = ("Content-MD5: x", "x-ms-meta-a: b")
    answer = scripted.answer(200, b"data", *(header.encode() for header in headers))
    async with proxied(
        scripted.replying(answer), scripted.replying(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
    ) as (client, peer):
        got = await client.ask("GET", through(peer, "/0"))
        assert (got.status, got.body, got.headers["content-md5"]) == (200, b"data", "x")
        assert got.headers["x-ms-meta-a"] == "b"
        got = await client.ask("HEAD", through(peer, "/0"))
        assert (got.status, got.body, got.headers["content-length"]) == (200, b"", "9")
        assert first_line(peer, 1) == "HEAD /containers/abc/0?sig=a%2Bb HTTP/1.1"


async def test_a_container():
    async with proxied(scripted.replying(scripted.answer(201))) as (client, peer):
        assert (await client.ask("PUT", through(peer), b"")).status == 201
        assert first_line(peer) == "PUT /containers/abc?sig=a%2Bb HTTP/1.1"


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/dataplane", 400),
        ("/dataplane/0?original=", 400),
        ("/dataplane/0?original=http://169.254.169.254/", 400),
        ("/dataplane/0?original=http%2Bunix%3A%2F%2F%2Fvar%2Frun%2Fdocker.sock%3A%2Fcontainers%2Fabc", 403),
    ],
)
async def test_the_data_plane_leads_nowhere_else(target, status):
    async with proxied() as (client, peer):
        assert (await client.ask("GET", target)).status == status
        assert not peer.requests


async def test_a_server_without_a_local_data_plane():
    async with proxied(here=False) as (client, peer):
        answer = await client.ask("GET", through(peer, "/0"))
        assert (answer.status, answer.body) == (401, REFUSED)


# --- everything else ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", f"/buffers?{VERSION}"),
        ("GET", f"/buffers/abc?{VERSION}"),
        ("DELETE", f"/buffers/abc?{VERSION}"),
        ("POST", f"/buffers?{VERSION}"),
        ("GET", f"/runs?{VERSION}"),
        ("GET", f"/runs/..%2Fbuffers?{VERSION}"),
        ("GET", f"/runs/../logs?{VERSION}"),
        ("GET", "/runs/7%3Fx"),
        ("POST", "/buffers/..%2Fx/access"),
        ("POST", f"/runs/7/cancel?{VERSION}"),
        ("PUT", f"/runs/7?{VERSION}"),
        ("GET", "/"),
        ("GET", "/status"),
        ("GET", "/index.html"),
        ("OPTIONS", "*"),
        ("GET", "/%ff"),
        ("PATCH", "/dataplane?original=x"),
    ],
)
async def test_what_cannot_be_proxied(method, target):
    async with proxied() as (client, peer):
        for _ in range(2):  # the connection goes on
            answer = await client.ask(method, target, b"{}" if method in ("POST", "PUT", "PATCH") else None)
            assert (answer.status, answer.body) == (401, REFUSED)
            assert answer.headers["content-type"] == "application/json; charset=utf-8"
        assert not peer.requests


async def test_tunnels():
    async with proxied() as (client, _):
        await client.say(
            b"CONNECT a.blob.core.windows.net:443 HTTP/1.1\r\nHost: a.blob.core.windows.net:443\r\n\r\n"
        )
        answer = await client.answer("GET")
        assert answer.status == 401
        assert json.loads(answer.body)["error"]["message"] == (
            "The operation cannot be proxied. CONNECT is for storage in the cloud."
        )


async def test_pages_of_other_sites():
    async with proxied() as (client, peer):
        answer = await client.ask("GET", "/metadata", headers="Origin: http://evil.example\r\n")
        assert (answer.status, answer.body) == (403, b"Forbidden")
        assert not peer.requests


@pytest.mark.parametrize(
    "script",
    [
        scripted.hanging_up,
        scripted.replying(b"SSH-2.0\r\n\r\n"),
        scripted.replying(scripted.answer(299, b"")),
        scripted.replying(b"HTTP/1.1 999 X\r\n\r\n"),
    ],
)
@pytest.mark.parametrize(
    ("method", "target"), [("GET", "/metadata"), ("GET", "/runs/7"), ("POST", "/buffers/a/access")]
)
async def test_a_server_that_fails(script, method, target, capfd):
    async with proxied(script) as (client, _):
        answer = await client.ask(method, target, b"" if method == "POST" else None)
        if answer.status != 299:
            assert (answer.status, answer.body) == (502, b"Bad Gateway")
            assert " WRN Request failed error=" in capfd.readouterr().err


async def test_a_server_that_is_away(capfd):
    async with proxied() as (client, _):
        client.served._site.app.address = addresses.of_socket("/nowhere/s")
        answer = await client.ask("GET", "/runs/7")
        assert (answer.status, answer.body) == (502, b"Bad Gateway")
        assert "cannot connect to /nowhere/s: No such file or directory" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("table", "target", "status"),
    [
        (operations.NOBODY, "/metadata", 403),
        (operations.NOBODY, "/runs/7", 403),
        (operations.NEIGHBOURS, "/metadata", 200),
        (operations.NEIGHBOURS, "/runs/7", 403),
        (operations.NEIGHBOURS, "/nonsense", 403),
    ],
)
async def test_clients_that_are_not_allowed(table, target, status):
    scripts = [scripted.replying(json_answer({}))] if status == 200 else []
    async with proxied(*scripts, table=table) as (client, peer):
        answer = await client.ask("GET", target)
        assert answer.status == status
        if status == 403:
            assert answer.body == b"Forbidden"
            assert not peer.requests

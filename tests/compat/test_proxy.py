"""tyger-proxy before a daemon, contract cli.md 9 and buffers.md 14: what passes, header by header, and what does not."""

import base64
import hashlib
import json
import subprocess
import sys
import urllib.request
from urllib.parse import urlsplit

import pytest

from tests.support import commands, daemon, ending, exchanges, runs
from tests.support.answers import JSON, ask

V = "api-version=1.0"
CONFIG = runs.CONFIG


@pytest.fixture(scope="module")
def port(host):
    """The port of a proxy before `host`."""
    with daemon.directory() as home:
        options = json.dumps(
            {"serverUrl": f"unix://{host.socket}", "port": 0, "allowedClientCIDRs": ["127.0.0.1"]}
        )
        with ending.Popen(
            [sys.executable, "-m", "tyger_proxy", "run", "-f", "-", "--log-format", "json"],
            env=daemon.environment(home),
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            process.stdin.write(options)
            process.stdin.close()
            listening = json.loads(process.stderr.readline())
            yield listening["port"]
            process.terminate()
            assert process.wait(daemon.PATIENCE) == 0


@pytest.fixture
def through(port):
    """A connection to the proxy."""
    with exchanges.talk(port) as it:
        yield it


def test_metadata(through, host):
    through.hold(
        f"""
        > GET /metadata
        < 200 OK
        < {JSON}
        <
        < {{"capabilities":["EphemeralBuffers","LocalBuffers"],"apiVersions":["1.0"],"storageEndpoints":["[[endpoint]]"],"serverUrl":"[[url]]"}}
        """,
        endpoint=f"http+unix://{host.socket}:/",
        url=f"http+unix://{host.socket}:",
    )


def test_a_run_is_watched(through, talk, host):
    with runs.gate(host) as gate:
        made = runs.create(talk, runs.shell(gate.wait + "; echo done"))
        lines = runs.watch(through, made["id"])
        first = next(lines)
        assert (first["id"], first["status"] in {"Pending", "Running"}) == (made["id"], True)
        gate.open()
        *_, last = lines
    assert last == runs.get(talk, made["id"]) == runs.get(through, made["id"])
    assert last["status"] == "Succeeded"
    assert runs.log(through, made["id"]) == runs.log(talk, made["id"]) == "done\n"


def test_errors_of_the_server(through):
    through.hold(f"""
        > GET /runs/123456?{V}
        < 404 Not Found
        < {JSON}
        <
        < {{"error":{{"code":"NotFound","message":"The resource was not found"}}}}
        > GET /runs/123456
        < 400 Bad Request
        < {JSON}
        <
        < {{"error":{{"code":"ApiVersionUnspecified","message":"Unspecified API version","apiVersions":["1.0"]}}}}
    """)


@pytest.mark.parametrize("trace", [False, True])
def test_a_buffer_is_written_and_read(through, talk, port, trace):
    through.trace = trace
    talk.hold(f"""
        > POST /buffers?{V}
        >
        > {{"id":"","createdAt":"0001-01-01T00:00:00Z"}}
        < 201 Created
        < {JSON}
        < ETag: [[:etag]]
        < Location: /buffers/[[id:buffer]]
        <
        < [[:any]]
    """)
    through.hold(
        f"""
        > POST /buffers/[[id]]/access?{V}&writeable=true
        > Host: localhost:{port}
        < 201 Created
        < {JSON}
        <
        < [[answer:any]]
        """,
        id=talk["id"],
    )
    url = urlsplit(json.loads(through["answer"])["uri"])
    assert (url.scheme, url.netloc, url.path) == ("http", f"localhost:{port}", "/dataplane")
    data = "some data"
    md5 = base64.b64encode(hashlib.md5(data.encode()).digest()).decode()
    through.hold(
        f"""
        > PUT /dataplane/00?{url.query}
        > Content-Type: application/octet-stream
        > Content-MD5: {md5}
        > x-ms-blob-type: BlockBlob
        > x-ms-meta-cumulative_hash_chain: eA==
        >
        > {data}
        < 201 Created
        > GET /dataplane/00?{url.query}
        < 200 OK
        < Content-MD5: {md5}
        < x-ms-meta-cumulative_hash_chain: eA==
        <
        < {data}
        > HEAD /dataplane/00?{url.query}
        < 200 OK
        < Content-MD5: {md5}
        < x-ms-meta-cumulative_hash_chain: eA==
        > GET /dataplane/01?{url.query}
        < 404 Not Found
        < x-ms-error-code: BlobNotFound
        """
    )


def test_what_cannot_be_proxied(through):
    refused = f"""
        < 401 Unauthorized
        < {JSON}
        <
        < {{"error":{{"code":"Unauthorized","message":"The operation cannot be proxied."}}}}
    """
    for method, target in [
        ("GET", "/buffers"),
        ("GET", "/runs"),
        ("GET", "/status"),
        ("DELETE", "/buffers/x"),
        ("POST", "/runs"),
    ]:
        through.hold(ask(method, f"{target}?{V}") + refused)


def test_a_proxy_has_no_way_to_the_control_plane(through, host):
    original = (
        f"http%2Bunix%3A%2F%2F{host.socket.replace('/', '%2F')}%3A%2Fbuffers%2Fcount%3Fapi-version%3D1.0"
    )
    through.hold(f"""
        > GET /dataplane?original={original}
        < 403 Forbidden
        < {JSON}
        <
        < [[:any]]
    """)


def test_ephemeral_buffers(host, port, talk):
    """Our own commands, given URLs that lead through the proxy, as the original's client would be."""
    given = {"in": "_", "out": "_"}
    run = runs.shell("rev < $IN_PIPE > $OUT_PIPE", inputs=["in"], outputs=["out"], buffers=given)
    made = runs.create(talk, run)
    urls = {}
    for name, buffer in made["job"]["buffers"].items():
        with urllib.request.urlopen(
            urllib.request.Request(
                f"http://127.0.0.1:{port}/buffers/{buffer}/access?{V}&writeable={str(name == 'in').lower()}",
                method="POST",
            )
        ) as answer:
            urls[name] = json.load(answer)["uri"]
    assert urls["in"].startswith(f"http://127.0.0.1:{port}/dataplane?original=")
    assert urls["out"].endswith("&relay=true")
    with commands.commands(host) as tyger:
        reading = tyger.start("buffer", "read", urls["out"])
        done = tyger.run("buffer", "write", urls["in"], data=b"stressed\n")
        assert done.returncode == 0, done.stderr
        assert reading.stdout.read() == b"desserts\n"
        assert reading.wait(daemon.PATIENCE) == 0, reading.stderr.read()
        again = tyger.run("buffer", "read", urls["out"])
        assert "the buffer endpoint can only be called once" in commands.complaint(again)
    assert runs.ended(talk, made["id"])["status"] == "Succeeded"


def test_how_an_ephemeral_buffer_failed_passes_as_a_trailer(host, port, talk):
    given = {"out": "_"}
    with runs.gate(host) as gate, commands.commands(host) as tyger:
        # A job that fails waits for no reader: it is there before.
        run = runs.shell(f"echo half > $OUT_PIPE; {gate.wait}; exit 3", outputs=["out"], buffers=given)
        made = runs.create(talk, run)
        url = f"http://127.0.0.1:{port}/buffers/{made['job']['buffers']['out']}/access?{V}"
        with urllib.request.urlopen(urllib.request.Request(url, method="POST")) as answer:
            uri = json.load(answer)["uri"]
        reading = tyger.start("buffer", "read", uri)
        assert reading.stdout.read(5) == b"half\n"
        gate.open()
        out, said = reading.communicate(timeout=daemon.PATIENCE)
        assert (reading.returncode, out) == (74, b"")
        assert "TransferFailed" in commands.complaint(said)

"""Ephemeral buffers as the original's client writes and reads them: buffers.md 11 and 17.4, on raw sockets."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
from urllib.parse import parse_qs, urlsplit

from tests.support import rawhttp, runs

CONFIG = runs.CONFIG
SCRIPT = "cat < $IN_PIPE > $OUT_PIPE"


def ask(host, method, path, body=None):
    data = b"" if body is None else json.dumps(body).encode()
    heard = rawhttp.say(host, rawhttp.request(method, path, data, "Content-Type: application/json\r\n"))
    return rawhttp.status(heard), json.loads(heard.rpartition(b"\r\n\r\n")[2] or b"null")


def created(host, script=SCRIPT, inputs=("in",), outputs=("out",)):
    """A run with ephemeral buffers: its ID, and the URLs of its buffers by name."""
    given = dict.fromkeys((*inputs, *outputs), "_")
    run = runs.shell(script, inputs=inputs, outputs=outputs, buffers=given)
    status, made = ask(host, "POST", "/runs", run)
    assert status == 201, made
    urls = {}
    for name, buffer in made["job"]["buffers"].items():
        assert re.fullmatch(rf"run-{made['id']}-temp-[a-z2-7]{{26}}", buffer)
        writeable = "true" if name in inputs else "false"
        status, answer = ask(host, "POST", f"/buffers/{buffer}/access?writeable={writeable}&ttl=0.01:00:00")
        assert status == 201
        urls[name] = answer["uri"]
    return made["id"], urls


class Request:
    """What Go's client sends to an access URL; `sock` is open while the object is."""

    def __init__(self, method: str, url: str) -> None:
        parts = urlsplit(url)
        assert parts.scheme == "http+unix"
        assert parse_qs(parts.query)["relay"] == ["true"]
        path, _, target = parts.path.partition(":")
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(rawhttp.PATIENCE)
        self.sock.connect(path)
        framing = "Transfer-Encoding: chunked\r\n" if method == "PUT" else ""
        self.sock.sendall(
            f"{method} {target or '/'}?{parts.query} HTTP/1.1\r\nHost: tyger-server\r\n"
            f"User-Agent: Go-http-client/1.1\r\n{framing}Accept-Encoding: gzip\r\n\r\n".encode()
        )
        self._file = self.sock.makefile("rb")

    def send(self, data: bytes) -> None:
        self.sock.sendall(b"%x\r\n%s\r\n" % (len(data), data))

    def end(self) -> None:
        self.sock.sendall(b"0\r\n\r\n")

    def head(self) -> tuple[int, dict[str, str]]:
        status = int(self._file.readline().split(b" ")[1])
        return status, self._fields()

    def _fields(self) -> dict[str, str]:
        fields = {}
        while line := self._file.readline().strip():
            name, _, value = line.decode().partition(": ")
            fields[name.lower()] = value
        return fields

    def piece(self) -> bytes:
        """A chunk, empty at the end."""
        length = int(self._file.readline(), 16)
        data = self._file.read(length)
        if length:
            assert self._file.readline() == b"\r\n"
        return data

    def trailers(self) -> dict[str, str]:
        return self._fields()

    def close(self) -> None:
        self._file.close()
        self.sock.close()


@contextlib.contextmanager
def request(method, url):
    with contextlib.closing(Request(method, url)) as made:
        yield made


def ping(url):
    with request("HEAD", url) as it:
        return it.head()[0]


def ended(host, run):
    heard = rawhttp.say(host, rawhttp.request("GET", f"/runs/{run}?watch=true"), end=False)
    return json.loads(re.findall(rb"\{.*\}", heard)[-1])


def test_there_and_back(host):
    run, urls = created(host)
    assert [ping(url) for url in urls.values()] == [200, 200]
    with request("PUT", urls["in"]) as upload, request("GET", urls["out"]) as download:
        status, headers = download.head()  # before there is a byte
        assert (status, headers["trailer"]) == (200, "x-ms-error-code")
        assert "content-encoding" not in headers
        for number in range(20):
            message = b"%099d\n" % number
            upload.send(message)
            assert download.piece() == message  # a trickle comes out as a trickle
        upload.end()
        assert upload.head()[0] == 202
        assert download.piece() == b""
        assert download.trailers() == {}
    assert ended(host, run)["status"] == "Succeeded"


def test_a_large_one(host):
    run, urls = created(host)
    data = bytes(range(256)) * 4096 * 20
    got = bytearray()

    def read():
        with request("GET", urls["out"]) as download:
            download.head()
            while piece := download.piece():
                got.extend(piece)

    reading = threading.Thread(target=read)
    reading.start()
    with request("PUT", urls["in"]) as upload:
        for at in range(0, len(data), 1 << 20):
            upload.send(data[at : at + (1 << 20)])
        upload.end()
        assert upload.head()[0] == 202
    reading.join()
    assert bytes(got) == data
    assert ended(host, run)["status"] == "Succeeded"


def test_once(host):
    run, urls = created(host)
    with request("PUT", urls["in"]) as upload, request("GET", urls["out"]) as download:
        download.head()
        upload.send(b"x")
        assert download.piece() == b"x"
        for method, name in (("PUT", "in"), ("GET", "out")):
            with request(method, urls[name]) as again:
                status, headers = again.head()
                assert (status, headers.get("x-ms-error-code")) == (400, "AlreadyCalled")
        upload.end()
        assert upload.head()[0] == 202
        assert download.piece() == b""
    assert ended(host, run)["status"] == "Succeeded"


def test_refusals(host):
    run, urls = created(host)
    with request("PUT", urls["out"].replace("sp=r", "sp=cr")) as it:
        assert it.head()[0] in (403, 405)
    with request("GET", urls["in"]) as it:
        assert it.head()[0] == 405
    with request("GET", urls["out"].replace("sig=", "sig=A")) as it:
        status, headers = it.head()
        assert (status, headers["x-ms-error-code"]) == (403, "AuthenticationFailed")
    _, answer = ask(host, "POST", f"/buffers/{urlsplit(urls['in']).path.rpartition('/')[2]}/access")
    with request("PUT", answer["uri"]) as it:
        status, headers = it.head()
        assert (status, headers["x-ms-error-code"]) == (403, "AuthorizationPermissionMismatch")
    ask(host, "POST", f"/runs/{run}/cancel")


def test_a_job_that_never_opens_its_pipes(host):
    run, urls = created(host, "true")
    with request("GET", urls["out"]) as download:
        status, headers = download.head()
        if status == 200:  # else it came too late to be told in a trailer
            assert download.piece() == b""
            headers = download.trailers()
        assert headers["x-ms-error-code"] == "FailedToOpenReader"
    with request("PUT", urls["in"]) as upload:
        upload.send(b"thrown away")
        upload.end()
        assert upload.head()[0] == 202
    assert ended(host, run)["status"] == "Succeeded"


def test_an_upload_that_breaks_off_fails_the_run(host):
    run, urls = created(host)
    with request("GET", urls["out"]) as download:
        download.head()
        with request("PUT", urls["in"]) as upload:
            upload.send(b"half")
            assert download.piece() == b"half"
        assert download.piece() == b""
        assert download.trailers() == {"x-ms-error-code": "TransferFailed"}
    assert ended(host, run)["status"] == "Failed"


def test_access_after_the_end(host):
    run, urls = created(host, "echo x > $OUT_PIPE", inputs=())
    with request("GET", urls["out"]) as download:
        download.head()
        assert download.piece() == b"x\n"
        assert download.piece() == b""
    assert ended(host, run)["status"] == "Succeeded"
    buffer = urlsplit(urls["out"]).path.rpartition("/")[2]
    status, answer = ask(host, "GET", f"/buffers/{buffer}")  # it has no tags, no life of its own
    assert (status, answer["error"]["code"]) == (404, "NotFound")

"""The data plane for other machines: what it answers, and the certificate it shows as time goes by."""

import contextlib
import os
import resource
import shutil
from datetime import timedelta

import pytest
import trio

from tests.support import certificates as made
from tests.support import tlspeer, wire
from tyger import errors
from tygerd import config
from tygerd.api import outside


@contextlib.contextmanager
def opened(path, **settings):
    settings = {"listen": f"{tlspeer.HOST}:0", **settings}
    it = outside.Outside.open(config.Local(**settings), str(path / "keys"))
    try:
        yield it
    finally:
        it._listening.close()


@contextlib.asynccontextmanager
async def serving(app, path):
    with opened(path) as it:
        app.version = "9.9"
        plane = it.server(app, stop_deadline=wire.PATIENCE)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(plane.serve)
            peer = await tlspeer.connect(int(it.endpoint.rpartition(":")[2]), it.trusted())
            with peer.sock:
                yield peer
            plane.stop()


async def test_blobs_are_written_and_read(app, tmp_path):
    await app.store.create("buffer1")
    app.store._urls.tcp = "https://h"
    async with serving(app, tmp_path) as peer:
        url = await app.store.url("buffer1", writeable=True, ttl=timedelta(minutes=1), over_tcp=True)
        target, _, query = url.removeprefix("https://h").partition("?")
        assert (await peer.ask("PUT", f"{target}/00/000?{query}", b"hello")).status == 201
        answer = await peer.ask("GET", f"{target}/00/000?{query}")
        assert (answer.status, answer.body) == (200, b"hello")
        assert answer.headers["content-md5"] == "XUFAKrxLKna5cZ2REBfFkg=="
        forged = await peer.ask("GET", f"{target}/00/000?{query[:-4]}AAAA")
        assert (forged.status, forged.headers["x-ms-error-code"]) == (403, "AuthenticationFailed")
        assert await peer.closed()


async def test_what_is_not_there_yet_can_be_asked_for_again(app, tmp_path):
    await app.store.create("buffer1")
    app.store._urls.tcp = ""
    async with serving(app, tmp_path) as peer:
        url = await app.store.url("buffer1", writeable=False, ttl=timedelta(minutes=1), over_tcp=True)
        for _ in range(3):
            answer = await peer.ask("GET", url.replace("?", "/00/000?"))
            assert (answer.status, answer.headers["x-ms-error-code"]) == (404, "BlobNotFound")
            assert "connection" not in answer.headers


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/metadata"),
        ("GET", "/status"),
        ("GET", "/metrics"),
        ("GET", "/healthcheck"),
        ("GET", "/openapi.json"),
        ("GET", "/buffers?api-version=1.0"),
        ("GET", "/v1/buffers"),
        ("POST", "/buffers/x/access?api-version=1.0"),
        ("GET", "/runs?api-version=1.0"),
        ("POST", "/transfers"),
        ("HEAD", "/relays/run-1-temp-x"),
        ("GET", "/containers/../buffers?api-version=1.0"),
        ("GET", "/containers/buffer1/x?sig=%ff"),
        ("GET", "*"),
        ("GET", "/containers/%2e%2e/%2e%2e/status?api-version=1.0"),
    ],
)
async def test_nothing_else_is_there(app, tmp_path, method, path):
    async with serving(app, tmp_path) as peer:
        answer = await peer.ask(method, path, b"" if method == "POST" else None)
        assert answer.status in (400, 403, 404, 405)
        assert b"items" not in answer.body
        assert answer.headers["connection"] == "close"
        assert await peer.closed()


def test_nobody_asked_for_it(tmp_path):
    assert outside.Outside.open(config.Local(), str(tmp_path)) is None
    assert not os.listdir(tmp_path)


def test_the_port_is_in_the_endpoint(tmp_path):
    with opened(tmp_path) as it:
        host, _, port = it.endpoint.rpartition(":")
        assert host == "https://127.0.0.1"
        assert int(port) > 0
        assert "BEGIN CERTIFICATE" in it.trusted()


def test_there_are_never_more_connections_than_descriptors_for_them(tmp_path):
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    with opened(tmp_path, connections=10**6) as it:
        assert it._connections == soft // outside.FDS_EACH
    with opened(tmp_path, connections=4) as it:
        assert it._connections == 4


def test_a_certificate_for_another_host_is_refused_at_once(tmp_path):
    certificate, key, _ = made.signed(tmp_path, "elsewhere")
    given = {"certificate": certificate, "key": key, "advertise": "https://tyger.example:1"}
    with pytest.raises(errors.Problem, match=r"host.pem: clients would refuse it: .* 'tyger.example'"):
        outside.Outside.open(config.Local(listen="127.0.0.1:0", **given), "")


def replace(path, other):
    """Let another file be there: one that was only written to may have the time that it had."""
    os.replace(shutil.copy(other, f"{path}.new"), path)


def test_a_certificate_is_read_again_when_it_changes(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(outside, "RELOAD", 0)
    certificate, key, authority = made.signed(tmp_path, "tyger.example")
    given = {"certificate": certificate, "key": key, "advertise": "https://tyger.example:1"}
    with opened(tmp_path, **given) as it:
        first, shown = it.trusted(), it.tls()
        assert (it.trusted(), it.tls()) == (first, shown)
        (tmp_path / "new").mkdir()
        newer, newer_key, _ = made.signed(tmp_path / "new", "tyger.example")
        replace(certificate, newer)  # the key is still the old one: half way
        assert it.trusted() == first
        assert "it does not belong to the key" in caplog.text
        assert "the one before stays in use" in caplog.text
        replace(key, newer_key)
        assert it.trusted() != first
        assert it.tls() is not shown
        os.unlink(certificate)
        assert it.trusted()
    with opened(tmp_path, **given | {"certificate": newer, "key": newer_key}) as it:
        assert it.trusted() == (tmp_path / "new" / "host.pem").read_text()
    with pytest.raises(errors.Problem, match="clients would refuse it"):  # of another authority
        given |= {"certificate": newer, "key": newer_key, "ca_file": authority}
        outside.Outside.open(config.Local(listen="127.0.0.1:0", **given), "")

"""The client of the data plane on its way there: TLS, and proxies."""

import hashlib
import os
import shutil
import ssl

import pytest

from tests.support import blobserver, certificates, webproxy
from tyger import errors
from tygerd.stores import access, dataplane, network


def md5(data):
    return hashlib.md5(data).digest()


def to(server, settings=None):
    return dataplane.DataPlane(access.locate(server.url()), settings)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return certificates.make(tmp_path_factory.mktemp("tls"), "store.example")


@pytest.mark.parametrize("tcp", [True, False])
def test_over_tls(certificate, tcp, tmp_path):
    data = bytes(range(256)) * 10_000
    path = tmp_path / "block"
    path.write_bytes(data)
    with blobserver.BlobServer(tls=certificates.server_context(certificate), tcp=tcp) as server:
        plane = to(server, network.Network(ca_file=certificate))
        plane.put("00/000", dataplane.File(str(path), len(data)), md5(data), {})
        assert server.stored("00/000") == data
        memory = bytearray(len(data))
        plane.get("00/000", lambda _: memoryview(memory))
        assert memory == data
        plane.abort()


def test_a_certificate_that_nobody_vouches_for(certificate):
    with blobserver.BlobServer(tls=certificates.server_context(certificate)) as server:
        with pytest.raises(errors.Problem, match=r"is not trusted: self-signed .* ca_file$") as caught:
            to(server).head("00/000")
        assert caught.value.kind is errors.CONFIG


def test_a_certificate_that_is_pinned(certificate, tmp_path):
    """Whoever has signed it; others are trusted as ever; and what is pinned may change."""
    host, key, _ = certificates.signed(tmp_path, "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(host, key)
    pinned = tmp_path / "ca.pem"
    shutil.copy(certificate, pinned)
    with blobserver.BlobServer(tls=context) as server:
        settings = network.Network(pinned=str(pinned))
        plane = to(server, settings)
        with pytest.raises(dataplane.TransientError, match=r"is not trusted: [^;]*$"):
            plane.put("00/000", b"x", md5(b"x"), {})
        shutil.copy(host, tmp_path / "new")
        os.rename(tmp_path / "new", pinned)
        plane.put("00/000", b"x", md5(b"x"), {})
        plane.abort()


# --- proxies ---------------------------------------------------------------------------------------------


def test_through_a_proxy(certificate, tmp_path):
    data = bytes(range(256)) * 10_000
    path = tmp_path / "block"
    path.write_bytes(data)
    context = certificates.server_context(certificate)
    with blobserver.BlobServer(tls=context, tcp=True) as server, webproxy.WebProxy(server.port) as proxy:
        url = server.url().replace(f"localhost:{server.port}", "store.example")
        settings = network.settings({"https_proxy": f"http://127.0.0.1:{proxy.port}"}, ca_file=certificate)
        plane = dataplane.DataPlane(access.locate(url), settings)
        plane.put("00/000", dataplane.File(str(path), len(data)), md5(data), {})
        memory = bytearray(len(data))
        plane.get("00/000", lambda _: memoryview(memory))
        assert memory == data
        assert len(proxy.asked) == 1  # one tunnel, used twice
        plane.abort()


@pytest.mark.parametrize(
    ("refusal", "kind", "words"),
    [
        (403, errors.CONFIG, r"the proxy \S+ refuses to connect to store.example:443 with status code 403$"),
        (503, errors.UNAVAILABLE, "refuses to connect to store.example:443 with status code 503$"),
        (407, errors.CONFIG, "status code 407; set transfer.proxy, http://NAME:PASSWORD@HOST:PORT$"),
    ],
)
def test_a_proxy_that_refuses(refusal, kind, words):
    with webproxy.WebProxy(0, refusal=refusal) as proxy:
        settings = network.settings({}, proxy=f"127.0.0.1:{proxy.port}")
        plane = dataplane.DataPlane(access.locate("https://store.example/c?sig=secret"), settings)
        with pytest.raises(errors.Problem, match=words) as caught:
            plane.head("00/000")
        assert caught.value.kind is kind
        assert isinstance(caught.value, dataplane.TransientError) is (refusal == 503)

"""Blobs that are no good, over raw HTTP with a good signature: refused, and nothing of them is kept."""

import json
import os
from urllib.parse import urlsplit

import pytest

from tests.support.rawhttp import error, request, say, status

pytestmark = pytest.mark.usefixtures("unharmed")


@pytest.fixture(scope="module")
def container(host):
    """Path and query of a container that may be written."""
    made = json.loads(say(host, request("POST", "/buffers", b"{}")).rpartition(b"\r\n\r\n")[2])
    heard = say(host, request("POST", f"/buffers/{made['id']}/access?writeable=true"))
    url = urlsplit(json.loads(heard.rpartition(b"\r\n\r\n")[2])["uri"])
    return url.path.partition(":")[2], url.query


def put(container, name, body=b"x", headers="", query=None):
    path, signed = container
    return request("PUT", f"{path}/{name}?{signed if query is None else query}", body, headers)


def code(heard):
    """What the data plane says is wrong; it has no bodies."""
    assert heard.endswith(b"\r\n\r\n")
    return heard.partition(b"x-ms-error-code: ")[2].partition(b"\r\n")[0].decode()


def kept(host):
    """All files that the containers hold."""
    return sorted(
        os.path.join(where, name) for where, _, names in os.walk(f"{host.state}/containers") for name in names
    )


@pytest.mark.parametrize(
    "name",
    ["%00", ".", "..", "%2e%2e", "a/../b", "/a", "%2fetc%2fpasswd", "a%0ab", "%7f", "%20", "-", "a" * 81,
     "a" * 60_000, "%f0%9f%98%80"],
    ids=lambda name: name[:20],
)  # fmt: skip
def test_names_that_no_blob_has(host, container, name):
    before = kept(host)
    heard = say(host, put(container, name))
    assert (status(heard), code(heard)) == (400, "InvalidBlobName")
    assert kept(host) == before


def test_bodies_that_are_cut_damaged_or_too_long(host, container):
    before = kept(host)
    head = put(container, "c").partition(b"Content-Length")[0] + b"Transfer-Encoding: chunked\r\n\r\n"
    for data in (put(container, "c", b"x" * 100)[:-50], head + b"1\r\nx\r\nzz\r\n", head + b"5\r\nx"):
        heard = say(host, data)
        assert (status(heard), error(heard)["code"]) == (400, "BadRequest")
    for digest in ("", "xx", "A" * 22 + "==", "A" * 50_000):
        heard = say(host, put(container, "c", headers=f"Content-MD5: {digest}\r\n"))
        assert (status(heard), code(heard)) == (400, "Md5Mismatch")
    announced = put(container, "c").replace(b"Content-Length: 1", b"Content-Length: 30000001")
    for data in (put(container, "c", bytes(30_000_001)), announced):
        heard = say(host, data, end=False)
        assert (status(heard), code(heard)) == (413, "RequestBodyTooLarge")
    assert kept(host) == before


@pytest.mark.parametrize(
    "wrong", ["sig=x", "sig=", "sig=%00", "st=x", "se=9999-99-99", "sv=9", "sp=crd", "sp="]
)
def test_signatures_that_are_none(host, container, wrong):
    name = wrong.partition("=")[0]
    rest = [pair for pair in container[1].split("&") if not pair.startswith(f"{name}=")]
    for query in ("&".join([*rest, wrong]), "&".join([wrong, container[1]]), "&".join(rest)):
        heard = say(host, put(container, "s", query=query))
        assert (status(heard), code(heard)) == (403, "AuthenticationFailed")


def test_metadata_that_is_odd_comes_back_as_it_was(host, container):
    many = "".join(f"x-ms-meta-k{i}: {'v' * 30}\r\n" for i in range(900))
    for name, headers in (("one", "x-ms-meta-a: \xe9\r\n"), ("many", many)):
        assert status(say(host, put(container, name, headers=headers))) == 201
        path, query = container
        heard = say(host, request("GET", f"{path}/{name}?{query}"))
        assert (status(heard), heard.count(b"x-ms-meta-")) == (200, headers.count("x-ms-meta-"))

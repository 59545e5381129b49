import base64
import hashlib
import os
import re
from datetime import timedelta

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from tyger import model
from tygerd import clock
from tygerd.api import blobs
from tygerd.blocks import writer

HOUR = timedelta(hours=1)


def md5(data):
    return base64.b64encode(hashlib.md5(data).digest()).decode()


class Container:
    """A container with every permission, called through the client."""

    def __init__(self, app, client, name):
        self.app, self.client, self.name = app, client, name

    def query(self, permissions="crRCD", start=None, name=None):
        return self.app.signer.query(name or self.name, permissions, start or clock.now(), HOUR)

    async def call(self, method, blob=None, body=b"", headers=(), query=None):
        path = f"/containers/{self.name}" + ("" if blob is None else f"/{blob}")
        return await self.client.call(method, f"{path}?{query or self.query()}", body, headers)

    async def put(self, blob, body=b"", *headers):
        return await self.call("PUT", blob, body, headers)


@pytest.fixture
async def container(app, client):
    made = await app.buffers.create(model.Buffer(), 0)
    return Container(app, client, made.id)


async def test_a_blob_round_trips(container):
    data = bytes(range(256)) * 1000
    put = await container.put(
        "00/000", data, ("Content-MD5", md5(data)), ("X-Ms-Meta-Cumulative_hash_chain", "abc=")
    )
    assert (put.status, put.body) == (201, b"")
    for method, body in (("GET", data), ("HEAD", b"")):
        answer = await container.call(method, "00/000")
        assert (answer.status, answer.body) == (200, body)
        assert answer.headers["content-md5"] == md5(data)
        assert answer.headers["content-length"] == str(len(data))
        assert answer.headers["x-ms-meta-cumulative_hash_chain"] == "abc="
        assert not {"transfer-encoding", "content-encoding", "content-type", "etag"} & set(answer.headers)


async def test_an_empty_blob_is_a_blob(container):
    assert (await container.put("00/001")).status == 201
    answer = await container.call("GET", "00/001")
    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "0")
    assert answer.headers["content-md5"] == "1B2M2Y8AsgTpgAmY7PhCfg=="


async def test_a_blob_whose_file_is_lost_is_damaged_and_not_absent(container, tmp_path):
    await container.put("00/000", b"data")
    (lost,) = tmp_path.rglob("put/data/*")
    lost.unlink()
    answer = await container.call("GET", "00/000")
    assert (answer.status, answer.headers.get("x-ms-error-code")) == (500, None)
    assert b"its file is missing" in answer.body


async def test_metadata_is_opaque(container):
    await container.put(".bufferstart", b"{}", ("x-ms-meta-Any", 'ü "\\ ,;'), ("x-ms-meta-empty", ""))
    answer = await container.call("HEAD", ".bufferstart")
    assert answer.headers["x-ms-meta-any"] == 'ü "\\ ,;'
    assert answer.headers["x-ms-meta-empty"] == ""


async def test_create_only(container):
    assert (await container.put("00/000", b"first")).status == 201
    again = await container.put("00/000", b"second")
    assert again.error == (403, "UnauthorizedBlobOverwrite", None)
    assert (await container.call("GET", "00/000")).body == b"first"


async def test_of_many_writers_one_wins(container):
    answers = {}

    async def write(number):
        answers[number] = await container.put("00/000", b"%d" % number)

    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(write, number)
    (winner,) = [number for number, answer in answers.items() if answer.status == 201]
    assert {answer.status for answer in answers.values()} == {201, 403}
    assert (await container.call("GET", "00/000")).body == b"%d" % winner


async def test_a_wrong_md5_leaves_nothing(container, tmp_path):
    for wrong in (md5(b"other"), "rubbish", ""):
        refused = await container.put("00/000", b"data", ("Content-MD5", wrong))
        assert refused.error == (400, "Md5Mismatch", None)
    assert [path for path in tmp_path.glob("containers/*/**/*") if path.is_file()] == []
    assert (await container.put("00/000", b"data", ("Content-MD5", md5(b"data")))).status == 201


async def test_content_md5_counts_on_put_only(container):
    await container.put("00/000", b"data")
    for method in ("GET", "HEAD"):
        answer = await container.call(method, "00/000", headers=[("Content-MD5", "rubbish")])
        assert answer.status == 200


async def test_too_large(container, tmp_path):
    limit = container.app.config.limits.block_body_size
    refused = await container.put("00/000", b"x" * (limit + 1))
    assert (refused.status, refused.body) == (413, b"")
    assert [path for path in tmp_path.glob("containers/*/**/*") if path.is_file()] == []
    assert (await container.put("00/000", b"x" * limit)).status == 201


async def test_missing(container):
    for method in ("GET", "HEAD"):
        answer = await container.call(method, "00/000")
        assert answer.error == (404, "BlobNotFound", None)
        assert answer.headers["content-length"] == "0"


async def test_permissions(container):
    await container.put("00/000", b"data")
    denied = (403, "AuthorizationPermissionMismatch", None)
    for method, blob, letter in (
        ("GET", "00/000", "c"),
        ("HEAD", "00/000", "R"),
        ("PUT", "00/001", "r"),
        ("PUT", "00/001", "C"),
        ("HEAD", None, "r"),
        ("PUT", None, "c"),
        ("DELETE", None, "cr"),
    ):
        assert (await container.call(method, blob, query=container.query(letter))).error == denied
    assert (await container.call("GET", "00/000", query=container.query("cr"))).body == b"data"


async def test_signatures(container):
    refused = (403, "AuthenticationFailed", None)
    expired = container.query(start=clock.now() - 2 * HOUR)
    early = container.query(start=clock.now() + HOUR)
    for query in (
        "api-version=1.0",
        container.query(name="another"),
        container.query().replace("sig=", "sig=A"),
        expired,
        early,
    ):
        assert (await container.call("GET", "00/000", query=query)).error == refused
    unversioned = container.query().replace("api-version=1.0&", "")
    answer = await container.call("GET", "00/000", query=unversioned)
    assert answer.error == (400, "ApiVersionUnspecified", "Unspecified API version")
    relayed = await container.call("GET", "00/000", query=container.query() + "&relay=true")
    assert relayed.error == (404, "BlobNotFound", None)


async def test_the_order_of_checks(app, client):
    def at(name, blob, permissions="cr"):
        bad_signature = "sv=0.1.0&api-version=1.0"
        query = app.signer.query(name, permissions, clock.now(), HOUR) if permissions else bad_signature
        return client.call("PUT", f"/containers/{name}/{blob}?{query}")

    assert (await at("a_b", "..", "")).error[1] == "AuthenticationFailed"
    assert (await at("a_b", "..", "r")).error[1] == "AuthorizationPermissionMismatch"
    assert (await at("a_b", "..")).error == (400, "InvalidContainerName", None)
    assert (await at("abc", "..")).error == (400, "InvalidBlobName", None)
    assert (await at("abc", "00/000")).error == (404, "ContainerNotFound", None)


async def test_a_captured_stream_is_served_as_blobs(container):
    """The format's own example: `Hello` as one block (contract buffers.md sections 5 and 6)."""
    target = await container.app.store.open(container.name)
    stream = writer.Writer.create(target, 1 << 20)
    fd = stream.block_file(0)
    os.write(fd, b"Hello")
    stream.seal(0, 5, stream.digest(fd, 5))
    os.close(fd)
    assert (await container.call("GET", ".bufferend")).error == (404, "BlobNotFound", None)
    stream.finish("complete")
    chain_header = "x-ms-meta-cumulative_hash_chain"
    expected = {
        ".bufferstart": (b'{"version":"0.3.0"}', "jRl6v+tdX5RbfseHVtVXDw==", None),
        "00/000": (b"Hello", "ixqZU8RhEpaoJ6v4xHgE1w==", "Be2sTc2k0VLW0/rZazR8uFCREuD5k1d9OtCAk14ns4U="),
        "00/001": (b"", "1B2M2Y8AsgTpgAmY7PhCfg==", "LV4PrI5mIT9mYkXErCiaIwlu8B8xxyHjH0UKfSKNt2w="),
        ".bufferend": (b'{"status":"complete"}', "dDGK6tOTr1krU6jOyYJ/Rw==", None),
    }
    for name, (body, digest, chained) in expected.items():
        for method in ("GET", "HEAD"):
            answer = await container.call(method, name)
            assert (answer.status, answer.body) == (200, body if method == "GET" else b"")
            assert answer.headers["content-length"] == str(len(body))
            assert answer.headers["content-md5"] == digest
            assert answer.headers.get(chain_header) == chained
    assert (await container.call("GET", "00/002")).error == (404, "BlobNotFound", None)
    for name in (".bufferstart", "00/000", "00/002"):
        assert (await container.put(name, b"x")).error == (403, "UnauthorizedBlobOverwrite", None)


async def test_similar_names_are_different_blobs(container):
    names = ["a/b", "a,b", "a_b", "a;b", "a.b"]
    for name in names:
        assert (await container.put(name, name.encode())).status == 201
    for name in names:
        assert (await container.call("GET", name)).body == name.encode()


async def test_containers(app, client):
    new = Container(app, client, "abc")
    assert (await new.call("HEAD")).error == (404, "ContainerNotFound", None)
    assert (await new.call("DELETE")).error == (404, "ContainerNotFound", None)
    assert (await new.call("PUT")).status == 201
    await new.put("00/000", b"data")
    assert (await new.call("PUT")).status == 201
    assert (await new.call("HEAD")).status == 200
    assert (await new.call("GET", "00/000")).body == b"data"
    assert (await new.call("DELETE")).status == 200
    assert (await new.call("GET", "00/000")).error == (404, "ContainerNotFound", None)
    bad = Container(app, client, "a_b")
    assert (await bad.call("PUT")).error == (400, "InvalidContainerName", None)
    assert (await bad.call("HEAD")).error == (404, "ContainerNotFound", None)


async def test_a_container_that_is_removed_under_a_writer(container):
    opened = await container.app.store.open(container.name)
    await container.app.store.delete(container.name)
    assert opened.deleted
    assert (await container.put("00/000", b"data")).error == (404, "ContainerNotFound", None)


@pytest.mark.parametrize(
    "name", [".bufferstart", ".bufferend", "00/000", "02/01/FFF", "a.b", "a-b", "1D/00/00/00/00/000"]
)
def test_names_of_blobs(name):
    assert blobs.is_blob_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../a",
        "a/..",
        "a/../b",
        "a/./b",
        "/a",
        "..a",
        "a\0b",
        "a\nb",
        "é",
        "a" * 81,
        "-a",
        "a---b",
    ],
)
def test_no_names_of_blobs(name):
    assert not blobs.is_blob_name(name)


@given(st.text(alphabet="aB1_./-,", max_size=12))
def test_names_of_blobs_are_the_contracts(name):
    pattern = r"^(\.?[a-zA-Z0-9_]+.?)+(/(\.?[a-zA-Z0-9_]+.?)+)*\Z"
    assert blobs.is_blob_name(name) == bool(re.match(pattern, name))

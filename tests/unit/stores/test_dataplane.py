"""The client of the data plane: the contract's headers, and one kind of failure for each kind of answer."""

import base64
import hashlib
import re

import pytest

from tests.support import blobserver, silences
from tyger import errors
from tygerd.stores import access, bandwidth, dataplane

CHAIN = {"cumulative_hash_chain": "Be2sTc2k0VLW0/rZazR8uFCREuD5k1d9OtCAk14ns4U="}


def md5(data):
    return hashlib.md5(data).digest()


@pytest.fixture
def server():
    with blobserver.BlobServer() as made:
        yield made


@pytest.fixture
def plane(server):
    made = to(server)
    yield made
    made.abort()


def to(server, *url):
    return dataplane.DataPlane(access.locate(server.url(*url)))


def fetch(plane, name):
    memory = bytearray(1 << 20)
    found = plane.get(name, lambda length: memoryview(memory)[:length])
    return bytes(memory[: found.length]), found


def test_what_was_put_comes_back(server, plane):
    plane.put("00/000", b"Hello", md5(b"Hello"), CHAIN)
    data, found = fetch(plane, "00/000")
    assert data == b"Hello"
    assert found == plane.head("00/000")
    assert found.chain == CHAIN["cumulative_hash_chain"]
    assert found.md5 == "ixqZU8RhEpaoJ6v4xHgE1w=="


def test_an_empty_blob(server, plane):
    plane.put("00/001", b"", md5(b""), CHAIN)
    assert fetch(plane, "00/001")[0] == b""
    assert server.seen[0].headers["content-length"] == "0"
    assert "transfer-encoding" not in server.seen[0].headers


def test_a_file(server, plane, tmp_path):
    data = bytes(range(256)) * 5000
    path = tmp_path / "block"
    path.write_bytes(data)
    plane.put("00/000", dataplane.File(str(path), len(data)), md5(data), CHAIN)
    assert server.stored("00/000") == data
    with pytest.raises(errors.Problem, match="ends after") as caught:
        plane.put("00/001", dataplane.File(str(path), len(data) + 1), md5(data), CHAIN)
    assert caught.value.kind is errors.CORRUPT
    with pytest.raises(errors.Problem, match="No such file") as caught:
        plane.put("00/001", dataplane.File(str(path) + "x", 1), md5(data), CHAIN)
    assert caught.value.kind is errors.IO_ERROR


def test_the_contracts_headers_and_no_others(server, plane):
    plane.put("00/000", b"Hello", md5(b"Hello"), CHAIN)
    plane.head("00/000")
    put, head = (seen.headers for seen in server.seen)
    date = put.pop("date")
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+]0000", date)
    assert put == {
        "host": "localhost",
        "x-ms-version": "2021-08-06",
        "x-ms-blob-type": "BlockBlob",
        "content-md5": "ixqZU8RhEpaoJ6v4xHgE1w==",
        "content-length": "5",
        "x-ms-meta-cumulative_hash_chain": CHAIN["cumulative_hash_chain"],
    }
    assert set(head) == {"host", "date", "x-ms-version"}


REFUSALS = [
    (404, "BlobNotFound", dataplane.BlobNotFoundError, errors.NOT_FOUND, "the blob does not exist"),
    (404, "ContainerNotFound", dataplane.ContainerNotFoundError, errors.NOT_FOUND, "the buffer does not e"),
    (409, "ContainerBeingDeleted", dataplane.ContainerNotFoundError, errors.NOT_FOUND, "the buffer does not"),
    (403, "AuthenticationFailed", dataplane.ExpiredError, errors.FORBIDDEN, "invalid access URL"),
    (403, "UnauthorizedBlobOverwrite", dataplane.ExistsError, errors.CONFLICT, "buffer cannot be over"),
    (409, "BlobAlreadyExists", dataplane.ExistsError, errors.CONFLICT, "buffer cannot be over"),
    (400, "Md5Mismatch", dataplane.Md5MismatchError, errors.CORRUPT, "MD5 mismatch"),
    (413, "RequestBodyTooLarge", errors.Problem, errors.PAYLOAD_TOO_LARGE, "smaller block size"),
    (403, "AuthorizationFailure", dataplane.ExpiredError, errors.FORBIDDEN, "URL: AuthorizationFailure"),
    (403, "AccountIsDisabled", errors.Problem, errors.FORBIDDEN, "unexpected status code 403: AccountIsDi"),
    (404, "", errors.Problem, errors.PROTOCOL, "unexpected status code 404$"),
    (400, "InvalidBlobName", errors.Problem, errors.PROTOCOL, "unexpected status code 400: InvalidBlobName"),
    (412, "LeaseIdMissing", dataplane.LeasedError, errors.CONFLICT, "lease .LeaseIdMissing"),
    (409, "LeaseIdMismatchWithBlobOperation", dataplane.LeasedError, errors.CONFLICT, "another writer"),
    (412, "ConditionNotMet", errors.Problem, errors.PROTOCOL, "unexpected status code 412: ConditionNotMet"),
    (407, "", errors.Problem, errors.CONFIG, "the proxy asks for a user name and a password: set"),
    (301, "", errors.Problem, errors.PROTOCOL, "unexpected status code 301"),
    (501, "", errors.Problem, errors.PROTOCOL, "unexpected status code 501"),
    (408, "", dataplane.TransientError, errors.UNAVAILABLE, "unexpected status code 408"),
    (429, "", dataplane.TransientError, errors.UNAVAILABLE, "unexpected status code 429"),
    (500, "OperationTimedOut", dataplane.TransientError, errors.UNAVAILABLE, "500: OperationTimedOut"),
    (503, "ServerBusy", dataplane.TransientError, errors.UNAVAILABLE, "503: ServerBusy"),
]  # fmt: skip


def test_a_body_that_arrived_in_part_may_be_sent_again(server, plane):
    """What HTTP servers say of it themselves; the store's own refusals have a code."""
    for outcome, send in (
        (dataplane.TransientError, lambda: plane.put("00/000", b"x", md5(b"x"), {})),
        (errors.Problem, lambda: plane.head("00/000")),
    ):
        server.fault(
            "PUT" if outcome is dataplane.TransientError else "HEAD", "00/000", blobserver.Refusal(400)
        )
        with pytest.raises(outcome, match=r"unexpected status code 400$") as caught:
            send()
        assert type(caught.value) is outcome


@pytest.mark.parametrize(("status", "code", "outcome", "kind", "words"), REFUSALS)
@pytest.mark.parametrize("method", ["HEAD", "GET", "PUT"])
def test_each_answer_has_its_outcome(server, plane, method, status, code, outcome, kind, words):
    server.fault(method, "00/000", blobserver.Refusal(status, code))
    with pytest.raises(outcome, match=words) as caught:
        if method == "PUT":
            plane.put("00/000", b"x", md5(b"x"), {})
        else:
            (plane.head if method == "HEAD" else lambda name: fetch(plane, name))("00/000")
    assert caught.value.kind is kind
    plane.put("00/001", b"", md5(b""), {})  # the connection is still good, or a new one is made


def test_permissions_are_told_apart_from_signatures(server, plane):
    plane.put("00/000", b"x", md5(b"x"), {})
    with pytest.raises(dataplane.NotPermittedError, match="does not allow write access"):
        to(server, "buffer1", "reader").put("00/001", b"x", md5(b"x"), {})
    with pytest.raises(dataplane.ExpiredError) as caught:
        fetch(to(server, "buffer1", "forged"), "00/000")
    assert caught.value.generation == 0
    server.signatures["writer"] = "c"
    with pytest.raises(dataplane.NotPermittedError, match="does not allow read access"):
        to(server, "buffer1", "writer").head("00/000")


@pytest.mark.parametrize(
    ("status", "code", "outcome"),
    [
        (404, "BlobNotFound", dataplane.BlobNotFoundError),
        (403, "AuthenticationFailed", dataplane.ExpiredError),
        (403, "UnauthorizedBlobOverwrite", dataplane.ExistsError),
    ],
)
def test_a_code_in_the_body_only(server, plane, status, code, outcome):
    body = b'<?xml version="1.0"?><Error><Code> %s </Code><Message>No</Message></Error>' % code.encode()
    server.fault("GET", "00/000", blobserver.Refusal(status, body=body))
    with pytest.raises(outcome):
        fetch(plane, "00/000")


@pytest.mark.parametrize(
    ("fault", "offline", "crowded"),
    [
        (blobserver.HANG_UP, True, False),
        (blobserver.GARBAGE, False, False),
        (blobserver.SHORT, False, False),
        (blobserver.Refusal(500), False, False),
        (blobserver.Refusal(503, "ServerBusy"), False, True),
        (blobserver.Refusal(429), False, True),
        (blobserver.Refusal(500, "OperationTimedOut"), False, True),
    ],
)
def test_what_is_likely_to_be_wrong(server, plane, fault, offline, crowded):
    server.put("00/000", b"data")
    server.fault("GET", "00/000", fault)
    with pytest.raises(dataplane.TransientError) as caught:
        fetch(plane, "00/000")
    assert (caught.value.offline, caught.value.crowded) == (offline, crowded)


def test_silence(server, monkeypatch):
    silences.clock(monkeypatch).step = 10.0
    server.fault("GET", "00/000", blobserver.SILENCE)
    plane = to(server)
    with pytest.raises(dataplane.TransientError, match="unable to send request: no sign of life") as caught:
        fetch(plane, "00/000")
    assert (caught.value.offline, caught.value.crowded) == (True, True)
    plane.abort()


def test_the_lease_of_a_blob(server, plane):
    headers = (("x-ms-lease-state", "leased"), ("Content-Length", "0"), ("Content-MD5", "x"))
    server.fault("HEAD", ".bufferstart", blobserver.Refusal(200, headers=headers))
    assert plane.head(".bufferstart").lease == "leased"


def test_the_servers_time_is_learned(server, plane):
    date = "Mon, 02 Jan 2006 15:04:05 GMT"
    server.fault("HEAD", "00/000", blobserver.Refusal(404, "BlobNotFound", headers=(("Date", date),)))
    with pytest.raises(dataplane.BlobNotFoundError):
        plane.head("00/000")
    assert plane.access.clock.now().year == 2006


def test_at_a_limited_rate(server, plane, tmp_path):
    data = bytes(range(256)) * 4000
    path = tmp_path / "block"
    path.write_bytes(data)
    share = bandwidth.Gate(100e6).share()
    plane.put("00/000", dataplane.File(str(path), len(data)), md5(data), CHAIN, share)
    memory = bytearray(len(data))
    plane.get("00/000", lambda _: memoryview(memory), share)
    assert memory == data


def test_azures_reason_is_shown(server, plane):
    body = (
        b"<Error><Code>AuthenticationFailed</Code><AuthenticationErrorDetail>Signature not valid"
        b"\n in the specified &lt;time&gt; frame</AuthenticationErrorDetail></Error>"
    )
    server.fault("GET", "00/000", blobserver.Refusal(403, "AuthenticationFailed", body=body))
    with pytest.raises(
        dataplane.ExpiredError,
        match=r"^invalid access URL: Signature not valid in the specified <time> frame$",
    ):
        fetch(plane, "00/000")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "Mon, 02 Jan 2006 15:04:15 GMT", "Date": "Mon, 02 Jan 2006 15:04:05 GMT"}, 10.0),
        ({"Retry-After": "Mon, 02 Jan 2006 15:04:15 GMT", "Date": "Mon, 02 Jan 2006 15:04:25 GMT"}, 0.0),
    ],
)
def test_retry_after(headers, seconds):
    """A date is judged by the server's own clock: ours may differ."""

    class Answer:
        def header(self, name):
            return {key.lower(): value for key, value in headers.items()}.get(name, "")

    assert dataplane._retry_after(Answer()) == seconds


@pytest.mark.parametrize(
    ("fault", "outcome", "words"),
    [
        (blobserver.CORRUPT, dataplane.Md5MismatchError, "MD5 mismatch"),
        (blobserver.SHORT, dataplane.TransientError, "broke off after 50 of 100 bytes"),
        (blobserver.CHUNKED, dataplane.TransientError, "no Content-Length"),
        (blobserver.HANG_UP, dataplane.TransientError, "unable to send request: "),
        (blobserver.GARBAGE, dataplane.TransientError, "unable to send request: "),
    ],
)
def test_bodies_that_cannot_be_trusted(server, plane, fault, outcome, words):
    server.put("00/000", bytes(range(100)))
    server.fault("GET", "00/000", fault)
    with pytest.raises(outcome, match=words):
        fetch(plane, "00/000")
    assert fetch(plane, "00/000")[0] == bytes(range(100))


def test_a_blob_without_md5_is_not_believed(server, plane):
    server.fault("GET", "00/000", blobserver.Refusal(200, body=b"some"))
    with pytest.raises(errors.Problem, match="expected Content-MD5 header missing"):
        fetch(plane, "00/000")


def test_a_server_does_not_decide_how_much_memory_we_take(server, plane):
    huge = (("Content-Length", str(1 << 40)),)
    server.fault("GET", "00/000", blobserver.Refusal(200, headers=huge))
    with pytest.raises(errors.Problem, match="larger than"):
        fetch(plane, "00/000")


def test_an_early_refusal_of_a_large_blob(server, plane, tmp_path):
    path = tmp_path / "block"
    path.write_bytes(bytes(4_000_000))
    server.fault("PUT", "00/000", blobserver.Refusal(403, "AuthenticationFailed", early=True))
    with pytest.raises(dataplane.ExpiredError):
        plane.put("00/000", dataplane.File(str(path), 4_000_000), md5(bytes(4_000_000)), {})


def test_nobody_listens():
    plane = dataplane.DataPlane(access.locate("http+unix:///nowhere/socket:/b?sig=secret"))
    with pytest.raises(
        dataplane.TransientError, match=r"unable to send request: No such file .*\(/nowhere/socket\)"
    ) as caught:
        plane.head("00/000")
    assert "secret" not in str(caught.value)


def test_after_an_abort_another_client_goes_on(server, plane):
    server.put("00/000", b"x")
    plane.abort()
    with pytest.raises(dataplane.BrokenOffError):
        plane.head("00/000")
    again = plane.again()
    assert again.head("00/000").md5 == base64.b64encode(md5(b"x")).decode()
    again.abort()

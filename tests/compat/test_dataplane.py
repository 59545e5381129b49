"""The local data plane as the original's reader and writer use it, contract buffers.md sections 2, 3, 5 to 8."""

import subprocess

import pytest

from tests.support import daemon

JSON = "Content-Type: application/json; charset=utf-8"
HELLO = "ixqZU8RhEpaoJ6v4xHgE1w=="
HELLO_CHAIN = "Be2sTc2k0VLW0/rZazR8uFCREuD5k1d9OtCAk14ns4U="
NOTHING = "1B2M2Y8AsgTpgAmY7PhCfg=="
END_CHAIN = "LV4PrI5mIT9mYkXErCiaIwlu8B8xxyHjH0UKfSKNt2w="
START = "jRl6v+tdX5RbfseHVtVXDw=="
COMPLETE = "dDGK6tOTr1krU6jOyYJ/Rw=="


def make(talk, write=True):
    """A buffer and an access URL of it: `path` and `signature`, with a leading question mark."""
    talk.hold(f"""
        > POST /buffers?api-version=1.0
        >
        > {{}}
        < 201 Created
        < {JSON}
        < ETag: [[:etag]]
        < Location: /buffers/[[id:buffer]]
        <
        < [[:any]]
        > POST /buffers/[[id]]/access?api-version=1.0&writeable={str(write).lower()}
        < 201 Created
        < {JSON}
        <
        < {{"uri":"http+unix://[[:any]]:[[path:path]]?[[signature:any]]"}}
    """)


def ask(method, blob, *headers):
    """A request of that client for a blob: no Content-Type, a date with a numeric zone."""
    lines = ["> !Content-Type", "> Date: Mon, 02 Jan 2006 15:04:05 -0700", "> x-ms-version: 2021-08-06"]
    lines += [f"> {header}" for header in headers]
    return f"> {method} [[path]]/{blob}?[[signature]]\n" + "\n".join(lines) + "\n"


def put(blob, body, md5, chain=None):
    headers = ["x-ms-blob-type: BlockBlob", f"Content-MD5: {md5}"]
    headers += [f"X-Ms-Meta-Cumulative_hash_chain: {chain}"] if chain else []
    return ask("PUT", blob, *headers) + (f">\n> {body}\n" if body else "")


def found(body, md5, chain=None):
    """A blob; to a HEAD without its body. Not compressed, not chunked, with its length, and no type."""
    meta = f"< x-ms-meta-cumulative_hash_chain: {chain}\n" if chain else ""
    return f"< 200 OK\n< Content-MD5: {md5}\n{meta}" + (f"<\n< {body}\n" if body else "")


def refused(status, code):
    return f"< {status}\n< x-ms-error-code: {code}\n"


CREATED = "< 201 Created\n"
ABSENT = refused("404 Not Found", "BlobNotFound")
EXISTS = refused("403 Forbidden", "UnauthorizedBlobOverwrite")


@pytest.fixture
def written(talk):
    """What `buffer write` sends for a stream of one block."""
    make(talk)
    talk.hold(f"""
        {ask("HEAD", ".bufferstart")}
        {ABSENT}
        {put(".bufferstart", '{"version":"0.3.0"}', START)}
        {CREATED}
        {put("00/000", "Hello", HELLO, HELLO_CHAIN)}
        {CREATED}
        {put("00/001", "", NOTHING, END_CHAIN)}
        {CREATED}
        {put(".bufferend", '{"status":"complete"}', COMPLETE)}
        {CREATED}
    """)
    return talk


def test_what_a_writer_sends_is_what_a_reader_gets(written):
    written.hold(f"""
        {ask("GET", ".bufferend")}
        {found('{"status":"complete"}', COMPLETE)}
        {ask("GET", ".bufferstart")}
        {found('{"version":"0.3.0"}', START)}
        {ask("GET", "00/000")}
        {found("Hello", HELLO, HELLO_CHAIN)}
        {ask("GET", "00/001")}
        {found("", NOTHING, END_CHAIN)}
        {ask("GET", "00/002")}
        {ABSENT}
        {ask("HEAD", "00/000")}
        {found("", HELLO, HELLO_CHAIN)}
    """)


def test_our_reader_understands_the_originals_writer(written, host):
    command = [*daemon.TYGER, "buffer", "read", written["id"]]
    done = subprocess.run(command, env=host.env, capture_output=True, check=False, timeout=daemon.PATIENCE)
    assert (done.returncode, done.stdout) == (0, b"Hello"), done.stderr


def test_the_originals_reader_understands_our_writer(talk, host):
    make(talk, write=False)
    command = [*daemon.TYGER, "buffer", "write", talk["id"]]
    subprocess.run(command, env=host.env, input=b"Hello", check=True, timeout=daemon.PATIENCE)
    talk.hold(f"""
        {ask("GET", ".bufferstart")}
        {found('{"version":"0.3.0"}', START)}
        {ask("GET", "00/000")}
        {found("Hello", HELLO, HELLO_CHAIN)}
        {ask("GET", "00/001")}
        {found("", NOTHING, END_CHAIN)}
        {ask("GET", ".bufferend")}
        {found('{"status":"complete"}', COMPLETE)}
    """)


def test_blobs_are_written_once(written):
    """By whom and with what does not matter; a request that was repeated can compare."""
    written.hold(f"""
        {put("00/000", "Hello", HELLO, HELLO_CHAIN)}
        {EXISTS}
        {put("00/001", "Hello", HELLO, HELLO_CHAIN)}
        {EXISTS}
        {put(".bufferstart", '{"version":"0.3.0"}', START)}
        {EXISTS}
        {ask("HEAD", "00/000")}
        {found("", HELLO, HELLO_CHAIN)}
    """)


def test_a_wrong_md5_leaves_nothing(talk):
    make(talk)
    talk.hold(f"""
        {put("00/000", "Hello", NOTHING, HELLO_CHAIN)}
        {refused("400 Bad Request", "Md5Mismatch")}
        {ask("HEAD", "00/000")}
        {ABSENT}
        {put("00/000", "Hello", HELLO, HELLO_CHAIN)}
        {CREATED}
    """)


def test_a_url_to_read_is_none_to_write(talk):
    make(talk, write=False)
    talk.hold(f"""
        {put("00/000", "Hello", HELLO, HELLO_CHAIN)}
        {refused("403 Forbidden", "AuthorizationPermissionMismatch")}
        {ask("GET", "00/000")}
        {ABSENT}
    """)


@pytest.mark.parametrize(
    "change",
    [
        ("sv=0.1.0", "sv=0.1.1"),
        ("sp=cr", "sp=crd"),
        ("st=2", "st=1"),
        ("se=2", "se=3"),
        ("&sig=", "&sig=A"),
        ("&sig=", "&nosig="),
        ("sig=M", "sig=%00"),
    ],
)
def test_urls_that_somebody_changed(talk, change):
    make(talk)
    assert change[0] in talk["signature"]
    talk.values["signature"] = talk["signature"].replace(*change)
    talk.hold(ask("GET", "00/000") + refused("403 Forbidden", "AuthenticationFailed"))


def test_a_url_is_for_one_container(talk):
    make(talk)
    other = talk["path"]
    make(talk)
    talk.values["path"] = other
    talk.hold(ask("GET", "00/000") + refused("403 Forbidden", "AuthenticationFailed"))


def test_a_url_without_a_version(talk):
    """The one error here that has a body."""
    make(talk)
    talk.values["signature"] = talk["signature"].replace("api-version=1.0&", "")
    talk.hold(f"""
        {ask("GET", "00/000")}
        < 400 Bad Request
        < {JSON}
        <
        < {{"error":{{"code":"ApiVersionUnspecified","message":"Unspecified API version","apiVersions":["1.0"]}}}}
    """)


@pytest.mark.parametrize("name", ["%2E%2E/x", "a/../b", "..%2Fx", "%20", "a%00b", ".", "../x"])
def test_names_that_no_blob_has(talk, name):
    make(talk)
    talk.hold(ask("GET", name) + refused("400 Bad Request", "InvalidBlobName"))


def test_the_old_prefix(written):
    written.values["path"] = "/v1" + written["path"]
    written.hold(ask("GET", "00/000") + found("Hello", HELLO, HELLO_CHAIN))

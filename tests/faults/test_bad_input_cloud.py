"""Accounts, keys, URLs and containers that are wrong: one line with the server's reason, and no patience.

What is waited for is waited for a day, so that whatever ends within a test was not.
"""

import base64
import contextlib
import re
import signal

import pytest

from tests.support import cloud as clouds
from tests.support import daemon, faultproxy, streaming
from tests.support.commands import complaint

MIB = 1 << 20
UNKNOWN = "a" * 26


@pytest.fixture(scope="module")
def cloud(azurite):
    """One site for all: nothing here harms it."""
    with clouds.cloud(azurite) as made:
        yield made


def refused(streams, arguments, code, *said, **options):
    """A command that fails with this exit code and these words, without output."""
    done = streams.run(*arguments, **options)
    assert (done.returncode, done.stdout) == (code, b""), done.stderr.decode()
    line = complaint(done)
    for words in said:
        assert words in line
    return line


# --- accounts --------------------------------------------------------------------------------------------


@contextlib.contextmanager
def configured(azurite, change):
    """A daemon whose configuration is not right."""
    with faultproxy.Proxy(("127.0.0.1", azurite.port)) as proxy:
        text = change(clouds.config(azurite, proxy.address[1]))
        with daemon.daemon(config=text) as it, streaming.streaming(it) as streams:
            yield streams


def test_a_wrong_key(azurite, tmp_path):
    wrong = tmp_path / "key"
    wrong.write_text(base64.b64encode(b"x" * 64).decode())

    def change(text):
        return re.sub('key_file = "[^"]*"', f'key_file = "{wrong}"', text)

    with configured(azurite, change) as streams:
        said = refused(streams, ["buffer", "create"], 78, "devstoreaccount1", "AuthorizationFailure")
        assert f"copy the account's key to {wrong} again" in said


def test_a_wrong_account_name(azurite):
    def change(text):
        return text.replace("devstoreaccount1", "nosuchaccount")

    with configured(azurite, change) as streams:
        refused(
            streams, ["buffer", "create"], 78, "nosuchaccount", "ResourceNotFound", "check the account's name"
        )


def test_a_host_that_does_not_exist(azurite):
    def change(text):
        return re.sub(r"http://127.0.0.1:\d+", "http://no-such-host.invalid", text)

    with configured(azurite, change) as streams:
        refused(streams, ["buffer", "create"], 69, "no-such-host.invalid")


def test_a_port_where_nobody_listens(azurite):
    def change(text):
        return re.sub(r"127.0.0.1:\d+", "127.0.0.1:1", text)

    with configured(azurite, change) as streams:
        refused(streams, ["buffer", "create"], 69, "127.0.0.1:1", "refused")


def test_a_key_file_that_is_missing_or_no_key(azurite, tmp_path):
    """The daemon does not start with a configuration that cannot work."""
    none = tmp_path / "none"
    bad = tmp_path / "bad"
    bad.write_text("no base64!")
    for path in (none, bad):
        text = re.sub('key_file = "[^"]*"', f'key_file = "{path}"', clouds.config(azurite, 1))
        with daemon.daemon(config=text, start=False) as it, streaming.streaming(it) as streams:
            job = streams._job([*it.command(), "--log-format", "human"])
            assert job.wait() == 78
            assert str(path) in complaint(job.said.encode())


def test_a_location_that_is_not_configured(cloud):
    refused(
        cloud.streams,
        ["buffer", "create", "--location", "moon"],
        65,
        "No storage accounts configured for location 'moon'",
    )


# --- buffers ---------------------------------------------------------------------------------------------


def test_a_wrong_id(cloud):
    refused(cloud.streams, ["buffer", "read", UNKNOWN], 66, "NotFound")
    refused(cloud.streams, ["buffer", "write", UNKNOWN], 66, "NotFound")


@pytest.fixture
def vanished(cloud):
    """A buffer whose container somebody deleted at the account."""
    buffer = cloud.streams.buffer()
    cloud.streams.write(buffer, 1, MIB).finish()
    clouds.client(cloud.azurite).delete_container(buffer)
    return buffer


def test_a_container_that_vanished(cloud, vanished):
    refused(cloud.streams, ["buffer", "read", vanished], 66, "the buffer does not exist")
    refused(cloud.streams, ["buffer", "write", vanished], 66, "the buffer does not exist")


def test_a_container_that_vanishes_in_mid_stream(make_cloud):
    cloud = make_cloud()
    streams = cloud.streams
    buffer = streams.buffer()
    writing = streams.write(buffer, 1, 1 << 40, rate=4 * MIB)
    reading = streams.read(buffer, 1)
    streams.wait_transfer(buffer, lambda transfer: transfer["shipped"] > MIB)
    clouds.client(cloud.azurite).delete_container(buffer)
    code, said = writing.fail()
    assert (code, "the buffer does not exist" in said) == (66, True)
    assert writing.producer.wait() == 1
    code, said, _ = reading.fail()
    assert (code, "the buffer does not exist" in said) == (66, True)


# --- access URLs -----------------------------------------------------------------------------------------


def test_a_url_that_only_reads(cloud):
    buffer = cloud.streams.buffer()
    refused(cloud.streams, ["buffer", "write", cloud.url(buffer)], 77, "does not allow write access")
    cloud.streams.write(buffer, 1, MIB).finish()


def test_an_expired_url(cloud):
    buffer = cloud.streams.buffer()
    cloud.streams.write(buffer, 1, MIB).finish()
    url = re.sub(r"se=[^&]*", "se=2020-01-01T00%3A00%3A00Z", cloud.url(buffer))
    for verb in ("read", "write"):
        refused(cloud.streams, ["buffer", verb, url], 77, "invalid access URL", "AuthorizationFailure")


def test_a_url_whose_signature_is_wrong(cloud):
    buffer = cloud.streams.buffer()
    url = re.sub(r"sig=[^&]*", "sig=AAAA", cloud.url(buffer))
    for verb in ("read", "write"):
        refused(cloud.streams, ["buffer", verb, url], 77, "invalid access URL", "AuthorizationFailure")


@pytest.mark.parametrize(
    "url",
    ["http://", "http://:80/x", "ftp://host/container?sig=x", "http://127.0.0.1:99999/a?sig=x", "https:///a"],
)
def test_a_malformed_url(cloud, url):
    refused(cloud.streams, ["buffer", "read", url], 65, "URL")


def test_a_url_of_nobody(cloud):
    """It may be an outage, so it is tried again; but what it waits for is said at once."""
    url = re.sub(r"127.0.0.1:\d+", "127.0.0.1:1", cloud.url(cloud.streams.buffer()))
    for verb in ("read", "write"):
        waiting = cloud.streams.start("buffer", verb, url)
        assert "Connection refused (127.0.0.1:1)" in waiting.wait_said("Transfer waits")
        waiting.process.terminate()
        assert waiting.wait() == 128 + signal.SIGTERM


# --- containers that are no buffers ----------------------------------------------------------------------


@pytest.fixture
def container(cloud):
    """A container of the account that holds `.bufferstart` with this text; its access URL."""

    def make(text):
        buffer = cloud.streams.buffer()
        clouds.client(cloud.azurite).get_blob_client(buffer, ".bufferstart").upload_blob(text)
        return buffer

    return make


@pytest.mark.parametrize(
    ("text", "said"),
    [
        *((text, [".bufferstart"]) for text in (b"", b"hello", b"[]", b"\xff\xfe", b"x" * 100_000)),
        *((text, ["unsupported format buffer version"]) for text in (b"{}", b'{"version":3}')),
    ],
)
def test_no_buffer(cloud, container, text, said):
    refused(cloud.streams, ["buffer", "read", container(text)], 74, *said)


def test_an_unknown_version(cloud, container):
    buffer = container(b'{"version":"9.9.9"}')
    refused(cloud.streams, ["buffer", "read", buffer], 74, "9.9.9", "0.3.0")
    refused(cloud.streams, ["buffer", "write", buffer], 73, "cannot be overwritten")


def test_an_end_marker_that_is_none(cloud):
    buffer = cloud.streams.buffer()
    target = clouds.client(cloud.azurite)
    target.get_blob_client(buffer, ".bufferstart").upload_blob(b'{"version":"0.3.0"}')
    target.get_blob_client(buffer, ".bufferend").upload_blob(b"gibberish")
    refused(cloud.streams, ["buffer", "read", buffer], 74, ".bufferend")

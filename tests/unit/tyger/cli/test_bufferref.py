"""Which buffer an argument of `read` and `write` means."""

import pytest

from tyger import errors, paths
from tyger.cli import bufferref, session

WHERE = paths.Paths(system=False, socket="/run/s/tyger.sock", state="/state", config="/config")
URL = "http+unix:///run/s/tyger.sock:/containers/abc?sig=x%2F"


def test_an_id():
    assert bufferref.resolve("abc", WHERE, has_ttl=True).fields() == {"buffer": "abc"}


def test_a_url_of_our_daemon():
    assert bufferref.resolve(URL, WHERE, has_ttl=False).fields() == {"buffer": "abc"}


def test_a_file_with_a_url(tmp_path):
    file = tmp_path / "access"
    file.write_text(URL + " \r\n")
    assert bufferref.resolve(str(file), WHERE, has_ttl=False).fields() == {"buffer": "abc"}


def test_a_file_with_something_else(tmp_path):
    file = tmp_path / "access"
    file.write_text("abc")
    with pytest.raises(errors.Problem, match="the buffer access string is invalid"):
        bufferref.resolve(str(file), WHERE, has_ttl=False)


def test_a_large_file_and_a_directory_are_not_read(tmp_path):
    file = tmp_path / "access"
    file.write_bytes(b"x" * 2048)
    with pytest.raises(errors.Problem, match="invalid buffer ID"):
        bufferref.resolve(str(file), WHERE, has_ttl=False)
    with pytest.raises(errors.Problem, match="invalid buffer ID"):
        bufferref.resolve(str(tmp_path), WHERE, has_ttl=False)


def test_binary_is_not_text(tmp_path):
    file = tmp_path / "access"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(errors.Problem, match="invalid buffer ID"):
        bufferref.resolve(str(file), WHERE, has_ttl=False)


OTHERS = [
    "https://account.blob.core.windows.net/abc?sig=x%2F",
    "http://127.0.0.1:10000/devstoreaccount1/abc?sig=x%2F",
    "http+unix:///other.sock:/containers/abc?sig=x%2F",
    "http+unix:///run/s/tyger.sock:/elsewhere/abc?sig=x%2F",
]


@pytest.mark.parametrize("url", OTHERS)
def test_urls_of_others_are_handed_on_as_they_are(url, tmp_path):
    it = bufferref.resolve(url, WHERE, has_ttl=False)
    assert (it.fields(), it.name, it.file) == ({"url": url}, "abc", None)
    file = tmp_path / "access"
    file.write_text(url + "\n")
    it = bufferref.resolve(str(file), WHERE, has_ttl=False)
    assert (it.fields(), it.file) == ({"url": url}, str(file))


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://host/abc?sig=secret", "begins with ftp:"),
        ("mailto:abc?sig=secret", "begins with mailto:"),
        ("https:///abc?sig=secret", "names no server"),
        ("https://host/?sig=secret", "no buffer"),
        ("http+unix://?sig=secret", "names no server"),
        ("https://[host/abc?sig=secret", "Invalid IPv6"),
        ("https://host/abc?sig=secret\n&x=y", "access string is invalid"),
        ("https//host/abc?sig=secret", "invalid buffer ID 'https//host/abc[?]"),
    ],
)
def test_what_is_refused_is_not_shown(url, why):
    with pytest.raises(errors.Problem, match=why) as caught:
        bufferref.resolve(url, WHERE, has_ttl=False)
    assert caught.value.kind is errors.INVALID_INPUT
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://localhost:8080?relay=true&sig=secret", "localhost:8080"),
        ("http+unix:///opt/tyger/ephemeral/abc:?sig=secret&relay=true", "abc"),
        ("http+unix:///other/s:/relays/run-7-temp-abc?sig=secret&relay=true", "run-7-temp-abc"),
    ],
)
def test_relays_of_other_servers(url, name):
    it = bufferref.resolve(url, WHERE, has_ttl=False)
    assert (it.relay_url, it.name, it.is_ephemeral) == (url, name, False)


def test_a_relay_of_our_daemon_stands_for_its_id():
    url = f"http+unix://{WHERE.socket}:/relays/run-7-temp-abc?sig=secret&relay=true"
    it = bufferref.resolve(url, WHERE, has_ttl=False)
    assert (it.buffer, it.is_ephemeral, it.relay_url) == ("run-7-temp-abc", True, None)


def test_a_ttl_asks_for_an_id():
    with pytest.raises(session.Fatal, match="access-ttl is only supported when a buffer ID is specified"):
        bufferref.resolve(URL, WHERE, has_ttl=True)

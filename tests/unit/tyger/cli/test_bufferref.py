"""Which buffer an argument of `read` and `write` means."""

import pytest

from tyger import errors, paths
from tyger.cli import bufferref

WHERE = paths.Paths(system=False, socket="/run/s/tyger.sock", state="/state", config="/config")
URL = "http+unix:///run/s/tyger.sock:/containers/abc?sig=x%2F"


def test_an_id():
    assert bufferref.resolve("abc", WHERE, has_ttl=True) == "abc"


def test_a_url_of_our_daemon():
    assert bufferref.resolve(URL, WHERE, has_ttl=False) == "abc"


def test_a_file_with_a_url(tmp_path):
    file = tmp_path / "access"
    file.write_text(URL + " \r\n")
    assert bufferref.resolve(str(file), WHERE, has_ttl=False) == "abc"


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


@pytest.mark.parametrize(
    "url",
    [
        "https://account.blob.core.windows.net/abc?sig=x",
        "http+unix:///other.sock:/containers/abc",
        "http+unix:///run/s/tyger.sock:/containers/",
        "http+unix:///run/s/tyger.sock:/containers/a/b",
        "http+unix:///run/s/tyger.sock:/buffers/abc",
        "mailto:abc",
    ],
)
def test_urls_of_others(url):
    with pytest.raises(errors.Problem, match=r"not one of the daemon on /run/s/tyger[.]sock"):
        bufferref.resolve(url, WHERE, has_ttl=False)


def test_a_ttl_asks_for_an_id():
    with pytest.raises(errors.Problem, match="access-ttl is only supported when a buffer ID is specified"):
        bufferref.resolve(URL, WHERE, has_ttl=True)

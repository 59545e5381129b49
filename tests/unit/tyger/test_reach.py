"""The values of `proxy` and `tlsCaCertificates`."""

import pathlib

import pytest

from tests.support import certificates
from tyger import errors, reach


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("", "auto"),
        ("auto", "auto"),
        ("automatic", "auto"),
        ("none", "none"),
        ("host:8080", "http://host:8080"),
        ("host", "http://host"),
        ("http://host:1", "http://host:1"),
        ("https://u:p@host:1", "https://u:p@host:1"),
        ("socks5://host:1", "socks5://host:1"),
    ],
)
def test_proxies(text, stored):
    assert reach.proxy(text) == stored
    assert reach.proxy(stored) == stored


@pytest.mark.parametrize("text", ["http://", "ftp://host", "a b", "http://h\n", "h:99999", "[::1", "://x"])
def test_what_is_no_proxy(text):
    with pytest.raises(errors.Problem) as caught:
        reach.proxy(text)
    assert str(caught.value) == (
        "proxy must be 'auto', 'automatic', '' (same as 'auto/automatic'), 'none', or a valid URL"
    )


@pytest.mark.parametrize("text", ["", "os", "embedded"])
def test_roots_by_name(text):
    assert reach.roots(text, "/") == text


def test_roots_in_a_file_and_in_the_value(tmp_path):
    made = pathlib.Path(certificates.make(tmp_path))
    pem = made.read_text()
    made.rename(tmp_path / "ca.pem")
    assert reach.roots("ca.pem", str(tmp_path)) == str(tmp_path / "ca.pem")
    assert reach.roots(str(tmp_path / "ca.pem"), "/") == str(tmp_path / "ca.pem")
    assert reach.read_roots(str(tmp_path / "ca.pem")) == pem
    assert reach.roots(pem, "/") == pem


def test_roots_that_are_none(tmp_path):
    (tmp_path / "x").write_text("x")
    (tmp_path / "y").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    (tmp_path / "z").write_bytes(b" " * (reach.LARGEST_PEM + 1))
    for text, why in [
        ("x", "invalid CA certificate data"),
        ("y", "invalid CA certificate data"),
        ("-----BEGIN X-----", "invalid CA certificate data"),
        ("z", "failed to read CA certificate file: .*longer than 4 MiB"),
        ("missing", "failed to read CA certificate file: .*: No such file or directory"),
        (".", "failed to read CA certificate file: .*: Is a directory"),
        ("a\0b", "failed to read CA certificate file: .*null byte"),
    ]:
        with pytest.raises(errors.Problem, match=why) as caught:
            reach.roots(text, str(tmp_path))
        assert caught.value.kind is errors.INVALID_INPUT

"""Settings of the network: which proxy for which host, from where, and which certificates."""

import ssl

import pytest

from tyger import errors
from tygerd.stores import access, network

STORE = access.parse("https://account.blob.core.windows.net/c?sig")
PLAIN = access.parse("http://store.example:8080/c?sig")


def proxies(environ, **options):
    """The proxies for TLS and for plain HTTP, as places."""
    found = network.settings(environ, **options)
    return [proxy and proxy.place for proxy in (found.proxy_for(STORE), found.proxy_for(PLAIN))]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, [None, None]),
        ({"HTTPS_PROXY": "http://p:3128"}, ["p:3128", None]),
        ({"https_proxy": "http://p:3128", "http_proxy": "q"}, ["p:3128", "q:80"]),
        ({"https_proxy": "http://low", "HTTPS_PROXY": "http://up"}, ["low:80", None]),
        ({"https_proxy": "", "HTTPS_PROXY": "http://up"}, ["up:80", None]),
        ({"HTTPS_PROXY": "http://p", "NO_PROXY": "windows.net"}, [None, None]),
    ],
)
def test_the_environment_names_proxies(environ, expected):
    assert proxies(environ) == expected


def test_the_configuration_wins():
    environ = {"HTTPS_PROXY": "http://p", "no_proxy": "store.example"}
    assert proxies(environ, proxy="http://mine:81") == ["mine:81", None]
    assert proxies(environ, proxy="none") == [None, None]
    assert proxies(environ, proxy=None) == ["p:80", None]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.9.1", "[::1]"])
def test_this_host_is_reached_directly(host):
    found = network.settings({}, proxy="http://p")
    assert found.proxy_for(access.parse(f"http://{host}:10000/c")) is None
    assert found.proxy_for(access.parse("http+unix:///run/s:/c")) is None


@pytest.mark.parametrize(
    ("pattern", "host", "expected"),
    [
        ("*", "anything", True),
        ("example.com", "example.com", True),
        ("example.com", "a.b.Example.COM", True),
        (".example.com", "a.example.com", True),
        ("*.example.com", "a.example.com", True),
        ("example.com", "notexample.com", False),
        ("example.com:80", "example.com", True),
        ("example.com:443", "example.com", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3:80", "10.1.2.3", True),
        ("10.1.2.3", "name10.1.2.3", False),
        ("fd00::/8", "[fd12::1]", True),
        ("[fd12::1]:80", "[fd12::1]", True),
        ("fd12::1", "[fd12::1]", True),
        (".", "example.com", False),
        ("", "example.com", False),
    ],
)
def test_no_proxy(pattern, host, expected):
    found = network.settings({"http_proxy": "http://p", "no_proxy": f"other, {pattern}"})
    assert (found.proxy_for(access.parse(f"http://{host}/c")) is None) is expected


def test_a_proxys_password_is_decoded():
    found = network.settings({}, proxy="http://us%65r:p%40ss@p:3128").https
    assert found.authorization == "Basic dXNlcjpwQHNz"
    assert found.place == "p:3128"


@pytest.mark.parametrize(
    ("proxy", "words"),
    [
        ("http://", r"^transfer.proxy is not the URL of a proxy"),
        ("http://p:port", "is not the URL"),
        ("http://u:secret@" + "x" * 70, "is not the URL"),
        ("socks5://p", "of the kind socks5, which is not supported; use an http:// one"),
    ],
)
def test_what_is_no_proxy(proxy, words):
    with pytest.raises(errors.Problem, match=words) as caught:
        network.settings({}, proxy=proxy)
    assert caught.value.kind is errors.CONFIG
    assert "secret" not in str(caught.value)


def test_a_ca_file_that_cannot_be_used(tmp_path):
    (tmp_path / "empty").write_text("")
    for name, words in [("missing", "No such file"), ("empty", "no certificate in PEM form")]:
        with pytest.raises(errors.Problem, match=words) as caught:
            network.settings({}, ca_file=str(tmp_path / name))
        assert caught.value.kind is errors.CONFIG


def test_pinned_certificates_that_cannot_be_used(tmp_path):
    (tmp_path / "empty").write_text("")
    for name, words in [("missing", "missing: No such file"), ("empty", "empty: it holds no certificate")]:
        with pytest.raises(errors.Problem, match=words) as caught:
            network.settings({}, pinned=str(tmp_path / name))
        assert caught.value.kind is errors.CONFIG


def test_certificates_are_checked():
    assert network.Network().trust().verify_mode is ssl.CERT_REQUIRED

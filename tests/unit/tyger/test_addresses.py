"""Server addresses: every form, its normal form, and what is none."""

import pytest

from tyger import addresses, errors

UNIX = [
    ("unix:///opt/tyger/api.sock", "/opt/tyger/api.sock"),
    ("http+unix:///opt/tyger/api.sock", "/opt/tyger/api.sock"),
    ("http+unix:///opt/tyger/api.sock:", "/opt/tyger/api.sock"),
    ("http+unix:///opt/tyger/api.sock:/", "/opt/tyger/api.sock"),
    ("unix:///opt/tyger/api.sock///", "/opt/tyger/api.sock"),
    ("UNIX:///opt/x", "/opt/x"),
    ("unix:/opt/x", "/opt/x"),
    ("unix://a/b.sock", "/here/a/b.sock"),
    ("unix://b.sock", "/here/b.sock"),
    ("unix://../b.sock", "/b.sock"),
    ("unix:///a/../b", "/b"),
    (" unix:///b ", "/b"),
]


@pytest.mark.parametrize(("text", "socket"), UNIX)
def test_unix_sockets(text, socket):
    found = addresses.parse(text, "/here")
    assert found == addresses.Address("http+unix", f"http+unix://{socket}:", socket)
    assert found.is_unix
    assert found.shown == f"unix://{socket}"


@pytest.mark.parametrize(
    ("text", "url", "socket"),
    [
        ("unix:///tmp/a%20b", "http+unix:///tmp/a%20b:", "/tmp/a b"),
        ("unix:///tmp/a b", "http+unix:///tmp/a%20b:", "/tmp/a b"),
        ("unix:///tmp/ä", "http+unix:///tmp/%C3%A4:", "/tmp/ä"),
    ],
)
def test_odd_characters_in_a_sockets_path(text, url, socket):
    assert addresses.parse(text, "/here") == addresses.Address("http+unix", url, socket)


def test_the_normal_form_stays_as_it_is():
    for text, _ in UNIX:
        once = addresses.parse(text, "/here")
        assert addresses.parse(once.url, "/elsewhere") == once
        assert addresses.of_socket(once.socket) == once


@pytest.mark.parametrize(
    ("text", "scheme", "url"),
    [
        ("https://host", "https", "https://host"),
        ("https://host/path/", "https", "https://host/path"),
        ("http://host:6888", "http", "http://host:6888"),
        ("HTTP://host", "http", "HTTP://host"),
        ("https+unix:///x.sock", "https+unix", "https+unix:///x.sock:"),
        ("ssh://me@host:22/run/s", "ssh", "ssh://me@host:22/run/s"),
        ("ssh://host/", "ssh", "ssh://host"),
        (
            "ssh://host?configPath=/c&cliPath=/t&option[A]=b",
            "ssh",
            "ssh://host?configPath=/c&cliPath=/t&option[A]=b",
        ),
        ("docker://", "docker", "docker://tyger-local-gateway"),
        ("docker://box/", "docker", "docker://box"),
        ("docker:///s", "docker", "docker://tyger-local-gateway/s"),
    ],
)
def test_what_is_elsewhere(text, scheme, url):
    found = addresses.parse(text, "/here")
    assert (found.scheme, found.url, found.shown) == (scheme, url, url)
    assert not found.is_unix


ABSOLUTE = "a valid absolute URL is required"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", ABSOLUTE),
        ("host", ABSOLUTE),
        ("/run/tyger/tyger.sock", ABSOLUTE),
        ("local", ABSOLUTE),
        ("https://", ABSOLUTE),
        ("https:///path", ABSOLUTE),
        ("http://host:99999", ABSOLUTE),
        ("http://host:x", ABSOLUTE),
        ("http://[::1", ABSOLUTE),
        ("unix://", ABSOLUTE),
        ("unix:///", ABSOLUTE),
        ("http+unix://:", ABSOLUTE),
        ("unix:///a%ff", ABSOLUTE),
        ("unix:///a\nb", ABSOLUTE),
        ("unix:///a\0", ABSOLUTE),
        ("unix:///a%00", "its path has a character"),
        ("unix:///a%3Ab", "its path has a character"),
        ("unix:///a:/base", "nothing may stand behind"),
        ("unix:///a?b=c", "nothing may stand behind"),
        ("unix:///a#b", "nothing may stand behind"),
        ("ftp://host", "unsupported URL scheme 'ftp'"),
        ("ssh://", "invalid ssh URL: no host specified"),
        ("ssh://me:secret@host", "invalid ssh URL: plain-text password is not supported"),
        (
            "ssh://host?x=1",
            "invalid ssh URL: unexpected query parameter: \"x\". Only 'configPath', 'cliPath'",
        ),
        ("ssh://host?option[]=1", 'invalid ssh URL: unexpected query parameter: "option\\[\\]"'),
        ("ssh://host#f", "invalid ssh URL: a fragment"),
        ("docker://c?x=1", "invalid docker URL"),
        ("docker://c#f", "invalid docker URL"),
    ],
)
def test_what_is_no_address(text, why):
    with pytest.raises(errors.Problem, match=why) as caught:
        addresses.parse(text, "/here")
    assert caught.value.kind is errors.INVALID_INPUT
    assert "\n" not in caught.value.message


def test_a_socket_that_no_url_can_name():
    with pytest.raises(errors.Problem, match="no URL can name"):
        addresses.of_socket("/a:b")


@pytest.mark.parametrize(
    ("path", "parts"),
    [("/s:/p", ("/s", "/p")), ("/s:", ("/s", "")), ("/s", ("/s", "")), ("/s:a:b", ("/s", "a:b"))],
)
def test_the_first_colon_ends_the_socket(path, parts):
    assert addresses.split_unix(path) == parts

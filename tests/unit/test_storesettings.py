"""The tables about stores: what they refuse, and where others reach the store on this host."""

import pytest

from tyger import errors
from tygerd import config, storesettings


def parsed(text):
    return config.parse(f"[store.local]\n{text}").store.local


@pytest.mark.parametrize(
    ("text", "endpoint", "host"),
    [
        ('listen = "10.77.0.1:8443"', "https://10.77.0.1:8443", "10.77.0.1"),
        ('listen = "[fd00::1]:8443"', "https://[fd00::1]:8443", "fd00::1"),
        ('listen = "scanner:0"', "https://scanner:7777", "scanner"),
        (
            'listen = ":8443"\nadvertise = "https://scanner.example"',
            "https://scanner.example",
            "scanner.example",
        ),
        ('listen = "0.0.0.0:1"\nadvertise = "https://[fd00::1]:2/"', "https://[fd00::1]:2", "fd00::1"),
    ],
)
def test_where_others_reach_it(text, endpoint, host):
    settings = parsed(text)
    assert settings.reached_at(settings.port or 7777) == (endpoint, host)


def test_what_is_listened_on():
    assert (parsed('listen = "[fd00::1]:8443"').host, parsed('listen = "[fd00::1]:8443"').port) == (
        "fd00::1",
        8443,
    )
    everywhere = parsed('listen = ":80"\nadvertise = "https://h"')
    assert (everywhere.host, everywhere.port) == ("", 80)
    assert storesettings.Local().listen is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('listen = "8443"', "listen must be ADDRESS:PORT or :PORT, not '8443'"),
        ('listen = "h:65536"', "listen must be ADDRESS:PORT"),
        ('listen = "fd00::1:8443"', "listen must be ADDRESS:PORT"),
        ('listen = "https://h:1"', "listen must be ADDRESS:PORT"),
        ('listen = "a b:1"', "listen must be ADDRESS:PORT"),
        ('listen = ":8443"', "advertise must be set: listen names no address"),
        ('listen = "[::]:8443"', "advertise must be set"),
        ('listen = "h:1"\nadvertise = "http://h:1"', "advertise must be https://HOST or https://HOST:PORT"),
        ('listen = "h:1"\nadvertise = "https://h/path"', "advertise must be https"),
        ('listen = "h:1"\nadvertise = "https://a..b"', "advertise must be https"),
        ('listen = "a..b:1"', "listen must be ADDRESS:PORT"),
        ('listen = "h:1"\nadvertise = "https://h:x"', "advertise must be https"),
        ('listen = "h:1"\ncertificate = "c"', "certificate and key come together"),
        ('listen = "h:1"\nkey = "c"', "certificate and key come together"),
        ('listen = "h:1"\nca_file = "c"', "ca_file means nothing without certificate"),
        ('advertise = "https://h"', "advertise means nothing without listen"),
        ('key = "k"', "key means nothing without listen"),
        ("connections = 3", "connections: expected `int` >= 4"),
    ],
)
def test_what_is_refused(text, words):
    with pytest.raises(errors.Problem) as caught:
        parsed(text)
    assert caught.value.kind is errors.CONFIG
    assert words in caught.value.message
    assert "store.local" in caught.value.message

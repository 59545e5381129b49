"""The proxy's options file."""

import ipaddress
import json

import pytest

from tests.support import certificates, daemon
from tyger import errors
from tyger_proxy import settings


@pytest.fixture
def read():
    """Settings from the text of a file, in an empty home."""
    with daemon.directory() as home:
        environ = daemon.environment(home)

        def call(text):
            (home / "p.yml").write_text(text)
            return settings.read(str(home / "p.yml"), environ)

        call.home = home
        yield call


def test_all_of_it(read):
    found = read(
        "serverUrl: 'http+unix:///opt/tyger/api.sock:'\nport: 0\nlogPath: logs/\nproxy: none\n"
        "allowedClientCIDRs: [10.1.2.3/8, '::1']\ntlsCaCertificates: os\nother: x\n"
    )
    assert found == settings.Settings(
        address=found.address,
        own=None,
        port=0,
        networks=(ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1/128")),
        log_path=f"{read.home}/logs/",
        proxy="none",
        roots="os",
    )
    assert found.address.socket == "/opt/tyger/api.sock"
    assert read(found.text()) == found, "what a child is given means the same"
    assert json.loads(found.text())["port"] == 0


def test_defaults(read):
    found = read("serverUrl: unix:///s\n")
    assert (found.port, found.networks, found.log_path, found.roots) == (6888, (), "", "")
    assert found.published_roots() == ""
    assert read("serverUrl: unix://s\n").address.socket == f"{read.home}/s", "relative to the file"
    assert read("serverUrl: unix:///s\nlogPath: a/../b.log\n").log_path == f"{read.home}/b.log"


def test_the_users_own_daemon(read):
    socket = f"{read.home}/run/tyger/tyger.sock"
    for url in ("local", f"unix://{socket}"):
        found = read(f"serverUrl: {url}\n")
        assert (found.address.socket, found.own.socket) == (socket, socket)


def test_certificates_for_clients(read):
    path = certificates.make(read.home)
    with open(path, encoding="ascii") as file:
        pem = file.read()
    assert read("serverUrl: unix:///s\ntlsCaCertificates: cert.pem\n").published_roots() == pem
    found = read("serverUrl: unix:///s\n" + json.dumps({"tlsCaCertificates": pem})[1:-1] + "\n")
    assert found.published_roots() == pem
    assert read("serverUrl: unix:///s\ntlsCaCertificates: embedded\n").published_roots() == ""


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("", errors.INVALID_INPUT, "serverUrl must be specified"),
        ("serverUrl: x\n", errors.INVALID_INPUT, "a valid absolute URL is required"),
        ("serverUrl: https://h\n", errors.UNAVAILABLE, "cannot reach https://h"),
        ("serverUrl: ssh://h\n", errors.UNAVAILABLE, "cannot reach ssh://h"),
        (
            "serverUrl: unix:///s\nmanagedIdentity: true\n",
            errors.INVALID_INPUT,
            "managedIdentity cannot be used with a server on this machine",
        ),
        (
            "serverUrl: unix:///s\nservicePrincipal: x\n",
            errors.INVALID_INPUT,
            "when servicePrincipal is set, certificatePath must be specified",
        ),
        ("serverUrl: unix:///s\nport: 65536\n", errors.INVALID_INPUT, "port: 65536 is none"),
        ("serverUrl: unix:///s\nport: -1\n", errors.INVALID_INPUT, "port: -1 is none"),
        ("serverUrl: unix:///s\nport: x\n", errors.INVALID_INPUT, "line 2: port: expected a whole number"),
        (
            "serverUrl: unix:///s\nallowedClientCIDRs: [x]\n",
            errors.INVALID_INPUT,
            "allowedClientCIDRs: 'x' is no network",
        ),
        ("serverUrl: unix:///s\nallowedClientCIDRs: 10.0.0.0/8\n", errors.INVALID_INPUT, "expected a list"),
        ("serverUrl: unix:///s\nproxy: a b\n", errors.INVALID_INPUT, "proxy must be"),
        ("serverUrl: unix:///s\ntlsCaCertificates: no.pem\n", errors.INVALID_INPUT, "failed to read CA"),
        ("serverUrl: unix:///" + "x" * 200, errors.CONFIG, "the socket path"),
    ],
)
def test_options_that_are_refused(read, text, kind, words):
    with pytest.raises(errors.Problem, match=words) as caught:
        read(text)
    assert caught.value.kind is kind

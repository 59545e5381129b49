"""Making connections: the first address that answers, proxies, and everything that says no."""

import contextlib
import socket
import ssl
import threading
import time

import pytest

from tests.support import blobserver, certificates, scripted, webproxy
from tyger import errors
from tygerd.stores import access, dialing, network


class Owner:
    """Keeps what is held, as `exchange.Connections` does."""

    def __init__(self):
        self.held = set()
        self.holds = threading.Event()
        self.stopped = False
        self.hooks = dialing.Hooks(self.hold, self.held.discard, lambda: self.stopped)

    def hold(self, sock):
        self.held.add(sock)
        self.holds.set()


@pytest.fixture
def owner():
    made = Owner()
    yield made
    assert not made.held, "what is held at the end was not forgotten"


def dial(owner, url, settings=None, limit=60.0):
    """Connect, and close: what was dialled, when nothing was raised."""
    made = dialing.dial(access.parse(url), settings or network.Network(), limit, owner.hooks)
    assert owner.held == {made.sock}
    owner.hooks.forget(made.sock)
    return made


def race(owner, *addresses, limit=60.0):
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]
    return dialing._Race(limit, owner.hooks).run(found)


@pytest.fixture
def refusing():
    """An address that refuses."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()


@pytest.fixture
def silent():
    """An address that drops packets: its queue is full."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        stack.enter_context(socket.create_connection(listening.getsockname()))
        yield listening.getsockname()


@pytest.fixture
def good():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()


# --- addresses -------------------------------------------------------------------------------------------


def test_the_first_that_accepts_has_won(owner, refusing, silent, good):
    started = time.monotonic()
    with race(owner, refusing, silent, good) as sock:
        assert sock.getpeername() == good
        assert sock.getblocking()
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert owner.held == {sock}
        owner.held.clear()
    assert time.monotonic() - started < 30, "it waited for the silent one"


def test_all_refuse(owner, refusing):
    with pytest.raises(ConnectionRefusedError):
        race(owner, refusing, refusing)
    with pytest.raises(OSError, match="no address"):
        race(owner)


def test_none_answers(owner, silent, refusing):
    with pytest.raises(TimeoutError, match="no connection within 0 s"):
        race(owner, refusing, silent, limit=0.2)


def test_a_unix_socket_that_nobody_serves(owner, tmp_path):
    with pytest.raises(FileNotFoundError):
        dial(owner, "http+unix:///nowhere/s:/c")


def test_a_unix_socket_whose_queue_is_full(owner):
    with scripted.Peer(scripted.Connection.wait_closed) as peer:
        waiting = []
        with pytest.raises(TimeoutError, match="no connection within"):
            while True:
                waiting.append(dial(owner, f"http+unix://{peer.path}:/c", limit=0.2))
        for made in waiting:
            made.close()


def test_breaking_off_reaches_a_connection_that_is_being_made(owner, silent):
    raised = []

    def work():
        try:
            race(owner, silent, limit=60)
        except OSError as error:
            raised.append(error)
        else:
            raised.append(None)

    thread = threading.Thread(target=work)
    thread.start()
    assert owner.holds.wait(60)
    owner.stopped = True
    for sock in list(owner.held):
        with contextlib.suppress(OSError):  # it may not have begun
            socket.socket.shutdown(sock, socket.SHUT_RDWR)
    thread.join(60)
    assert not thread.is_alive()
    assert isinstance(raised[0], OSError)


def test_breaking_off_just_before_it_begins(owner, silent):
    """Nothing can be shut down then; it must not wait for an answer all the same."""

    def hold(sock):
        owner.hold(sock)
        owner.stopped = True

    hooks = owner.hooks._replace(hold=hold)
    with pytest.raises(ConnectionAbortedError):
        dialing._Race(60, hooks).run([(socket.AF_INET, socket.SOCK_STREAM, 6, "", silent)])


@pytest.mark.parametrize(
    ("url", "short", "long"),
    [
        ("http://h/b", "h", "h:80"),
        ("https://h/b", "h", "h:443"),
        ("http://h:81/b", "h:81", "h:81"),
        ("http://[::1]:81/b", "[::1]:81", "[::1]:81"),
        ("https://b\u00fccher.example/b", "xn--bcher-kva.example", "xn--bcher-kva.example:443"),
        ("http+unix:///s:/b", "localhost", "localhost:80"),
    ],
)
def test_how_a_request_names_the_server(url, short, long):
    assert dialing.authority(access.parse(url)) == short
    assert dialing.authority(access.parse(url), always_port=True) == long


# --- TLS and proxies -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return certificates.make(tmp_path_factory.mktemp("tls"), "store.example")


@pytest.fixture
def secure_server(certificate):
    with blobserver.BlobServer(tls=certificates.server_context(certificate), tcp=True) as server:
        yield server


def through(proxy, certificate=None, password=""):
    return network.settings({}, proxy=f"http://{password}127.0.0.1:{proxy.port}", ca_file=certificate)


def test_tls(owner, secure_server, certificate):
    made = dial(owner, secure_server.url(), network.Network(ca_file=certificate))
    assert isinstance(made.sock, ssl.SSLSocket)
    made.close()
    with pytest.raises(ssl.SSLCertVerificationError):
        dial(owner, secure_server.url())


def test_tls_with_one_who_does_not_speak_it(owner):
    def plain(connection):
        connection.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with scripted.Peer(plain, tcp=True) as peer, pytest.raises(ssl.SSLError):
        dial(owner, f"https://localhost:{peer.port}/c")


def test_a_server_with_tls_behind_a_proxy(owner, secure_server, certificate):
    with webproxy.WebProxy(secure_server.port, password="me:secret") as proxy:
        made = dial(owner, "https://store.example/c", through(proxy, certificate, "me:secret@"))
        made.close()
        assert proxy.asked == ["CONNECT store.example:443 HTTP/1.1"]


@pytest.mark.parametrize(("refusal", "status"), [(403, 403), (503, 503), (None, 407)])
def test_a_proxy_that_refuses(owner, secure_server, certificate, refusal, status):
    password = "me:secret" if status == 407 else None
    with webproxy.WebProxy(secure_server.port, refusal=refusal, password=password) as proxy:
        words = rf"the proxy 127\.0\.0\.1:{proxy.port} refuses to connect to store\.example:443 .* {status}$"
        with pytest.raises(dialing.ProxyError, match=words) as caught:
            dial(owner, "https://store.example/c", through(proxy, certificate))
        assert caught.value.status == status


def test_a_ca_file_that_has_gone(owner, secure_server):
    with pytest.raises(errors.Problem, match="cannot use the CA file"):
        dial(owner, secure_server.url(), network.Network(ca_file="/nowhere"))

"""One connection: what counts as a sign of life, and what does not."""

import contextlib
import os
import socket
import ssl
import threading

import pytest

from tests.support import certificates, silences
from tygerd.stores import bandwidth, connection

LIMIT = 30.0
"""Seconds of silence that are allowed; a peer that moves does so much more often."""

DATA = os.urandom(1_000_000)


def never():
    return False


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    return silences.clock(monkeypatch)


def pair(kind):
    """Two ends of a connection with small buffers, so that bytes wait for the peer."""
    if kind == "unix":
        ours, theirs = socket.socketpair()
    else:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
            ours = socket.create_connection(listening.getsockname())
            theirs, _ = listening.accept()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
    return ours, theirs


@pytest.fixture(params=["unix", "tcp"])
def ends(request):
    ours, theirs = pair(request.param)
    with ours, theirs:
        yield watched(ours), theirs


def watched(sock):
    made = connection.Connection(sock, never)
    made.watch(LIMIT)
    return made


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(DATA)
    fd = os.open(path, os.O_RDONLY)
    yield fd
    os.close(fd)


@pytest.fixture
def peer(clock):
    """Starts a thread for the other end."""

    @contextlib.contextmanager
    def start(work, *arguments):
        clock.watch(True)
        thread = threading.Thread(target=work, args=arguments)
        thread.start()
        yield
        clock.watch(False)
        thread.join(60)
        assert not thread.is_alive()

    return start


@pytest.fixture
def drain(clock):
    """Receives `size` bytes, with a pause after each piece."""

    def receive(sock, size, got, pause=0.0, piece=65536):
        while len(got) < size:
            got += sock.recv(piece)
            if pause:
                clock.passes(pause)

    return receive


# --- out -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["bytes", "file"])
def test_a_slow_peer_is_not_a_dead_one(ends, file, how, clock, peer, drain):
    """All in all it takes several times as long as silence may last."""
    ours, theirs = ends
    got = bytearray()
    with peer(drain, theirs, 350_000, got, LIMIT / 5, 25_000):
        if how == "bytes":
            ours.send(DATA[:350_000])
        else:
            ours.send_file(file, 350_000)
    assert got == DATA[:350_000]
    assert clock.now > 2 * LIMIT


@pytest.mark.parametrize("how", ["bytes", "file"])
def test_a_peer_that_takes_nothing_is_dead(ends, file, how, clock):
    ours, _ = ends
    clock.step = LIMIT / 3
    with pytest.raises(connection.SilentError, match="no sign of life for 30 s"):
        if how == "bytes":
            ours.send(DATA)
        else:
            ours.send_file(file, len(DATA))


def test_what_is_still_being_taken_is_waited_for(ends, clock, peer, drain):
    """All is sent, and the answer takes longer than silence may: but the peer is busy with what it got."""
    ours, theirs = ends
    ours.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 256 * 1024)
    size = 300_000
    got = bytearray()

    def work():
        drain(theirs, size, got, LIMIT / 5, 32_768)  # a Unix socket shrinks by whole parcels of this size
        theirs.sendall(b"!")

    with peer(work):
        ours.send(DATA[:size])
        view = memoryview(bytearray(1))
        assert ours.receive(view) == 1
    assert got == DATA[:size]
    assert clock.now > LIMIT


def test_a_peer_that_answers_early_is_heard(ends, file):
    ours, theirs = ends
    theirs.sendall(b"no")
    ours.send_file(file, len(DATA))
    assert ours.spoilt
    view = memoryview(bytearray(10))
    assert ours.receive(view) == 2


def test_a_file_that_is_too_short(ends, file, peer, drain):
    ours, theirs = ends
    short = pytest.raises(connection.ShortFileError, match="ends after 1000000 of 1000001")
    with peer(drain, theirs, len(DATA), bytearray()), short:
        ours.send_file(file, len(DATA) + 1)


# --- in --------------------------------------------------------------------------------------------------


def test_a_slow_body_is_not_the_end(ends, clock, peer):
    ours, theirs = ends
    view = memoryview(bytearray(20))

    def work():
        for number in range(20):
            clock.passes(LIMIT / 5)
            theirs.sendall(bytes([number]))

    with peer(work):
        received = 0
        while received < 20:
            received += ours.receive(view[received:], whole=True)
    assert bytes(view) == bytes(range(20))
    assert ours.received == 20


def test_a_peer_that_says_nothing_is_dead(ends, clock):
    ours, _ = ends
    clock.step = LIMIT / 3
    with pytest.raises(connection.SilentError):
        ours.receive(memoryview(bytearray(1)))


def test_the_end_is_the_end(ends):
    ours, theirs = ends
    assert ours.is_usable()
    theirs.close()
    assert ours.receive(memoryview(bytearray(1))) == 0
    assert not ours.is_usable()


# --- TLS -------------------------------------------------------------------------------------------------


@pytest.fixture
def encrypted(tmp_path, peer):
    path = certificates.make(tmp_path)
    ours, theirs = pair("tcp")
    server = certificates.server_context(path)
    client = ssl.create_default_context(cafile=path)
    accepted = []
    with peer(lambda: accepted.append(server.wrap_socket(theirs, server_side=True))):
        ours = client.wrap_socket(ours, server_hostname="localhost")
    with ours, accepted[0]:
        yield watched(ours), accepted[0]


def test_a_slow_peer_with_tls(encrypted, file, clock, peer, drain):
    ours, theirs = encrypted
    got = bytearray()

    def work():
        drain(theirs, 400_000, got, LIMIT / 10, 16_384)
        theirs.sendall(b"thanks")

    with peer(work):
        ours.send(DATA[:200_000])
        ours.send_file(file, 200_000)
        view = memoryview(bytearray(6))
        assert ours.receive(view, whole=True) == 6
    assert got == DATA[:200_000] * 2
    assert clock.now > 2 * LIMIT


def test_a_dead_peer_with_tls(encrypted, file, clock):
    ours, _ = encrypted
    clock.step = LIMIT / 3
    with pytest.raises(connection.SilentError):
        ours.receive(memoryview(bytearray(1)))
    ours.watch(LIMIT)
    with pytest.raises(connection.SilentError):
        ours.send_file(file, len(DATA))


# --- bandwidth -------------------------------------------------------------------------------------------


def test_bytes_go_as_the_limit_allows_and_that_is_not_silence(ends, file, clock, peer, drain):
    """A piece takes longer to be allowed than silence may last."""
    ours, theirs = ends

    class Sparing:
        """What a transfer may have of a slow link."""

        def take(self, most, _):
            clock.now += 2 * LIMIT
            return min(most, 4096)

    share = Sparing()
    got = bytearray()
    with peer(drain, theirs, 5000, got):
        ours.send_file(file, 2500, share)
        ours.send(DATA[2500:5000], share)
    assert got == DATA[:5000]
    theirs.sendall(bytes(3000))
    assert 0 < ours.receive(memoryview(bytearray(10_000)), share) <= 4096


def test_who_broke_it_off_does_not_wait_for_bandwidth(ends):
    ours, theirs = ends
    stopped = connection.Connection(ours.sock, lambda: True)
    stopped.watch(LIMIT)
    share = bandwidth.Gate(1).share()
    share.take(4096, never)
    stopped.send(b"x" * 10, share)
    assert theirs.recv(100) == b"x" * 10

"""One connection: what counts as a sign of life, and what does not."""

import contextlib
import os
import socket
import ssl
import threading

import pytest

from tests.support import certificates
from tygerd.stores import bandwidth, connection

LIMIT = 0.3
"""Seconds of silence that are allowed here; a peer that moves does so much more often."""

DATA = os.urandom(1_000_000)


def never():
    return False


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


def watched(sock, limit=LIMIT):
    made = connection.Connection(sock, never)
    made.watch(limit)
    return made


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(DATA)
    fd = os.open(path, os.O_RDONLY)
    yield fd
    os.close(fd)


@contextlib.contextmanager
def peer(work, *arguments):
    """A thread for the other end."""
    thread = threading.Thread(target=work, args=arguments)
    thread.start()
    yield
    thread.join(10)
    assert not thread.is_alive()


def drain(sock, size, got, pace=0.0, piece=65536):
    """Receive `size` bytes, pausing before each piece."""
    idle = threading.Event()
    while len(got) < size:
        idle.wait(pace)
        got += sock.recv(piece)


# --- out -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["bytes", "file"])
def test_a_slow_peer_is_not_a_dead_one(ends, file, how):
    """All in all it takes several times as long as silence may last."""
    ours, theirs = ends
    got = bytearray()
    with peer(drain, theirs, 350_000, got, 0.06, 25_000):
        if how == "bytes":
            ours.send(DATA[:350_000])
        else:
            ours.send_file(file, 350_000)
    assert got == DATA[:350_000]


@pytest.mark.parametrize("how", ["bytes", "file"])
def test_a_peer_that_takes_nothing_is_dead(ends, file, how):
    ours, _ = ends
    with pytest.raises(connection.SilentError, match="no sign of life for 0 s"):
        if how == "bytes":
            ours.send(DATA)
        else:
            ours.send_file(file, len(DATA))


def test_what_is_still_being_taken_is_waited_for(ends):
    """All is sent, and the answer takes longer than silence may: but the peer is busy with what it got."""
    ours, theirs = ends
    ours.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 256 * 1024)
    size = 300_000
    got = bytearray()

    def work():
        drain(theirs, size, got, 0.06, 32_768)  # a Unix socket shrinks by whole parcels of this size
        theirs.sendall(b"!")

    with peer(work):
        ours.send(DATA[:size])
        view = memoryview(bytearray(1))
        assert ours.receive(view) == 1
    assert got == DATA[:size]


def test_a_peer_that_answers_early_is_heard(ends, file):
    ours, theirs = ends
    theirs.sendall(b"no")
    ours.watch(2.0)
    ours.send_file(file, len(DATA))
    assert ours.spoilt
    view = memoryview(bytearray(10))
    assert ours.receive(view) == 2


def test_a_file_that_is_too_short(ends, file):
    ours, theirs = ends
    short = pytest.raises(connection.ShortFileError, match="ends after 1000000 of 1000001")
    with peer(drain, theirs, len(DATA), bytearray()), short:
        ours.send_file(file, len(DATA) + 1)


# --- in --------------------------------------------------------------------------------------------------


def test_a_slow_body_is_not_the_end(ends):
    ours, theirs = ends
    view = memoryview(bytearray(20))
    idle = threading.Event()

    def work():
        for number in range(20):
            idle.wait(0.05)
            theirs.sendall(bytes([number]))

    with peer(work):
        received = 0
        while received < 20:
            received += ours.receive(view[received:], whole=True)
    assert bytes(view) == bytes(range(20))
    assert ours.received == 20


def test_a_peer_that_says_nothing_is_dead(ends):
    ours, _ = ends
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
def encrypted(tmp_path):
    path = certificates.make(tmp_path)
    ours, theirs = pair("tcp")
    server = certificates.server_context(path)
    client = ssl.create_default_context(cafile=path)
    accepted = []
    with peer(lambda: accepted.append(server.wrap_socket(theirs, server_side=True))):
        ours = client.wrap_socket(ours, server_hostname="localhost")
    with ours, accepted[0]:
        yield watched(ours), accepted[0]


def test_a_slow_peer_with_tls(encrypted, file):
    ours, theirs = encrypted
    got = bytearray()

    def work():
        drain(theirs, 400_000, got, 0.03, 16_384)
        theirs.sendall(b"thanks")

    with peer(work):
        ours.send(DATA[:200_000])
        ours.send_file(file, 200_000)
        view = memoryview(bytearray(6))
        assert ours.receive(view, whole=True) == 6
    assert got == DATA[:200_000] * 2


def test_a_dead_peer_with_tls(encrypted, file):
    ours, _ = encrypted
    with pytest.raises(connection.SilentError):
        ours.receive(memoryview(bytearray(1)))
    ours.watch(LIMIT)
    with pytest.raises(connection.SilentError):
        ours.send_file(file, len(DATA))


# --- bandwidth -------------------------------------------------------------------------------------------


def test_bytes_go_as_the_limit_allows_and_that_is_not_silence(ends, file):
    """A piece takes longer to be allowed than silence may last."""
    ours, theirs = ends
    share = bandwidth.Gate(10_000).share()  # pieces of 4 KiB
    share.take(4096, never)
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

"""Who listens on a port, with real sockets."""

from __future__ import annotations

import os
import socket

import pytest

from tygerd.supervisor import ports


def listening(host: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    sock.bind((host, 0))
    sock.listen()
    return sock


@pytest.mark.parametrize(
    ("host", "reach"),
    [
        ("127.0.0.1", ("127.0.0.1",)),
        ("127.0.0.5", ("127.0.0.5",)),
        ("0.0.0.0", ("127.0.0.1",)),
        ("::1", ("::1",)),
        ("::", ("127.0.0.1", "::1")),
    ],
)
def test_a_listener_and_how_to_reach_it(host, reach):
    try:
        sock = listening(host)
    except OSError:
        pytest.skip(f"{host}: this host has no IPv6")
    with sock:
        port, inode = sock.getsockname()[1], os.fstat(sock.fileno()).st_ino
        # Somebody else may have the same number at another address.
        ours = [one for one in ports.listeners(port) if one.inode == inode]
        assert ours == [ports.Listener(host, inode)]
        assert ports.reachable(host) == reach
        assert ports.held(inode, [os.getpid()])
        assert not ports.held(inode, [])


def test_a_connection_is_no_listener():
    with listening("127.0.0.1") as sock, socket.create_connection(sock.getsockname()) as connection:
        inode = os.fstat(connection.fileno()).st_ino
        assert inode not in {one.inode for one in ports.listeners(connection.getsockname()[1])}


def test_nobody_listens_and_nobody_holds_it():
    with listening("127.0.0.1") as sock:
        port, inode = sock.getsockname()[1], os.fstat(sock.fileno()).st_ino
    assert inode not in {one.inode for one in ports.listeners(port)}
    assert not ports.held(inode, [os.getpid()])


def test_a_process_that_has_ended_holds_nothing():
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(pid, 0)
    assert not ports.held(1, [pid])

"""Where the adapter of a port finds main: late, behind a proxy, on a port of this host, or never."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from tests.support import freeport, joined
from tygerd.supervisor import sockets


def test_main_never_listens(join):
    it = join(place := joined.Fixed())
    assert place.looked.wait(joined.PATIENCE)
    it.main_ended()
    assert it.result() == ("failed", "socket 8080: main ended, and nobody had listened on port 8080")


def test_main_does_not_listen_in_time(join, monkeypatch):
    monkeypatch.setattr(sockets, "CONNECT_SECONDS", 0.01)
    it = join(joined.Fixed())
    assert it.result() == ("failed", "socket 8080: main did not listen on port 8080 within 0.01 seconds")


def test_it_tries_until_somebody_listens(join, listener):
    with socket.socket() as late:
        late.bind(("127.0.0.1", 0))  # taken, but it does not listen: connections are refused
        late.settimeout(joined.PATIENCE)
        it = join(place := joined.Fixed(sockets.Address(*late.getsockname())), takes=False)
        assert place.looked.wait(joined.PATIENCE)
        late.listen()
        with joined.accept(late) as main:
            main.sendall(b"late")
    assert it.received() == b"late"


def test_a_proxy_that_finds_nobody_behind_it(join, listener, monkeypatch):
    monkeypatch.setattr(sockets, "PROBATION", joined.PATIENCE)
    it = join(proxied=True)
    joined.accept(listener).close()
    joined.reset(joined.accept(listener))
    with joined.accept(listener) as main:
        main.sendall(b"here")  # or it would say nothing for as long as a proxy takes
        it.send(b"now")
        it.finish()
        assert joined.everything(main) == b"now"
    assert it.received() == b"here"
    assert it.result() == ("complete", None)


SERVER = """
import socket, sys
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as server:
    print("listening", flush=True)
    connection, _ = server.accept()
    connection.sendall(b"ours")
"""


def test_a_proxy_with_somebody_behind_it_who_says_nothing(join, listener):
    it = join(proxied=True, gives=False)
    with joined.accept(listener) as main:
        it.send(b"now")
        it.finish()
        assert joined.everything(main) == b"now"
    assert it.result() == ("complete", None)


def test_a_port_of_this_host_that_a_child_of_ours_listens_on(join):
    with freeport.freeport() as port:
        child = subprocess.Popen([sys.executable, "-c", SERVER, str(port)], stdout=subprocess.PIPE)
        with child:
            it = join(sockets.OwnPort(port), takes=False)
            assert it.received() == b"ours"
            assert it.result() == ("complete", None)


def test_a_port_of_this_host_that_another_listens_on(join, listener):
    port = listener.getsockname()[1]  # ours, but of no descendant of ours
    it = join(sockets.OwnPort(port))
    reason = f"socket 8080: another program listens on port {port} of this host"
    assert it.result() == ("failed", reason)
    listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        listener.accept()  # and got no connection

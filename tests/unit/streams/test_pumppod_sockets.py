"""A pod whose main listens on ports: they are joined to its buffers."""

import contextlib
import os
import socket
import threading

import pytest

from tests.support import pumppods
from tygerd.streams import podlife, pumppod

DATA = os.urandom(300_000)


class Echo(threading.Thread):
    """A main that listens on a port, and sends back what it gets from one connection."""

    def __init__(self):
        super().__init__()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def run(self):
        with contextlib.suppress(OSError):  # the test is over
            peer, _ = self.listener.accept()
            with peer:
                while data := peer.recv(65536):
                    peer.sendall(data)


@pytest.fixture
def echo():
    made = Echo()
    yield made
    made.listener.shutdown(socket.SHUT_RDWR)  # and it accepts nobody any more
    if made.ident is not None:
        made.join()
    made.listener.close()


async def test_a_socket_that_was_served_ends_the_run_while_main_goes_on(pod, echo, monkeypatch):
    monkeypatch.setattr(pumppod, "SLOW_SETTLE", 0.05)
    await pumppods.filled(pod, "in", DATA)
    pod.buffer("out", "out")
    echo.start()
    end = await pod.live("--input=in", "--output=out", f"--socket={echo.port}:in:out")
    assert end == podlife.Life("served")
    assert pod.stored("out") == (DATA, pumppods.COMPLETE)


async def test_a_main_that_never_listened(pod):
    pod.buffer("out", "out")
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        pod.ended(0)
        end = await pod.live("--output=out", f"--socket={port}::out")
    assert end.reason == f"socket {port}: main ended, and nobody had listened on port {port}"
    assert pod.stored("out")[1] == pumppods.FAILED

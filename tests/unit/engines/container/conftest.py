"""An engine to ask: a real Podman, with its facts and what bodies depend on."""

import contextlib
import socket
import threading

import pytest

from tygerd import enginesettings
from tygerd.engines.container import body, find

INSTALLATION = "0123456789abcdef0123456789abcdef"

FACTS: dict[str, find.Facts] = {}
"""By socket: it takes Podman a second to say them."""


@pytest.fixture
async def engine(podman):
    """The API of the session's Podman, and what it says of itself."""
    connected = await find.reach(podman.socket, {})
    if podman.socket not in FACTS:
        FACTS[podman.socket] = await find.ask(connected)
    yield connected, FACTS[podman.socket]
    await connected.close()


@pytest.fixture
def place():
    """What bodies depend on, of an engine that is made up."""
    facts = find.Facts("Docker", "28", "amd64", rootless=False, limits=True, gpu=True, cpus=2)
    return body.Place(INSTALLATION, facts, enginesettings.Container(), init=True)


@contextlib.contextmanager
def peer(directory, answer):
    """Somebody who listens and answers each connection with these bytes."""
    path = str(directory / "s")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with connection:
                        connection.recv(65536)
                        connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield path
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()

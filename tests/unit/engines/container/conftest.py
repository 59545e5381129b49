"""An engine to ask: a real Podman, with its facts and what bodies depend on."""

import contextlib
import socket
import threading

import pytest

from tygerd import enginesettings
from tygerd.engines.container import api, body, find

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


BUSY = api.Refused(500, "device busy")


class Reluctant(api.Api):
    """An engine that fails so many times to remove what is below `path`."""

    def __init__(self, real, times, error=BUSY, path="/"):
        self._real = real
        self._error = error
        self._path = path
        self.times = times

    async def call(self, method, path, **request):
        if method == "DELETE" and path.startswith(self._path) and self.times > 0:
            self.times -= 1
            raise self._error
        return await self._real.call(method, path, **request)


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

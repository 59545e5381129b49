"""A plain client of a data plane, not ours, so that the fault proxy is not tested with what it shall test."""

import http.client
import os
import socket

from tests.support import blobserver

DATA = os.urandom(300_000)
PATIENCE = 120


def target(server):
    if isinstance(server._server, blobserver._TcpServer):
        return ("127.0.0.1", server._server.server_address[1])
    return server._socket


class Client(http.client.HTTPConnection):
    """Not ours, so that the proxy is not tested with what it shall test."""

    def __init__(self, proxy):
        super().__init__("localhost", timeout=PATIENCE)
        self._address = proxy.address

    def connect(self):
        self.sock = connect(self._address)

    def ask(self, method, blob, body=None, **headers):
        try:
            self.request(method, f"/containers/buffer1/{blob}?sig=good&x=%2F", body, headers)
            answer = self.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            self.close()
            raise


def connect(address):
    sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    sock.settimeout(PATIENCE)
    try:
        sock.connect(address)
    except OSError:
        sock.close()
        raise
    return sock


BROKEN = (ConnectionError, http.client.BadStatusLine, http.client.IncompleteRead)

"""A scripted peer on a real socket: each connection gets the next script, as in a play."""

import array
import contextlib
import os
import shutil
import socket
import tempfile
import threading


class Connection:
    """One accepted connection, as a script sees it."""

    def __init__(self, sock):
        self.sock = sock
        self.fds = []
        self.head = b""
        self.body = b""

    def read_request(self):
        data = b""
        while b"\r\n\r\n" not in data:
            piece, ancillary, _, _ = self.sock.recvmsg(65536, socket.CMSG_SPACE(64))
            assert piece, "the client closed before it had asked"
            for _, _, raw in ancillary:
                self.fds += array.array("i", raw)
            data += piece
        self.head, _, self.body = data.partition(b"\r\n\r\n")
        length = next(
            (
                int(line[15:])
                for line in self.head.split(b"\r\n")
                if line.lower().startswith(b"content-length:")
            ),
            0,
        )
        while len(self.body) < length:
            self.body += self.sock.recv(65536)
        return self

    def say(self, *pieces):
        for piece in pieces:
            self.sock.sendall(piece)

    def chunk(self, data):
        self.say(b"%x\r\n%s\r\n" % (len(data), data))

    def wait_closed(self):
        """Until the client has gone."""
        with contextlib.suppress(ConnectionError):
            while self.sock.recv(65536):
                pass


class Peer:
    """Plays `scripts`, one a connection. A script's exception is raised by `close`.

    `path` is its Unix socket; with `tcp` it listens on 127.0.0.1, on `port`.
    """

    def __init__(self, *scripts, tcp=False):
        self.directory = tempfile.mkdtemp(prefix="tyger-")
        self.path = os.path.join(self.directory, "s")
        self.requests = []
        self._failure = None
        self._listening = socket.socket(socket.AF_INET if tcp else socket.AF_UNIX)
        self._listening.bind(("127.0.0.1", 0) if tcp else self.path)
        self.port = self._listening.getsockname()[1] if tcp else None
        self._listening.listen()
        self._thread = threading.Thread(target=self._play, args=(scripts,), daemon=True)
        self._thread.start()

    def _play(self, scripts):
        try:
            for script in scripts:
                sock, _ = self._listening.accept()
                with sock:
                    connection = Connection(sock)
                    self.requests.append(connection)
                    with contextlib.suppress(ConnectionError):  # the client has heard enough
                        script(connection)
                    for fd in connection.fds:
                        os.close(fd)
        except BaseException as error:  # noqa: BLE001 - handed to the test
            self._failure = error
        finally:
            self._listening.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self._thread.join(60)
        shutil.rmtree(self.directory)
        if kind is None:
            assert not self._thread.is_alive(), "the script was not played to its end"
            if self._failure:
                raise self._failure


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def answer(status, body=b"", *headers):
    lines = [b"HTTP/1.1 %d Some reason" % status, b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def replying(data):
    """A script: read the request, say `data`, close."""

    def script(connection):
        connection.read_request().say(data)

    return script


def hanging_up(connection):
    """A script: read the request and close without a word."""
    connection.read_request()

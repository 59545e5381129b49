"""An API server that forwards one kind of port: what is said to it comes back in upper case.

with fakeforward.Server(certificate) as server:      # listens at server.port, with TLS
    ...                                              # what was asked for is in server.heads

Some words mean more: `error` is answered on the channel of errors, `close` closes the WebSocket, `drop` the
connection, `big` is answered with a megabyte. RFC 6455, and `v4.channel.k8s.io` of Kubernetes.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import socket
import ssl
import struct
import threading
from typing import Self

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_BINARY, _CLOSE, _PING, _PONG = 2, 8, 9, 10

WORDS = b"error forwarding port 1: connection refused\nthere"


class Server:
    """Serves each connection in a thread."""

    def __init__(self, certificate: str) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.heads: list[str] = []
        self.pings = threading.Semaphore(0)
        self.closed = threading.Event()
        self.answers_pings = True
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        for each in self._threads:
            each.join()
        self._listening.close()

    def _start(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                plain, _ = self._listening.accept()
                self._start(self._serve, plain)

    def _serve(self, plain: socket.socket) -> None:
        with contextlib.suppress(OSError), self._context.wrap_socket(plain, server_side=True) as sock:
            file = sock.makefile("rb")
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += file.readline()
            self.heads.append(head.decode())
            key = next(line.split()[1] for line in head.splitlines() if line.startswith(b"Sec-WebSocket-Key"))
            accept = base64.b64encode(hashlib.sha1(key + _MAGIC).digest()).decode()
            sock.sendall(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Accept: {accept}\r\n"
                "Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n".encode()
            )
            for channel in (0, 1):
                sock.sendall(_frame(_BINARY, bytes([channel]) + struct.pack("<H", 52173)))
            while (found := _read(file)) is not None and self._take(sock, *found):
                pass
        self.closed.set()

    def _take(self, sock: socket.socket, code: int, data: bytes) -> bool:
        if code == _PING:
            self.pings.release()
            if self.answers_pings:
                sock.sendall(_frame(_PONG, data))
        if code == _CLOSE:
            return False
        if code != _BINARY:
            return True
        match data:
            case b"\0error":
                sock.sendall(_frame(_BINARY, b"\1" + WORDS))
            case b"\0close":
                sock.sendall(_frame(_CLOSE, struct.pack("!H", 1000)))
            case b"\0drop":
                return False
            case b"\0big":
                for _ in range(16):
                    sock.sendall(_frame(_BINARY, b"\0" + bytes(65536)))
            case _:
                sock.sendall(_frame(_BINARY, data[:1] + data[1:].upper()))
        return True


def _frame(code: int, data: bytes) -> bytes:
    length = bytes([len(data)]) if len(data) < 126 else b"\x7f" + struct.pack("!Q", len(data))
    return bytes([0x80 | code]) + length + data


def _read(file: object) -> tuple[int, bytes] | None:
    """A masked frame of a client; None at the end."""
    head = file.read(2)  # type: ignore[attr-defined]
    if len(head) < 2:
        return None
    length = head[1] & 0x7F
    if length == 126:
        (length,) = struct.unpack("!H", file.read(2))  # type: ignore[attr-defined]
    elif length == 127:
        (length,) = struct.unpack("!Q", file.read(8))  # type: ignore[attr-defined]
    mask = file.read(4)  # type: ignore[attr-defined]
    data = file.read(length)  # type: ignore[attr-defined]
    return head[0] & 15, bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))

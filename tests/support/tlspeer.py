"""A raw HTTP client as `wire.Peer`, with TLS on its connection.

certificate = tlspeer.certificate(tmp_path)
peer = await tlspeer.connect(port, certificate.trusted)
answer = await peer.ask("GET", "/x")
"""

from __future__ import annotations

import pathlib
import socket
import ssl

import h11
import trio

from tests.support import wire
from tygerd.identity import certificates

HOST = "127.0.0.1"


def certificate(directory: pathlib.Path) -> certificates.Certificate:
    """One for this host that signs itself."""
    return certificates.read(certificates.load_or_create(str(directory), HOST), HOST)


def client_context(trusted: str) -> ssl.SSLContext:
    """Of a client that trusts this PEM."""
    context = ssl.create_default_context(cadata=trusted)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


class Peer(wire.Peer):
    """The client's end, after the handshake."""

    def __init__(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        self.sock = stream.transport_stream.socket
        self._framing = h11.Connection(h11.CLIENT)
        self.stream = stream

    async def say(self, data: bytes, fds: object = ()) -> None:
        """Send bytes; there are no descriptors to send."""
        assert not fds
        await self.stream.send_all(data)

    async def receive(self) -> bytes:
        """Bytes from the server; b"" when it closed the connection, in whatever way."""
        with trio.fail_after(wire.PATIENCE):
            try:
                return bytes(await self.stream.receive_some(65536))
            except trio.BrokenResourceError:
                return b""


async def over(sock: socket.socket | trio.socket.SocketType, trusted: str) -> Peer:
    """Shake hands on a connected socket."""
    if isinstance(sock, socket.socket):
        sock = trio.socket.from_stdlib_socket(sock)
    stream = trio.SSLStream(trio.SocketStream(sock), client_context(trusted), server_hostname=HOST)
    with trio.fail_after(wire.PATIENCE):
        await stream.do_handshake()
    return Peer(stream)


async def dial(port: int) -> trio.socket.SocketType:
    """A TCP connection to this host on which nothing was said."""
    sock = trio.socket.socket()
    try:
        await sock.connect((HOST, port))
    except OSError:
        sock.close()
        raise
    return sock


async def connect(port: int, trusted: str) -> Peer:
    """A TCP connection to this host, after the handshake."""
    return await over(await dial(port), trusted)

"""An adapter between a port and two pipes at work, and both its ends in the hands of a test."""

from __future__ import annotations

import os
import select
import socket
import struct
import threading

from tygerd.supervisor import ending, sockets

PATIENCE = 60.0


class Fixed:
    """A place that is known from the start."""

    def __init__(self, *addresses: sockets.Address, ends: int = -1) -> None:
        self.ends = ends
        self.addresses = addresses
        self.looked = threading.Event()

    def look(self) -> tuple[sockets.Address, ...]:
        self.looked.set()
        return self.addresses

    def life(self) -> int:
        return self.ends


class Joined:
    """An adapter at work, main's end of the connection, and the transfers' ends of the pipes."""

    def __init__(self, directory, place, *, takes=True, gives=True) -> None:
        self.end = ending.Ending()
        self.input, self.output = (str(directory / name) for name in ("in", "out"))
        self.source = self.sink = -1
        self.closed = False
        for path in (self.input, self.output):
            os.mkfifo(path)
        if gives:
            self.sink = os.open(self.output, os.O_RDONLY | os.O_NONBLOCK)
            os.set_blocking(self.sink, True)
        files = sockets.Files(self.input if takes else None, self.output if gives else None)
        self.adapter = sockets.Adapter(8080, place, files, self.end)
        self.adapter.start()

    def send(self, data: bytes) -> None:
        """Into the input's pipe, as the transfer does."""
        if self.source < 0:
            self.source = os.open(self.input, os.O_WRONLY)
        view = memoryview(data)
        while view:
            view = view[os.write(self.source, view) :]

    def finish(self) -> None:
        self.send(b"")
        os.close(self.source)
        self.source = -1

    def some(self) -> bytes:
        """What comes next from the output's pipe."""
        assert select.select([self.sink], [], [], PATIENCE)[0], "nobody opened the output"
        return os.read(self.sink, 1 << 20)

    def received(self) -> bytes:
        """From the output's pipe, up to its end."""
        content = bytearray()
        while piece := self.some():
            content += piece
        return bytes(content)

    def result(self) -> tuple[str, str | None]:
        self.adapter.join(PATIENCE)
        assert self.adapter.ended
        return self.adapter.state, self.end.result()[1]

    def main_ended(self, code: int = 0) -> None:
        self.end.exited(code, f"Main exited with code {code}" if code else None)
        self.adapter.release()

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        if self.adapter.is_alive():
            self.adapter.stop.request("the test is over")
            self.adapter.join(PATIENCE)
        self.adapter.close()
        for fd in (self.source, self.sink):
            if fd >= 0:
                os.close(fd)
        self.end.close()


def accept(listener) -> socket.socket:
    """The connection that an adapter makes."""
    connection, _ = listener.accept()
    connection.settimeout(PATIENCE)
    return connection


def everything(connection) -> bytes:
    """All that comes, to the end."""
    content = bytearray()
    while piece := connection.recv(1 << 20):
        content += piece
    return bytes(content)


def reset(connection) -> None:
    """Close with RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()

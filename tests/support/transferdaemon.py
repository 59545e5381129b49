"""A little daemon that speaks only transfers, from memory: what a supervisor needs on the other end.

It is a thread per connection with plain sockets, so the supervisor's client code is tested as it is.
"""

from __future__ import annotations

import array
import json
import os
import shutil
import socket
import tempfile
import threading
from typing import Self
from urllib.parse import parse_qs, urlsplit


class TransferDaemon:
    """Use as a context manager. `buffers` maps ids to their content; `outcomes` to what became of writes.

    `unread` are the ids of ephemeral buffers for which no reader comes.
    """

    def __init__(self) -> None:
        self.directory = tempfile.mkdtemp(prefix="tyger-")
        self.socket = os.path.join(self.directory, "s")
        self.buffers: dict[str, bytes] = {}
        self.unread: set[str] = set()
        self.refused: dict[str, str] = {}
        self.truncated: dict[str, str] = {}
        self.outcomes: dict[str, tuple[str, str | None]] = {}
        self.written: dict[str, bytes] = {}
        self.transfers: dict[str, tuple[str, threading.Event]] = {}
        self._changed = threading.Condition()
        self._listener = socket.socket(socket.AF_UNIX)
        self._threads: list[threading.Thread] = []
        self._connections: list[socket.socket] = []

    def __enter__(self) -> Self:
        self._listener.bind(self.socket)
        self._listener.listen(50)
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        for connection in self._connections:
            connection.close()
        for thread in self._threads:
            thread.join()
        self._listener.close()
        shutil.rmtree(self.directory)

    def wait_for_end(self, buffer: str) -> None:
        """Until the writer of `buffer` has closed its pipe."""
        self._wait_for(self.written, buffer)

    def wait_for_outcome(self, buffer: str) -> None:
        """Until the client has said how that writer ended."""
        self._wait_for(self.outcomes, buffer)

    def _wait_for(self, table: dict, buffer: str) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: buffer in table, 60)

    def _note(self, table: dict, buffer: str, value: object) -> None:
        with self._changed:
            table[buffer] = value
            self._changed.notify_all()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        with sock:
            data, fds = b"", []
            while b"\r\n\r\n" not in data:
                piece, ancillary, _, _ = sock.recvmsg(65536, 1024)
                if not piece:
                    return
                data += piece
                for _, _, payload in ancillary:
                    numbers = array.array("i")
                    numbers.frombytes(payload)
                    fds += list(numbers)
            head, body = data.split(b"\r\n\r\n", 1)
            lines = head.decode().split("\r\n")
            method, target, _ = lines[0].split(" ")
            headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:])}
            while len(body) < int(headers.get("content-length", "0")):
                body += sock.recv(65536)
            url = urlsplit(target)
            try:
                self._answer(sock, method, url.path, parse_qs(url.query), json.loads(body or b"null"), fds)
            except OSError:
                pass  # the peer went away
            finally:
                for fd in fds:
                    os.close(fd)

    def _answer(self, sock, method, path, query, body, fds) -> None:
        parts = path.strip("/").split("/")
        if method == "GET" and parts[:2] == ["transfers", "read"]:
            self._read(sock, parts[2], int(query["offset"][0]))
        elif method == "POST" and parts == ["transfers"]:
            self._write(sock, body, fds[0])
        elif method == "POST" and parts[0] == "relays" and parts[2] == "write":
            self._write(sock, {"buffer": parts[1], "id": parts[1]}, fds[0])
        elif method == "POST" and parts[0] == "relays" and parts[2] == "read":
            self._fill(sock, parts[1], fds)
        elif method == "POST" and parts[2:] == ["outcome"] and parts[1] in self.transfers:
            buffer, event = self.transfers[parts[1]]
            self._note(self.outcomes, buffer, (body["outcome"], body.get("reason")))
            event.set()
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        else:
            self._error(sock, 404, "NotFound", "The resource was not found")

    def _error(self, sock, status, code, message) -> None:
        data = json.dumps({"error": {"code": code, "message": message}}).encode()
        sock.sendall(f"HTTP/1.1 {status} X\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data)

    def _read(self, sock, buffer, offset) -> None:
        if buffer not in self.buffers:
            self._error(sock, 404, "NotFound", "The resource was not found")
            return
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        data = self.buffers[buffer][offset:]
        for start in range(0, len(data), 1 << 20):
            chunk = data[start : start + (1 << 20)]
            sock.sendall(b"%x\r\n" % len(chunk) + chunk + b"\r\n")
        trailer = (
            f"Tyger-Error: BufferFailed: {self.truncated[buffer]}\r\n" if buffer in self.truncated else ""
        )
        sock.sendall(f"0\r\n{trailer}\r\n".encode())

    def _write(self, sock, body, fd) -> None:
        buffer = body["buffer"]
        if buffer in self.refused:
            self._error(sock, 409, "Conflict", self.refused[buffer])
            return
        event = threading.Event()
        self.transfers[body["id"]] = (buffer, event)
        sock.sendall(b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n")
        self._event(sock, {"event": "attached"})
        if buffer in self.unread:
            sock.recv(1)  # until the client goes
            return
        content = bytearray()
        os.set_blocking(fd, True)
        while piece := os.read(fd, 1 << 20):
            content += piece
        self._note(self.written, buffer, bytes(content))
        self._event(sock, {"event": "eof", "bytes": len(content)})
        event.wait()
        outcome, reason = self.outcomes[buffer]
        self._event(sock, {"event": outcome, "bytes": len(content), "blocks": 1, "reason": reason})
        sock.sendall(b"0\r\n\r\n")

    def _fill(self, sock, buffer, fds) -> None:
        """The reader of an ephemeral buffer gets all of it."""
        sock.sendall(b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n")
        self._event(sock, {"event": "attached"})
        self._event(sock, {"event": "joined"})
        with open(fds.pop(), "wb") as pipe:
            pipe.write(self.buffers[buffer])
        self._event(sock, {"event": "complete", "bytes": len(self.buffers[buffer])})
        sock.sendall(b"0\r\n\r\n")

    def _event(self, sock, event) -> None:
        data = json.dumps(event).encode() + b"\n"
        sock.sendall(b"%x\r\n" % len(data) + data + b"\r\n")

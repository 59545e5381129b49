"""An HTTP proxy, small and complete: whole requests and CONNECT, a password, refusals.

Whatever host is asked for, it leads to the port of `where`: names that nobody can look up will do.
"""

import base64
import contextlib
import socket
import socketserver
import threading


class WebProxy:
    """`password` is `name:secret`; `refusal` is a status with which every CONNECT is answered."""

    def __init__(self, port, *, password=None, refusal=None):
        self.to = ("127.0.0.1", port)
        self.authorization = password and b"Basic " + base64.b64encode(password.encode())
        self.refusal = refusal
        self.asked = []
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.owner = self
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer_to(self, line, headers):
        """The refusal of a request, None for none."""
        self.asked.append(line)
        if self.authorization and headers.get(b"proxy-authorization") != self.authorization:
            return b"407 Proxy Authentication Required"
        if self.refusal and line.startswith("CONNECT"):
            return b"%d No" % self.refusal
        return None


class _Handler(socketserver.StreamRequestHandler):
    def handle(self):
        with contextlib.suppress(ConnectionError, ValueError):
            self._handle()

    def _handle(self):
        line = self.rfile.readline().decode().strip()
        headers = {}
        while raw := self.rfile.readline().strip():
            name, _, value = raw.partition(b":")
            headers[name.lower()] = value.strip()
        if refusal := self.server.owner.answer_to(line, headers):
            self.wfile.write(b"HTTP/1.1 %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % refusal)
            return
        method, target, version = line.split()
        with socket.create_connection(self.server.owner.to) as through:
            if method == "CONNECT":
                self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                assert target.startswith("http://"), target
                path = "/" + target[7:].partition("/")[2]
                names = [b"%s: %s" % item for item in headers.items() if not item[0].startswith(b"proxy-")]
                head = [f"{method} {path} {version}".encode(), *names, b"Connection: close", b"", b""]
                through.sendall(b"\r\n".join(head))
            back = threading.Thread(target=_copy, args=(through.recv, self.wfile.write, self.connection))
            back.start()
            _copy(self.rfile.read1, through.sendall, through)
            back.join()


def _copy(read, write, to):
    with contextlib.suppress(OSError, ValueError):
        while data := read(65536):
            write(data)
    with contextlib.suppress(OSError):
        to.shutdown(socket.SHUT_WR)

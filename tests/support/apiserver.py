"""An API server whose answers a test decides: for what a real one does not do at the right moment.

with apiserver.ApiServer(certificate) as server:
    server.answers["GET /version"] = [apiserver.status(503, "not yet"), {"gitVersion": "v1"}]
    ... server.url, server.seen

An answer is a table, a `Reply`, or a function of the request that gives one of them; the last of a list
stays, and None is a connection that is closed.
"""

import contextlib
import http.server
import json
import ssl
import threading
from dataclasses import dataclass, field


@dataclass
class Reply:
    """`body` is bytes, or pieces of it, which are sent as chunks; `cut` leaves out the last, empty chunk."""

    code: int = 200
    body: object = b""
    headers: dict = field(default_factory=dict)
    cut: bool = False


@dataclass
class Request:
    """`peer` is the common name of the client's certificate."""

    method: str
    path: str
    headers: object
    body: bytes
    peer: str | None


def status(code, message, *, reason="", headers=(), **more):
    """A failure as Kubernetes says it."""
    body = {"kind": "Status", "status": "Failure", "message": message, "reason": reason, "code": code, **more}
    return Reply(code, json.dumps(body).encode(), dict(headers))


class ApiServer:
    """Listens on a port of 127.0.0.1 with `certificate`, else with http. `clients` is their authority."""

    def __init__(self, certificate=None, *, clients=None):
        self.answers = {}
        self.seen = []
        self.connections = 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                outer.connections += 1
                super().setup()

            def handle(self):
                with contextlib.suppress(OSError):  # the client has gone
                    super().handle()

            def answer(self):
                size = int(self.headers.get("Content-Length") or 0)
                peer = None
                if isinstance(self.connection, ssl.SSLSocket) and (shown := self.connection.getpeercert()):
                    peer = dict(pair[0] for pair in shown["subject"])["commonName"]
                request = Request(self.command, self.path, self.headers, self.rfile.read(size), peer)
                outer.seen.append(request)
                self.reply(outer.next(request))

            do_GET = do_POST = do_DELETE = do_PATCH = answer  # noqa: N815 - the library's names

            def reply(self, reply):
                if reply is None:  # nothing at all
                    self.close_connection = True
                    return
                self.send_response(reply.code)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if isinstance(reply.body, bytes):
                    self.send_header("Content-Length", str(len(reply.body)))
                    self.end_headers()
                    self.wfile.write(reply.body)
                    return
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for piece in reply.body:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                if reply.cut:
                    self.close_connection = True
                else:
                    self.wfile.write(b"0\r\n\r\n")

            def log_message(self, *arguments):
                """Nothing is logged."""

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                """A handshake that failed is what some tests are about."""

            def finish_request(self, request, client_address):
                if certificate is None:
                    super().finish_request(request, client_address)
                    return
                with outer.context.wrap_socket(request, server_side=True) as encrypted:
                    super().finish_request(encrypted, client_address)

        if certificate is not None:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(certificate)
            if clients is not None:
                self.context.load_verify_locations(clients)
                self.context.verify_mode = ssl.CERT_OPTIONAL
        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self.url = f"{'http' if certificate is None else 'https'}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def next(self, request):
        """What is answered; by the path without its query, or by all of it."""
        for key in (f"{request.method} {request.path}", f"{request.method} {request.path.partition('?')[0]}"):
            if key in self.answers:
                found = self.answers[key]
                break
        else:
            return status(404, "the server could not find the requested resource", reason="NotFound")
        if isinstance(found, list):
            found = found.pop(0) if len(found) > 1 else found[0]
        if callable(found):
            found = found(request)
        return Reply(200, json.dumps(found).encode()) if isinstance(found, dict) else found

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

"""An API server that knows one pod and nothing else: for the pump, which asks how its main has ended.

with podapi.PodApi(tmp_path) as api:
    api.main = 0            # main has ended with this code
    podfate.Own(api.environ, api.directory)
"""

import http.server
import json
import threading

from tests.support import certificates


class PodApi:
    """`main` is the exit code of the pod's main container, None while it runs.

    `more` is merged into the pod's status; `refusals` are the statuses of the next answers. Who does not
    bring `token` is refused with 401. On the first `silent` connections nothing is said, not even for TLS.
    """

    def __init__(self, directory):
        self.main = None
        self.deleted = False
        self.more = {}
        self.refusals = []
        self.asked = 0
        self.silent = 0
        self.connections = 0
        self.closing = threading.Event()
        self.token = "secret"
        self.directory = str(directory)
        certificate = certificates.make(directory)
        (directory / "ca.crt").write_bytes((directory / "cert.pem").read_bytes())
        (directory / "token").write_text(self.token + "\n")
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.api = self
        self._server.socket = certificates.server_context(certificate).wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def environ(self):
        return {
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(self._server.server_address[1]),
            "POD_NAMESPACE": "ns",
            "POD_NAME": "run-7-job-0",
        }

    def pod(self):
        ended = self.main is not None
        state = {"terminated": {"exitCode": self.main, "reason": "x"}} if ended else {"running": {}}
        metadata = {"name": "run-7-job-0"}
        if self.deleted:
            metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        status = {"phase": "Running", "containerStatuses": [{"name": "main", "state": state}]}
        return {
            "kind": "Pod",
            "metadata": metadata,
            "spec": {"activeDeadlineSeconds": 600},
            "status": status | self.more,
        }


class _Handler(http.server.BaseHTTPRequestHandler):
    def handle(self):
        api = self.server.api
        api.connections += 1
        if api.connections <= api.silent:
            api.closing.wait()
        else:
            super().handle()

    def do_GET(self):
        api = self.server.api
        api.asked += 1
        status, body = 200, api.pod()
        if self.headers["Authorization"] != f"Bearer {api.token}":
            status = 401
        elif self.path != "/api/v1/namespaces/ns/pods/run-7-job-0":
            status = 404
        elif api.refusals:
            status = api.refusals.pop(0)
        if status != 200:
            body = {"kind": "Status", "code": status, "message": f"it said {status}"}
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass

"""Microsoft Entra ID, as far as a daemon needs it: one tenant, one application, tokens that Azurite takes.

with entra.Entra(certificate) as server:
    server.refusal = entra.EXPIRED_SECRET
    ... authority = server.authority
"""

import base64
import http.server
import json
import threading
from urllib.parse import parse_qs

from tests.support import certificates
from tygerd import clock

TENANT = "ab1f708d-50f6-404c-a006-d71b2ac7a606"  # Azurite looks for an issuer of the right form
CLIENT = "11111111-2222-3333-4444-555555555555"
SECRET = "the-secrets-value"

_TAIL = " Trace ID: 0a-0b Correlation ID: 0c-0d Timestamp: 2026-01-01 00:00:00Z"
UNKNOWN_TENANT = (
    "AADSTS90002: Tenant '{}' not found. Check to make sure you have the correct tenant ID." + _TAIL
)
UNKNOWN_CLIENT = "AADSTS700016: Application with identifier '{}' was not found in the directory." + _TAIL
WRONG_SECRET = (
    "AADSTS7000215: Invalid client secret provided. Ensure the secret being sent is its value." + _TAIL
)
EXPIRED_SECRET = "AADSTS7000222: The provided client secret keys for app are expired." + _TAIL


def token(lifetime=3599):
    """What Azure Storage takes; without a signature, which Azurite does not look at."""
    now = int(clock.now().timestamp())
    claims = {
        "aud": "https://storage.azure.com",
        "iss": f"https://sts.windows.net/{TENANT}/",
        "iat": now,
        "nbf": now - 5,
        "exp": now + lifetime,
        "oid": "11111111-1111-1111-1111-111111111111",
        "tid": TENANT,
    }
    parts = ({"alg": "none", "typ": "JWT"}, claims)
    return (
        ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
        + ".c2ln"
    )


class Entra:
    """Listens on a port of 127.0.0.1 with `certificate` (`certificates.make`).

    `asked` counts requests for tokens, `refusal` is said instead of one, with `status`; `assertions` has the
    client assertions that it was shown.
    """

    def __init__(self, certificate):
        self.refusal = None
        self.status = 401
        self.asked = 0
        self.assertions = []
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.owner = self
        context = certificates.server_context(certificate)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.authority = f"https://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        owner = self.server.owner
        tenant = self.path.strip("/").partition("/")[0]
        if tenant != TENANT:
            self._answer(400, {"error": "invalid_tenant", "error_description": UNKNOWN_TENANT.format(tenant)})
            return
        base = f"{owner.authority}/{tenant}"
        self._answer(
            200,
            {
                "issuer": f"{base}/v2.0",
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "token_endpoint": f"{base}/oauth2/v2.0/token",
            },
        )

    def do_POST(self):
        owner = self.server.owner
        owner.asked += 1
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        values = {name: found[0] for name, found in form.items()}
        owner.assertions += form.get("client_assertion", [])
        refusal = owner.refusal
        if values["client_id"] != CLIENT:
            refusal = UNKNOWN_CLIENT.format(values["client_id"])
        elif values.get("client_secret", SECRET) != SECRET:
            refusal = WRONG_SECRET
        if refusal is not None:
            self._answer(owner.status, {"error": "invalid_client", "error_description": refusal})
            return
        self._answer(200, {"token_type": "Bearer", "expires_in": 3599, "access_token": token()})

    def _answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        """Nothing: pytest's stderr stays clean."""

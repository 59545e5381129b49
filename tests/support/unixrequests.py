"""Sessions of `requests` that reach a daemon through its Unix socket, for tools that make their requests so.

with unixrequests.session(d.socket) as session:
    session.get("http://tyger/metadata")

An answer that is a stream ends here when nothing has come for a moment: nobody else would end `/events`.
"""

from __future__ import annotations

import socket

import requests
import requests.adapters
import urllib3
import urllib3.connection
import urllib3.exceptions

PATIENCE = 60
"""Seconds until a test gives up on an answer."""

QUIET = 0.1
"""Seconds without a byte after which a stream counts as read."""


class _Connection(urllib3.connection.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("tyger", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(self._path)


class _Pool(urllib3.HTTPConnectionPool):
    def __init__(self, path: str) -> None:
        super().__init__("tyger")
        self._path = path

    def _new_conn(self) -> _Connection:
        return _Connection(self._path)


class Adapter(requests.adapters.HTTPAdapter):
    """Sends every request to the socket at `path`."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._pool = _Pool(path)

    def get_connection_with_tls_context(self, *_arguments: object, **_options: object) -> _Pool:
        """The one pool there is, whatever the URL says."""
        return self._pool

    def send(self, request: requests.PreparedRequest, **options: object) -> requests.Response:
        """Send it, and read the answer; `quiet` of the answer says whether a stream was left."""
        options |= {"stream": True, "timeout": PATIENCE}
        response = super().send(request, **options)  # type: ignore[arg-type]
        raw = response.raw
        response.quiet = False  # type: ignore[attr-defined]
        chunked = raw.headers.get("Transfer-Encoding") == "chunked"
        # One that announces JSON has a first line for whoever waits; others may have none.
        if chunked and not raw.headers.get("Content-Type", "").startswith("application/json"):
            raw.connection.sock.settimeout(QUIET)
        pieces = []
        try:
            for piece in raw.stream(65536):
                pieces.append(piece)
                if chunked:
                    raw.connection.sock.settimeout(QUIET)
        except urllib3.exceptions.ReadTimeoutError:
            response.quiet = True  # type: ignore[attr-defined]
            raw.close()
        else:
            raw.release_conn()
        response._content = b"".join(pieces)
        response._content_consumed = True
        return response

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()


def session(path: str) -> requests.Session:
    """A session whose `http://` is the socket at `path`."""
    made = requests.Session()
    made.trust_env = False
    made.mount("http://", Adapter(path))
    return made

"""Access URLs of the embedded store: what opens one container through our own data plane for a while.

Contract buffers.md 2.3 and 2.5. Signing only: how long a client may ask for is `buffers.access`' affair, and
what holds an access URL uses it through `stores.access`.
"""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import quote

from tyger import errors
from tygerd import clock
from tygerd.identity import sas


class LocalUrls:
    """Makes URLs for the data plane on the Unix socket at `socket`."""

    def __init__(self, signer: sas.Signer, socket: str) -> None:
        self._signer = signer
        self._socket = socket

    @property
    def endpoint(self) -> str:
        """The data plane's address as `storageEndpoints` shows it."""
        return f"http+unix://{quote(self._socket)}:/"

    def url(self, buffer_id: str, *, writeable: bool, ttl: timedelta) -> str:
        """A URL that reads, or creates and reads, from this second on for `ttl`.

        Raises Problem: CONFIG when no URL can name the socket.
        """
        if ":" in self._socket:
            raise errors.Problem(
                errors.CONFIG,
                f"the socket path {self._socket} contains a colon, so no access URL can name it;"
                " start tygerd with another --socket",
            )
        query = self._signer.query(buffer_id, "cr" if writeable else "r", clock.now(), ttl)
        return f"{self.endpoint}containers/{buffer_id}?{query}"

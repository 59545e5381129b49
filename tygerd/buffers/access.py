"""Access URLs: what lets a client of the data plane read or write one buffer for a while.

Contract buffers.md 2.3 and rest-api.md 4.10. Signing only; whether the buffer exists is the caller's check.
"""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import quote

from tyger import errors
from tygerd import clock
from tygerd.identity import sas

SHORTEST = timedelta(seconds=30)
LONGEST = timedelta(hours=1)


class AccessUrls:
    """Makes URLs for the data plane on the Unix socket at `socket`."""

    def __init__(self, signer: sas.Signer, socket: str) -> None:
        self._signer = signer
        self._socket = socket

    def endpoint(self) -> str:
        """The data plane's address as `storageEndpoints` shows it.

        Raises Problem: CONFIG when no URL can name the socket.
        """
        if ":" in self._socket:
            raise errors.Problem(
                errors.CONFIG,
                f"the socket path {self._socket} contains a colon, so no access URL can name it;"
                " start tygerd with another --socket",
            )
        return f"http+unix://{quote(self._socket)}:/"

    def url(self, buffer_id: str, *, writeable: bool, ttl: timedelta | None) -> str:
        """A URL that reads, or creates and reads, for `ttl` (default one hour).

        Raises Problem: INVALID_INPUT when `ttl` is out of range.
        """
        lifetime = LONGEST if ttl is None else ttl
        if lifetime < SHORTEST:
            raise errors.Problem(errors.INVALID_INPUT, "Access TTL must be at least 30 seconds.")
        if lifetime > LONGEST:
            raise errors.Problem(errors.INVALID_INPUT, "Access TTL must be less than or equal to 01:00:00.")
        query = self._signer.query(buffer_id, "cr" if writeable else "r", clock.now(), lifetime)
        return f"{self.endpoint()}containers/{buffer_id}?{query}"

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
    """Makes URLs for the data plane on the Unix socket at `socket`.

    `tcp` is where it can be reached from other machines, such as `https://host:8443`; None: nowhere.
    """

    def __init__(self, signer: sas.Signer, socket: str, tcp: str | None = None) -> None:
        self._signer = signer
        self._socket = socket
        self.tcp = tcp

    @property
    def endpoint(self) -> str:
        """The data plane's address as `storageEndpoints` shows it."""
        return f"http+unix://{quote(self._socket)}:/"

    def url(self, buffer_id: str, *, writeable: bool, ttl: timedelta) -> str:
        """A URL that reads, or creates and reads, from this second on for `ttl`.

        Raises Problem: CONFIG when no URL can name the socket.
        """
        return self._url(f"containers/{buffer_id}", buffer_id, writeable=writeable, ttl=ttl)

    def over_tcp(self, buffer_id: str, *, writeable: bool, ttl: timedelta) -> str:
        """The same for somebody on another machine.

        Raises Problem: CONFIG when the data plane cannot be reached from there.
        """
        if self.tcp is None:
            raise errors.Problem(
                errors.CONFIG,
                f"the buffer {buffer_id} is kept by tygerd itself, which other machines cannot reach:"
                " set listen in tygerd.toml, [store.local], or keep buffers in a storage account",
            )
        query = self._query(buffer_id, writeable=writeable, ttl=ttl)
        return f"{self.tcp}/containers/{buffer_id}?{query}"

    def relay(self, buffer_id: str, bare_id: str, *, writeable: bool, ttl: timedelta) -> str:
        """The same for an ephemeral buffer. Raises as `url`."""
        return f"{self._url(f'relays/{buffer_id}', bare_id, writeable=writeable, ttl=ttl)}&relay=true"

    def _url(self, path: str, container: str, *, writeable: bool, ttl: timedelta) -> str:
        if ":" in self._socket:
            raise errors.Problem(
                errors.CONFIG,
                f"the socket path {self._socket} contains a colon, so no access URL can name it;"
                " start tygerd with another --socket",
            )
        return f"{self.endpoint}{path}?{self._query(container, writeable=writeable, ttl=ttl)}"

    def _query(self, container: str, *, writeable: bool, ttl: timedelta) -> str:
        return self._signer.query(container, "cr" if writeable else "r", clock.now(), ttl)

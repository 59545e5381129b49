"""How Azure's libraries reach hosts: by our settings of the network, through requests.

A request whose connection ended before its answer is sent once more, on a new one: the connection may have
been closed, or forgotten by what stands in between, while it was idle. All that is asked here may be asked
twice. Imported only with them.
"""

from __future__ import annotations

import logging
import ssl
from typing import Any

import azure.core.pipeline.transport
import requests
import requests.adapters
import urllib3.exceptions
import urllib3.util

from tygerd.stores import access, network

for _name in ("azure", "msal", "urllib3"):
    # What fails is a Problem, and whoever gets it says it; they would log each request besides.
    logging.getLogger(_name).setLevel(logging.ERROR)

CONNECT_TIMEOUT, READ_TIMEOUT = 10, 30
"""Seconds. These requests are small, and somebody waits for them."""

CONNECTIONS = 16
"""That are kept open for each host."""


def transport(settings: network.Network, url: str) -> azure.core.pipeline.transport.RequestsTransport:
    """What requests to the host of `url` go through: our proxy and our certificates, no environment.

    Raises:
        Problem: CONFIG, the certificates to trust cannot be used.
    """
    session = requests.Session()
    session.trust_env = False
    adapter = _Adapter(settings.trust())
    for scheme in ("https://", "http://"):
        session.mount(scheme, adapter)
    if (proxy := settings.proxy_for(access.parse(url))) is not None:
        session.proxies = {"http": proxy.url, "https": proxy.url}
    return azure.core.pipeline.transport.RequestsTransport(
        session=session,
        use_env_settings=False,
        connection_timeout=CONNECT_TIMEOUT,
        read_timeout=READ_TIMEOUT,
    )


class _Adapter(requests.adapters.HTTPAdapter):
    """Judges certificates by our context, not by the list that comes with requests."""

    def __init__(self, trust: ssl.SSLContext) -> None:
        self._trust = trust
        never = urllib3.util.Retry(total=False, redirect=False, raise_on_status=False)
        super().__init__(pool_maxsize=CONNECTIONS, max_retries=never)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """See HTTPAdapter."""
        super().init_poolmanager(*args, **options, ssl_context=self._trust)

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
        """See HTTPAdapter."""
        return super().proxy_manager_for(*args, **options, ssl_context=self._trust)

    def send(self, *args: Any, **options: Any) -> requests.Response:
        """See HTTPAdapter."""
        try:
            return super().send(*args, **options)
        except requests.ConnectionError as error:
            if not _was_cut(error):
                raise
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            manager.clear()  # the others have been idle for longer
        return super().send(*args, **options)

    def cert_verify(self, *args: Any) -> None:
        """See HTTPAdapter, which would add the list."""


def _was_cut(error: requests.ConnectionError) -> bool:
    """Whether there was a connection; else it could not be made."""
    return bool(error.args) and isinstance(error.args[0], urllib3.exceptions.ProtocolError)

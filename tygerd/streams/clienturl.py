"""An access URL that a client gave for a write: kept beside the blocks until the client brings another.

The URL is a key to the whole buffer: it stands in a file of mode 0600 and is never logged.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import trio

from tyger import errors
from tygerd.osutil import durable
from tygerd.stores import access

FILE = "access"
"""In a spool container."""


class ClientUrl:
    """One write's access URL. `renewable` says that its client can bring another one.

    `ask` is called on the trio thread when one is needed.
    """

    def __init__(self, directory: str, url: str, *, renewable: bool, ask: Callable[[], None]) -> None:
        self.renewable = renewable
        self._directory = directory
        self._url = url
        self._ask = ask

    @classmethod
    def recall(cls, directory: str, ask: Callable[[], None]) -> ClientUrl:
        """The one that `remember` kept in a container's directory; blocking.

        Raises:
            Problem: IO_ERROR.
        """
        try:
            with open(os.path.join(directory, FILE), encoding="utf-8") as file:
                kept = json.load(file)
            return cls(directory, kept["url"], renewable=kept["renewable"], ask=ask)
        except (OSError, ValueError, KeyError, TypeError) as error:
            message = f"the access URL of the transfer cannot be read in its spool: {error}"
            raise errors.Problem(errors.IO_ERROR, message) from None

    def access(self) -> access.Access:
        """The way in, renewed by the client where it can."""
        return access.Access(access.parse(self._url), self._renewed if self.renewable else None)

    def replace(self, url: str) -> None:
        """Take another one for the same buffer.

        Raises:
            Problem: INVALID_INPUT, it leads elsewhere, or is none.
        """
        old, new = access.parse(self._url), access.parse(url)
        if old._replace(query="") != new._replace(query=""):
            raise errors.Problem(errors.INVALID_INPUT, "the new access URL leads to another buffer")
        self._url = url
        remember(self._directory, url, renewable=self.renewable)

    def _renewed(self) -> str:
        """For `access.Access`, in a worker thread: ask the client, and give what is there now."""
        trio.from_thread.run_sync(self._ask)
        return self._url


def remember(directory: str, url: str, *, renewable: bool) -> None:
    """Keep it in a container's directory; blocking."""
    kept = json.dumps({"url": url, "renewable": renewable}).encode()
    durable.replace(os.path.join(directory, FILE), kept, sync=True)

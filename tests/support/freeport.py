"""Ports of this host for servers that tests start, which nobody else gets meanwhile."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator


@contextlib.contextmanager
def freeport() -> Iterator[int]:
    """A port that a server with SO_REUSEADDR can listen on.

    It is bound, so that the kernel gives it to no other socket, and nobody listens on it.
    """
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]

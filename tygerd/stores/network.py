"""How hosts are reached: proxy, trusted certificates, patience with silence. Settings only, no I/O."""

from __future__ import annotations

from typing import NamedTuple


class Network(NamedTuple):
    """One for the daemon, from its configuration and environment."""

    proxy: str | None = None
    """URL of an HTTP proxy; None: as the environment says."""

    ca_file: str | None = None
    """PEM file of the authorities to trust in place of the system's."""

    silence: float = 30.0
    """Seconds without a sign of life after which a connection counts as dead, on a fast link."""

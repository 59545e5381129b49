"""What a write was asked to be, and what a write to a store elsewhere has besides its container."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal, NamedTuple

from tygerd.stores import link
from tygerd.streams import delivery

Outcome = Literal["complete", "failed"]
Admit = Callable[[int, Callable[[str | None], None]], Awaitable[None]]
"""Waits for room for so many bytes, and says why (see `spool.Spool.admit`)."""


class Settings(NamedTuple):
    """What a write was asked to be. Bytes, seconds."""

    id: str
    buffer: str
    block_size: int
    flush_interval: float
    owner: int
    run: int | None
    sync: bool
    started_at: int
    """Microseconds since 1970."""
    account: str = "local"
    location: str = "local"
    priority: link.Priority = "live"


class Shipping(NamedTuple):
    """What a write to a store elsewhere has besides its container."""

    delivery: delivery.Delivery
    admit: Admit

"""Which bytes of a stream a reader wants."""

from __future__ import annotations

from typing import NamedTuple


class Span(NamedTuple):
    """From byte `offset` on, `length` bytes at most (None: all); `follow` waits for what is not yet written.

    A reader that comes back may say that block `block` begins at byte `start`, which is at most `offset`, so
    that nobody has to look for it. It is believed: a wrong hint harms only who gave it.
    """

    offset: int = 0
    length: int | None = None
    follow: bool = True
    block: int = 0
    start: int = 0

"""Sending to those who watch: with patience, which has an end."""

from __future__ import annotations

import trio

from tyger import errors
from tygerd.http import messages

PATIENCE = 60.0
"""Seconds that a watcher may take to read what is sent to it, beyond the hundreds of lines that fit into its
socket. One that was stopped for so long asks again; one that never reads must not keep its connection."""


async def send(sink: messages.Sink, data: bytes, *, patience: float = PATIENCE) -> None:
    """Send a line; nothing is held for the watcher but this one, and it has `patience` seconds for it.

    Raises:
        Problem: TRY_AGAIN, it does not read; the stream is cut then.
    """
    with trio.move_on_after(patience) as waiting:
        await sink.send(data)
    if waiting.cancelled_caught:
        raise errors.Problem(errors.TRY_AGAIN, "the watcher does not read")

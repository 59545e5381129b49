"""News of what changed, for whoever listens: `GET /events`, and later other daemons on one catalog.

An event says that something changed, not what: the listener asks for it. Belongs to the trio thread. In
memory; a shared catalog will put LISTEN/NOTIFY behind the same two calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

import trio

BACKLOG = 1000
"""Events that a listener may be behind; one that is further behind is dropped."""

Kind = Literal["buffer", "run", "transfer"]


class Event(NamedTuple):
    """The object of this kind and id was created, changed or removed."""

    kind: Kind
    id: str


Announce = Callable[[Kind, str], None]
"""How a service says that an object of its has changed. Never blocks."""


def nobody(_kind: Kind, _id: str) -> None:
    """Announces to nobody."""


class Events:
    """Hands every event to every listener."""

    def __init__(self) -> None:
        self._listeners: set[trio.MemorySendChannel[Event]] = set()

    def announce(self, kind: Kind, id: str) -> None:  # noqa: A002 - the contract's word
        """Tell everybody who listens now. A listener that does not keep up gets the end of its channel."""
        for listener in list(self._listeners):
            try:
                listener.send_nowait(Event(kind, id))
            except trio.WouldBlock:
                self._listeners.discard(listener)
                listener.close()

    @contextmanager
    def listen(self) -> Iterator[trio.MemoryReceiveChannel[Event]]:
        """The events from now on. The channel ends when the listener was too slow."""
        send, receive = trio.open_memory_channel[Event](BACKLOG)
        self._listeners.add(send)
        try:
            with receive:
                yield receive
        finally:
            self._listeners.discard(send)
            send.close()

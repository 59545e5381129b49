"""What clients are told of a transfer while it goes on: the events of a write, and the lines of a watch.

The events are described in docs/design.md, "Transfers". Progress is told at most five times a second, and
only when there is news.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import trio

from tyger import errors
from tygerd.streams import states

INTERVAL = 0.2
"""Seconds between progress reports: five a second is as fast as a person reads."""

Report = Callable[[dict[str, Any]], Awaitable[None]]
"""Sends one event to the client."""


class Entry(Protocol):
    """A write, as far as it is reported (`write.Write`)."""

    state: states.State
    reason: str | None
    code: str | None
    bytes: int
    blocks: int
    needs_url: bool

    @property
    def remote(self) -> bool: ...  # noqa: D102 - see `write.Write`

    @property
    def shipped(self) -> int: ...  # noqa: D102

    @property
    def waiting(self) -> str | None: ...  # noqa: D102

    @property
    def changed(self) -> trio.Event: ...  # noqa: D102

    @property
    def moved(self) -> trio.Event: ...  # noqa: D102


async def follow(entry: Entry, report: Report) -> None:
    """Report the events of a write to the client that is attached to it, until it is over."""
    await report({"event": "attached"})
    sent: dict[str, Any] = {}
    told: set[str] = set()
    while not states.is_final(entry.state):
        changed, moved = entry.changed, entry.moved
        if not entry.needs_url:
            told.discard("renew")
        if fresh := [event for event in _news(entry) if event["event"] not in told]:
            told.update(event["event"] for event in fresh)
            for event in fresh:
                await report(event)
            continue
        now = progress(entry)
        if now == sent or entry.state is states.State.ENDED:
            await moved.wait()
            continue
        sent = now
        await report(now)
        with trio.move_on_after(INTERVAL):
            await changed.wait()
    await report(_end(entry))


def progress(entry: Entry) -> dict[str, Any]:
    """The event that says how far it is."""
    now: dict[str, Any] = {"event": "progress", "bytes": entry.bytes, "blocks": entry.blocks}
    if entry.remote:
        now["shipped"] = entry.shipped
    if waiting := entry.waiting:
        now["waiting"] = waiting
    return now


def _news(entry: Entry) -> list[dict[str, Any]]:
    """What the client has to be told once, and now."""
    news: list[dict[str, Any]] = []
    if entry.state is states.State.ENDED:
        news.append({"event": "eof", "bytes": entry.bytes})
    if entry.state is states.State.SPOOLED:
        news.append({"event": "spooled", "bytes": entry.bytes, "blocks": entry.blocks})
    if entry.needs_url:
        news.append({"event": "renew"})
    return news


def _end(entry: Entry) -> dict[str, Any]:
    if entry.state is states.State.COMPLETE:
        return {"event": "complete", "bytes": entry.bytes, "blocks": entry.blocks}
    code = {"code": entry.code} if entry.code else {}
    return {"event": "failed", "bytes": entry.bytes, "reason": entry.reason, **code}


def unstorable(error: OSError | errors.Problem) -> str:
    """Why a write has failed whose container could not be written."""
    words = error.strerror if isinstance(error, OSError) else str(error)
    return f"the daemon could not store the stream: {words}"

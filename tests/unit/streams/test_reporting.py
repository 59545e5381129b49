"""What a client hears of its write: each thing once, progress when there is some, and how it ended."""

import itertools
from dataclasses import dataclass, field

import trio

from tygerd.streams import reporting
from tygerd.streams.states import State


@dataclass
class Entry:
    """A write that a test moves."""

    state: State = State.RUNNING
    reason: str | None = None
    code: str | None = None
    bytes: int = 0
    blocks: int = 0
    needs_url: bool = False
    remote: bool = True
    shipped: int = 0
    waiting: str | None = None
    changed: trio.Event = field(default_factory=trio.Event)
    moved: trio.Event = field(default_factory=trio.Event)

    async def become(self, **values):
        """Change, ring, and let the reporter report."""
        changed = "state" in values or "needs_url" in values
        for name, value in values.items():
            setattr(self, name, value)
        if changed:
            self.changed.set()
            self.changed = trio.Event()
        self.moved.set()
        self.moved = trio.Event()
        await trio.sleep(1)


async def heard(steps, **start):
    """The events that a client hears while a write goes through `steps`."""
    entry, events = Entry(**start), []

    async def report(event):
        events.append(event)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reporting.follow, entry, report)
        await trio.sleep(1)
        for step in steps:
            await entry.become(**step)
    return events


async def test_a_write_from_beginning_to_end(autojump_clock):
    events = await heard(
        [
            {"bytes": 10, "blocks": 1},
            {"shipped": 10},
            {"state": State.ENDED},
            {"state": State.SPOOLED},
            {"state": State.COMPLETE},
        ]
    )
    assert events == [
        {"event": "attached"},
        {"event": "progress", "bytes": 0, "blocks": 0, "shipped": 0},
        {"event": "progress", "bytes": 10, "blocks": 1, "shipped": 0},
        {"event": "progress", "bytes": 10, "blocks": 1, "shipped": 10},
        {"event": "eof", "bytes": 10},
        {"event": "spooled", "bytes": 10, "blocks": 1},
        {"event": "complete", "bytes": 10, "blocks": 1},
    ]


async def test_in_the_embedded_store_nothing_is_shipped(autojump_clock):
    events = await heard([{"state": State.ENDED}, {"state": State.COMPLETE}], remote=False)
    assert events[1] == {"event": "progress", "bytes": 0, "blocks": 0}
    assert [event["event"] for event in events[2:]] == ["eof", "complete"]


async def test_why_it_waits_and_why_it_failed(autojump_clock):
    events = await heard(
        [
            {"waiting": "offline"},
            {"waiting": None},
            {"state": State.FAILED, "reason": "no", "code": "Forbidden"},
        ]
    )
    assert [event.get("waiting") for event in events[1:4]] == [None, "offline", None]
    assert events[-1] == {"event": "failed", "bytes": 0, "reason": "no", "code": "Forbidden"}


async def test_another_url_is_asked_for_once_each_time(autojump_clock):
    """Also while the rest is being shipped."""
    steps = [{"needs_url": True}, {"bytes": 1}, {"needs_url": False}, {"needs_url": True}]
    for state in (State.RUNNING, State.SPOOLED):
        events = await heard([*steps, {"state": State.FAILED}], state=state)
        assert [event["event"] for event in events].count("renew") == 2


async def test_progress_is_told_five_times_a_second_at_most(autojump_clock):
    entry, events = Entry(), []

    async def report(event):
        events.append((trio.current_time(), event))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reporting.follow, entry, report)
        for size in range(100):
            entry.bytes = size
            entry.moved.set()
            entry.moved = trio.Event()
            await trio.sleep(0.01)
        await entry.become(state=State.COMPLETE)
    times = [moment for moment, event in events if event["event"] == "progress"]
    assert 4 <= len(times) <= 7
    assert all(after - before >= reporting.INTERVAL - 1e-9 for before, after in itertools.pairwise(times))

"""How a transfer is doing, for people: log records, or one live line on a terminal (contract cli.md 4.7).

A `Meter` is called from the transfer's thread with bytes and what it waits for; it says little and seldom.
Nothing here prints by itself; `output` does.
"""

from __future__ import annotations

import math
import re
import threading
import time

from tyger import streams, units
from tyger.cli import output

RECORD_EVERY = 1.0
"""Seconds between `Transfer progress` records at least."""

REDRAW_EVERY = 0.2
"""Seconds between two states of the live line at least: as fast as one reads, slow enough to cost nothing."""

REPEAT_EVERY = 10.0
"""Seconds between two `Transfer waits` records of one kind at least: retries come and go several a second.
A wait that lasts is told once."""

NORMAL = frozenset({"its writer"})
"""What a reader waits for where nothing is wrong: shown on the live line, never a warning."""


_KIND = re.compile(r"[:0-9]")  # what differs from one retry to the next stands behind one of these


class Board:
    """The live line: named parts in the order they first came. Without a terminal it is never drawn."""

    def __init__(self, console: output.Console, *, drawn: bool) -> None:
        self.console = console
        self.drawn = drawn and console.has_live_line
        self._parts: dict[str, str] = {}
        self._lock = threading.Lock()

    def set(self, name: str, text: str) -> None:
        """Show `text` as this part."""
        if not self.drawn:
            return
        with self._lock:
            self._parts[name] = text
            line = "  ".join(part for part in self._parts.values() if part)
        self.console.live(line)

    def close(self) -> None:
        """Remove the line; parts set later are not shown."""
        self.drawn = False
        self.console.live("")


class Meter:
    """Measures one transfer. `label` names it on the live line, `values` are the fields of its records."""

    def __init__(self, board: Board, label: str, **values: object) -> None:
        self._board = board
        self._console = board.console
        self._label = label
        self._values = values
        self._created = time.monotonic()
        self._started: float | None = None
        self._recorded = self._created
        self._before = streams.Moved(0)
        self._drawn = 0.0
        self._rate = 0.0
        self._waits_for: str | None = None
        self._warned: tuple[str, float] = ("", -REPEAT_EVERY)

    def __call__(self, moved: streams.Moved) -> None:
        """Take note of how far it is. Called at any rate, from the transfer's thread."""
        now = time.monotonic()
        if self._started is None and moved.bytes:
            self._started = self._recorded = now
            self._console.log("info", "Transfer starting", **self._values)
        self._warn(moved.waiting if moved.waiting not in NORMAL else None, now)
        if self._started is not None and now - self._recorded >= RECORD_EVERY:
            self._record(moved, now)
        if now - self._drawn >= REDRAW_EVERY:
            self._drawn = now
            self._draw(moved)

    def _warn(self, waiting: str | None, now: float) -> None:
        """One record when it begins to wait, or waits for something of another kind."""
        kind = None if waiting is None else kind_of(waiting)
        if kind is not None and kind != self._waits_for:
            warned, at = self._warned
            if kind != warned or now - at >= REPEAT_EVERY:
                self._warned = (kind, now)
                self._console.log("warn", "Transfer waits", reason=waiting, **self._values)
        self._waits_for = kind

    def _record(self, moved: streams.Moved, now: float) -> None:
        """One record of what has changed, and how fast; nothing where nothing has."""
        came, went = moved.bytes - self._before.bytes, (moved.shipped or 0) - (self._before.shipped or 0)
        if not came and went <= 0:
            return
        self._rate = (came or went) / (now - self._recorded)
        self._recorded, self._before = now, moved
        if not self._board.drawn:
            shipped = {} if moved.shipped is None else {"shippedData": binary(moved.shipped)}
            self._console.log(
                "info",
                "Transfer progress",
                throughput=bits(self._rate),
                totalCompletedData=binary(moved.bytes),
                **shipped,
                **self._values,
            )

    def _draw(self, moved: streams.Moved) -> None:
        parts = [self._label, binary(moved.bytes), bits(self._rate)]
        if moved.shipped is not None:
            parts.append(f"shipped {binary(moved.shipped)}")
        if moved.waiting:
            parts.append(f"waits: {moved.waiting}")
        self._board.set(self._label, " ".join(parts))

    def complete(self, done: int, *, spooled_as: str | None = None) -> None:
        """The transfer is over, and well; `done` bytes. `spooled_as`: the daemon goes on, under this ID."""
        self(self._before._replace(bytes=done, waiting=None))
        now = time.monotonic()
        begun = self._created if self._started is None else self._started
        # A short transfer is reported once, at its end: then the first report says nothing about its speed.
        elapsed = now - (begun if now - begun >= REDRAW_EVERY else self._created)
        self._board.set(self._label, f"{self._label} {binary(done)} done")
        goes_on = {"transfer": spooled_as} if spooled_as else {}
        self._console.log(
            "info",
            "Transfer detached" if spooled_as else "Transfer complete",
            avgThroughput=bits(done / elapsed if elapsed else 0.0),
            elapsed=units.format_duration(round(elapsed, 3)),
            totalCompletedData=binary(done),
            **goes_on,
            **self._values,
        )


def kind_of(waiting: str) -> str:
    """What one reason to wait has in common with the next of its kind: its words before the details."""
    return _KIND.split(waiting, maxsplit=1)[0]


def binary(count: float) -> str:
    """Bytes in powers of 1024, as `3.4GiB`."""
    return _scaled(count, 1024, ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"))


def bits(rate: float) -> str:
    """Bytes a second as decimal bits a second, as `1.2Gbps`."""
    return _scaled(8 * rate, 1000, ("bps", "kbps", "Mbps", "Gbps", "Tbps", "Pbps"))


def _scaled(value: float, base: int, names: tuple[str, ...]) -> str:
    power = 0
    while value >= base and power + 1 < len(names):
        value /= base
        power += 1
    value = math.floor(value * 10 + 0.5) / 10  # as the original rounds, first to a tenth
    return f"{value:.1f}{names[power]}" if power and value < 10 else f"{value:.0f}{names[power]}"

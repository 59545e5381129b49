"""The log of a system run: lines of JSON as the original's copier writes them, in a run's log file.

A line is `{"level": ..., <fields>, "time": ..., "message": ...}`; `tyger` prints it as one of its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Literal

from tyger import units
from tygerd import clock
from tygerd.supervisor import log as records

Level = Literal["info", "warn", "error"]


class Journal:
    """Appends to the log at `path`; `on_growth` is told its size. To be closed by its owner."""

    def __init__(self, path: str, on_growth: Callable[[int], None] = lambda _: None) -> None:
        self._file = records.LogFile(path)
        self._lines = records.Lines(b"E")
        self._on_growth = on_growth

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._file.size

    def write(self, level: Level, message: str, **fields: Any) -> None:
        """Log one line. Small and into the page cache: it is not worth a thread."""
        now = clock.now()
        line = {"level": level, **fields, "time": units.format_timestamp(now), "message": message}
        if self._file.blocked:  # the disk was full
            self._file.flush()
        nanoseconds = units.to_micros(now) * 1000
        self._file.append(
            self._lines.feed(json.dumps(line, separators=(",", ":")).encode() + b"\n", nanoseconds)
        )
        self._on_growth(self._file.size)

    def close(self) -> None:
        """Close the file."""
        if self._file.blocked:
            self._file.flush()
        self._file.close()

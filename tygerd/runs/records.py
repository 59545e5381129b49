"""From the records of a log (`supervisor.log`) to the lines that the API sends, rest-api.md section 10. Pure.

A line is `[<timestamp> ][<prefix> ]text`. A stream's last line may lack its newline; that shows only where
nothing follows it.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from tyger import units

PREFIX = b"[main] "
"""Of the lines of a run with buffers: the original tells main from its side containers there."""

_FRACTION = re.compile(r"[.,](\d+)")


class Options(NamedTuple):
    """What a reader asks for. `since` is a `moment`; `tail` the number of last lines, None for all."""

    timestamps: bool = False
    tail: int | None = None
    since: bytes | None = None


def moment(text: str) -> bytes:
    """A timestamp as records write it, with all nine digits: a follower that comes back names its last line.

    Raises:
        Problem: it is not a timestamp.
    """
    parsed = units.parse_timestamp(text)
    fraction = match[1] if (match := _FRACTION.search(text)) else ""
    seconds = units.format_timestamp(parsed.replace(microsecond=0)).partition("+")[0]
    return f"{seconds}.{fraction[:9]:0<9}Z".encode()


def count(records: bytes, since: bytes | None) -> int:
    """How many of these whole records are later than `since`."""
    if since is None:
        return records.count(b"\n")
    return sum(_is_later(record, since) for record in records.splitlines(keepends=True))


class Formatter:
    """Turns the records of one file into lines, in pieces. `skip` records that pass are left out at first."""

    def __init__(self, options: Options, *, prefix: bytes, skip: int = 0) -> None:
        self._options = options
        self._prefix = prefix
        self._skip = skip
        self._rest = b""
        self._newline_due = False

    def feed(self, data: bytes) -> bytes:
        """The lines of the records that `data` completes."""
        *records, self._rest = (self._rest + data).split(b"\n")
        return b"".join(self._line(record) for record in records if self._passes(record))

    def _passes(self, record: bytes) -> bool:
        if self._options.since is not None and not _is_later(record, self._options.since):
            return False
        if self._skip:
            self._skip -= 1
            return False
        return True

    def _line(self, record: bytes) -> bytes:
        time, stream, text = record.split(b" ", 2)
        before = b"\n" if self._newline_due else b""
        self._newline_due = stream.islower()
        after = b"" if self._newline_due else b"\n"
        stamp = time + b" " if self._options.timestamps else b""
        return before + stamp + self._prefix + text + after


def _is_later(record: bytes, since: bytes) -> bool:
    # The form is fixed, so the order of texts is the order of moments.
    return record[: len(since)] > since

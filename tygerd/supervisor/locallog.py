"""A container's output out of the log that Docker's driver `local` has of it.

That driver keeps a line of 16 KiB or more as several entries, and gives them back without the newline that
ended the line; where only the newline was left for the last of them, it gives nothing. Asked for times, too,
it gives every entry behind its time and a space, and those of one line have the same time. So a newline is
missing where an entry ends without one and the next of its stream has another time. Where none is missing
(Docker may mend this some day), none is put in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

Entry = tuple[int, bytes]
"""The stream, and what the log has of it."""


class _Unfinished(NamedTuple):
    """An entry without a newline at its end. `last`: it is shorter than one before it of the same line."""

    stamp: bytes
    size: int
    last: bool


def printed(arrived: Iterable[list[Entry]], *, whole: bool) -> Iterator[Entry]:
    """What was printed, out of entries with their times; those of one list together, as far as they can be.

    Of the last entry of a long line nothing tells whether the log ends behind it with a newline or without.
    `whole`: who reads this has all of the output already, and knows. Otherwise most lines do have one.
    """
    unfinished: dict[int, _Unfinished] = {}
    for entries in arrived:
        stream, together = 0, list[bytes]()
        for new, entry in entries:
            stamp, _, text = entry.partition(b" ")
            if new != stream and together:
                yield stream, b"".join(together)
                together = []
            stream = new
            before = unfinished.pop(stream, None)
            if before is not None and before.stamp != stamp:
                together.append(b"\n")
                before = None
            together.append(text)
            if not text.endswith(b"\n"):
                last = before is not None and len(text) < before.size
                unfinished[stream] = _Unfinished(stamp, len(text), last)
        if together:
            yield stream, b"".join(together)
    for stream, end in unfinished.items():
        if end.last and not whole:
            yield stream, b"\n"

"""Docker's log of a container as its driver `local` keeps it and gives it back, without some newlines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

PART = 16 * 1024
"""Bytes of a line in one entry, at most."""


class Kept:
    """One stream's entries. Pure: `number` tells each time in a log from all others."""

    def __init__(self, number: Iterator[int]) -> None:
        self._number = number
        self._rest = b""
        self._stamp: bytes | None = None
        """The time of the line whose first parts are entries already."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The entries that these bytes complete, each behind its time."""
        self._rest += data
        while True:
            line, newline, rest = self._rest.partition(b"\n")
            if newline and len(line) < PART:
                yield self._take() + line + (b"" if self._stamp else b"\n")
                self._stamp, self._rest = None, rest
            elif len(line) >= PART:
                self._stamp = self._take()
                yield self._stamp + self._rest[:PART]
                self._rest = self._rest[PART:]
            else:
                return

    def end(self) -> Iterator[bytes]:
        """The entry of what has no newline behind it."""
        if self._rest:
            yield self._take() + self._rest

    def _take(self) -> bytes:
        return self._stamp or b"2026-01-01T00:00:00.%09dZ " % next(self._number)


def entries(frames: Iterable[bytes], number: Iterator[int]) -> Iterator[tuple[int, bytes]]:
    """The entries of a container's output, given as the frames in which it was printed."""
    kept: dict[int, Kept] = {}
    for frame in frames:
        stream = kept.setdefault(frame[0], Kept(number))
        yield from ((frame[0], entry) for entry in stream.feed(frame[8:]))
    for which, stream in kept.items():
        yield from ((which, entry) for entry in stream.end())


def answered(given: Iterable[tuple[int, bytes]], *, stamps: bool) -> Iterator[bytes]:
    """Those entries as frames of an answer, in which without times an empty one is not."""
    for stream, stamped in given:
        entry = stamped if stamps else stamped.partition(b" ")[2]
        if entry:
            yield frame(entry, stream)


def frame(data: bytes, stream: int = 1) -> bytes:
    """Output as the API frames it."""
    return bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data

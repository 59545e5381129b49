"""What the kubelet sends of a container's log, cut into lines, and where to go on after a break. Pure.

A line comes as `<RFC 3339 time> <text>` (the log endpoint with `timestamps`). The runtime cuts long lines
into pieces of some 16 KiB, each with a time of its own, and the kubelet joins them: only the first one's time
is sent. `sinceTime` counts in whole seconds, and leaves out pieces that are older. So an answer may begin
with lines that were sent before, or in the middle of a long one, which then has no time in front.

Theory of operation. Of each of the last seconds in which the container printed, a `Position` has the number
of lines that were taken and the time of the first. A new answer is asked for from a second before the last
line on. In there, of each second so many lines are left out, whatever their order; where the first one is
another than it was, the file has been rotated since, and what is left out is what is not later than the last
line. Text without a time is never the container's: it is the kubelet's word for why it can send no more.
"""

from __future__ import annotations

import calendar
import re
import time
from typing import NamedTuple

from tyger import errors, units
from tygerd.supervisor import log

KEPT_SECONDS = 16
"""Seconds with output that are remembered: one would do if the clock of a node was never set back."""

_OVERLAP = 1
"""Seconds: two threads of the runtime give the two streams' lines their times, so that the order of lines and
that of times differ a little."""

_SECOND = 1_000_000_000

_STAMP = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")


class Line(NamedTuple):
    """A line, or a part of one that is too long to be held: its time in nanoseconds, and its bytes.

    `whole` is False where the container ended without a newline behind it.
    """

    nanoseconds: int
    text: bytes | bytearray
    whole: bool = True


class Second(NamedTuple):
    """The lines that were taken of one second: how many, and the nanoseconds since the epoch of the first."""

    size: int
    first: int


class Position:
    """How far one container's log was taken.

    `taken` are the bytes that were taken of the line behind, whose end has not come yet.
    """

    def __init__(self) -> None:
        self.seconds: dict[int, Second] = {}
        self.last = 0
        self.taken = 0

    @property
    def since(self) -> int | None:
        """The second, since the epoch, from which on to ask for more; None: everything."""
        return self.last // _SECOND - _OVERLAP if self.seconds else None

    def advance(self, nanoseconds: int) -> None:
        """A line of this time was taken to its end."""
        second = nanoseconds // _SECOND
        seen = self.seconds.get(second)
        if seen is None:
            self.seconds[second] = Second(1, nanoseconds)
            while len(self.seconds) > KEPT_SECONDS:
                del self.seconds[next(iter(self.seconds))]
        else:
            self.seconds[second] = Second(seen.size + 1, seen.first)
        self.last = nanoseconds
        self.taken = 0

    def encode(self) -> list[object]:
        """In types of JSON."""
        return [self.last, self.taken, [[key, *value] for key, value in self.seconds.items()]]

    @classmethod
    def decode(cls, data: list[object]) -> Position:
        """What `encode` gave."""
        position = cls()
        match data:
            case [int(last), int(taken), list(seconds)]:
                position.last, position.taken = last, taken
                position.seconds = {key: Second(size, first) for key, size, first in seconds}
            case _:
                raise ValueError("no position in a log")
        return position


class Cutter:
    """Cuts one answer of the kubelet into lines, and leaves out what was taken. Advances the position.

    `strangers` are the first of the texts without a time.
    """

    def __init__(self, position: Position, *, limit: int = log.MAX_LINE) -> None:
        self._position = position
        self._limit = limit
        self._rest = bytearray()
        self._began = position.since is None
        since = position.since or 0
        self._skip = {key: value for key, value in position.seconds.items() if key >= since}
        self._met: set[int] = set()
        self._rotated: set[int] = set()
        self._until = position.last
        self._drop = position.taken
        self._open: int | None = None
        self._key = b""
        self._whole_second = 0
        self.strangers: list[str] = []

    def feed(self, data: bytes) -> list[Line]:
        """The lines that `data` completes."""
        self._rest += data
        found: list[Line] = []
        if b"\n" in data:
            *lines, rest = self._rest.split(b"\n")
            self._rest = rest
            for line in lines:
                self._line(line, found)
        if len(self._rest) > self._limit:
            self._pieces(found)
        return found

    def end(self, *, final: bool) -> list[Line]:
        """The answer has ended. Where that is the log's end, too, what has no newline is the last line."""
        found: list[Line] = []
        rest, self._rest = self._rest, bytearray()
        if rest and (final or (self._open is None and self._stamp(rest) is None)):
            self._line(rest, found, whole=False)
        return found

    def _pieces(self, found: list[Line]) -> None:
        """Take parts of a line that is too long, so that it need not be held."""
        if self._open is None:
            stamp = self._stamp(self._rest)
            if stamp is None or self._is_taken(stamp[0]):
                return  # it is to be dropped, once its end is here
            self._open, start = stamp
            del self._rest[:start]
            self._dropped()
        while len(self._rest) > self._limit:
            found.append(Line(self._open, bytes(self._rest[: self._limit])))
            self._position.taken += self._limit
            del self._rest[: self._limit]

    def _line(self, line: bytearray, found: list[Line], *, whole: bool = True) -> None:
        if self._open is not None:
            nanoseconds, self._open = self._open, None
            self._take(nanoseconds, line, found, whole=whole)
            return
        stamp = self._stamp(line)
        if stamp is None:
            if self._began and len(self.strangers) < 3:
                self.strangers.append(line[:500].decode(errors="replace"))
            self._began = True
            return
        nanoseconds, start = stamp
        self._began = True
        if self._skip and self._was_taken(nanoseconds):
            return
        del line[:start]
        if self._drop:
            self._rest, line = line, self._rest
            self._dropped()
            self._rest, line = line, self._rest
        self._take(nanoseconds, line, found, whole=whole)

    def _take(self, nanoseconds: int, line: bytearray, found: list[Line], *, whole: bool) -> None:
        self._position.advance(nanoseconds)
        found.append(Line(nanoseconds, line, whole))

    def _dropped(self) -> None:
        """Leave out what was taken of the line that an earlier answer broke off in."""
        del self._rest[: self._drop]
        self._drop = 0

    def _is_taken(self, nanoseconds: int) -> bool:
        """Whether a line was taken before, without leaving it out."""
        skip, met, rotated = dict(self._skip), set(self._met), set(self._rotated)
        answer = self._was_taken(nanoseconds)
        self._skip, self._met, self._rotated = skip, met, rotated
        return answer

    def _was_taken(self, nanoseconds: int) -> bool:
        """Whether the next line, of this time, was taken before; then it is left out."""
        key = nanoseconds // _SECOND
        if (second := self._skip.get(key)) is None:
            return False
        if key not in self._met:
            self._met.add(key)
            if nanoseconds != second.first:
                self._rotated.add(key)
        if key in self._rotated:
            return nanoseconds <= self._until
        if second.size == 1:
            del self._skip[key]
        else:
            self._skip[key] = Second(second.size - 1, second.first)
        return True

    def _stamp(self, line: bytearray) -> tuple[int, int] | None:
        """The time in front of a line, and where its text begins; None: there is no time."""
        if line[29:31] == b"Z " and line[19:20] == b"." and (digits := line[20:29]).isdigit():
            if (key := bytes(line[:19])) != self._key:
                if not _STAMP.fullmatch(key + b"Z"):
                    return None
                try:
                    self._whole_second = calendar.timegm(time.strptime(key.decode(), "%Y-%m-%dT%H:%M:%S"))
                except ValueError:
                    return None
                self._key = key
            return self._whole_second * _SECOND + int(digits), 31
        end = line.find(b" ", 0, 40)
        if end < 0 or not _STAMP.fullmatch(line, 0, end):
            return None
        text = line[:end].decode()
        try:
            seconds = units.to_micros(units.parse_timestamp(text)) // 1_000_000
        except errors.Problem:
            return None
        fraction = match[1] if (match := re.search(r"\.(\d+)", text)) else ""
        return seconds * _SECOND + int(f"{fraction[:9]:0<9}"), end + 1

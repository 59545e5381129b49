"""Where a follower of a run's log is: after a broken stream it goes on without a gap or a repeat. Pure.

Theory of operation. Each line begins with its time, and the daemon can be asked for the lines later than a
time; but several lines may have the same one, and a stream may break between them. So the follower asks for
the lines from the last time on, that time included, and leaves out as many of it as it has had. This is exact
for a log whose times never go back, as ours never do (`tygerd.supervisor.log`). Of another's nothing is
repeated, and at most those lines are missing that were written with earlier times while nobody followed.

With `tail`, the first line may share its time with lines before it, which were not sent. Only of that one
time lines may then be repeated, where the stream breaks within it; ours has no two lines of one time.
"""

from __future__ import annotations

import re

_STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:[.,](\d{1,9})\d*)?([Zz]|[-+]\d\d:\d\d)")

Key = tuple[bytes, bytes]


class Position:
    """What was taken of one log. `since` and `tail` are what the first stream begins with.

    For each stream: `query` once, then `takes` for each of its whole lines, in order.
    """

    def __init__(self, *, since: str | None = None, tail: int | None = None) -> None:
        self._since = since
        self._tail = tail
        self._last: bytes = b""
        self._last_key: Key = (b"", b"")
        self._taken = 0
        """How many lines of the time `_last` were taken."""
        self._passed = 0
        """How many of those the stream in hand has brought again."""
        self._behind = False
        """Whether the stream in hand has yet to come to a line that was not taken."""

    def query(self) -> list[tuple[str, str]]:
        """The parameters of the next stream: where it begins."""
        self._passed = 0
        self._behind = bool(self._last)
        if self._last:
            return [("since", just_before(self._last))]
        tail = [("tailLines", str(self._tail))] if self._tail is not None else []
        return tail + ([("since", self._since)] if self._since is not None else [])

    def takes(self, stamp: bytes) -> bool:
        """Whether a line of this time is a new one; it then counts as taken."""
        key = key_of(stamp)
        if self._behind:
            if key < self._last_key:
                return False  # a daemon that measures times more coarsely than they were written
            if key == self._last_key and self._passed < self._taken:
                self._passed += 1
                return False
            self._behind = False
        if key > self._last_key:
            self._last, self._last_key, self._taken = stamp, key, 1
        elif key == self._last_key:
            self._taken += 1
        return True


def key_of(stamp: bytes) -> Key:
    """What orders times of one log: its writer may leave out zeros at the end of a fraction."""
    found = _STAMP.fullmatch(stamp)
    return (found[1], (found[2] or b"").ljust(9, b"0")) if found else (stamp, b"")


def just_before(stamp: bytes) -> str:
    """The time one nanosecond earlier; what is no time stays as it is."""
    found = _STAMP.fullmatch(stamp)
    if found is None:
        return stamp.decode("ascii", "replace")
    whole, fraction, zone = found[1].decode(), int((found[2] or b"").ljust(9, b"0")), found[3].decode()
    if fraction == 0:
        import datetime as dt

        whole = (dt.datetime.fromisoformat(whole) - dt.timedelta(seconds=1)).isoformat()
    return f"{whole}.{(fraction - 1) % 1_000_000_000:09d}{zone}"

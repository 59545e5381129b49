"""The log of a run: the job's standard output and error, line by line, with the time each line was read.

A record is one line of the file, `<time> <stream> <text>`: the time as RFC 3339 in UTC with nine fractional
digits and `Z`, later than that of the record before it; the stream `O` or `E`, in lower case where the stream
ended without a final newline after the text; the text as the job wrote it, any bytes but newline, behind the
label of its program where the run has several. Records are only appended.
"""

from __future__ import annotations

import os
import time

MAX_LINE = 16 * 1024 * 1024
"""Bytes of a line that are held in memory. Programs do print lines of some MB; what is longer is recorded as
several lines, because a job that never prints a newline must not exhaust our memory."""

_READ = 256 * 1024

KEPT_FREE = 4 * 1024 * 1024
"""Bytes of the disk that a log leaves for the daemon's catalog and journals, as streams do. Otherwise a job
that prints without end would take the last of them, and could not even be cancelled."""

_AT_ONCE = 256 * 1024
"""Bytes written between two looks at the room on the disk."""

_SECOND = 1_000_000_000
"""In nanoseconds."""


def timestamp(nanoseconds: int) -> str:
    """Nanoseconds since the epoch as RFC 3339 with nine fractional digits."""
    seconds, fraction = divmod(nanoseconds, _SECOND)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{fraction:09d}Z"


class Stamps:
    """The times of one log's records: no two are the same and none goes back, also where the clock does.

    So whoever has a record can ask for all behind it by its time, which is all that the API offers. `last` is
    the time of the record that is there already, in nanoseconds since the epoch.
    """

    def __init__(self, last: int = -1) -> None:
        self._last = last

    @property
    def last(self) -> int:
        """The latest that was taken, in nanoseconds since the epoch; -1: none."""
        return self._last

    def take(self, nanoseconds: int, count: int) -> list[bytes]:
        """The times of records that were read at this time, or a little later where that is taken."""
        first = max(nanoseconds, self._last + 1)
        self._last = first + count - 1
        second, fraction = divmod(first, _SECOND)
        if fraction + count > _SECOND:  # the rest is of the next second
            return [timestamp(moment).encode() for moment in range(first, first + count)]
        whole = timestamp(second * _SECOND)[:-10].encode()
        return [b"%s%09dZ" % (whole, moment) for moment in range(fraction, fraction + count)]


class Lines:
    """Cuts one stream of the job into records. No I/O."""

    def __init__(
        self, stream: bytes, limit: int = MAX_LINE, stamps: Stamps | None = None, label: str = ""
    ) -> None:
        self._limit = limit
        self._stamps = stamps or Stamps()
        before = f"{label} ".encode() if label else b""
        self._complete = b" " + stream + b" " + before
        self._partial = b" " + stream.lower() + b" " + before
        self._rest = bytearray()

    def feed(self, data: bytes, nanoseconds: int) -> bytes:
        """The records that `data` completes, read at this time."""
        if b"\n" not in data and len(self._rest) + len(data) <= self._limit:
            self._rest += data
            return b""
        self._rest += data
        *lines, rest = self._rest.split(b"\n")
        while len(rest) > self._limit:
            lines.append(rest[: self._limit])
            del rest[: self._limit]
        self._rest = rest
        stamps, middle = self._stamps.take(nanoseconds, len(lines)), self._complete
        return b"".join(
            [b"%s%s%s\n" % (stamp, middle, line) for stamp, line in zip(stamps, lines, strict=True)]
        )

    def end(self, nanoseconds: int) -> bytes:
        """The record of what follows the last newline, if anything does."""
        if not self._rest:
            return b""
        record = self._stamps.take(nanoseconds, 1)[0] + self._partial + self._rest + b"\n"
        self._rest = bytearray()
        return record


class Source:
    """One of a program's two streams: the read end of its pipe, owned, and the records made of it.

    All streams of a run share their `stamps`. `label` tells whose lines these are, where there are several
    programs.
    """

    def __init__(self, fd: int, stream: bytes, stamps: Stamps | None = None, label: str = "") -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._lines = Lines(stream, stamps=stamps, label=label)

    def fileno(self) -> int:
        """The pipe, for poll; -1 once it has ended."""
        return self._fd

    def read(self) -> bytes:
        """The records that what is now in the pipe completes; never blocks. Closes the pipe at its end."""
        try:
            data = os.read(self._fd, _READ)
        except BlockingIOError:
            return b""
        return self._lines.feed(data, time.time_ns()) if data else self.close()

    def close(self) -> bytes:
        """Take no more; the records of an unfinished line. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        return self._lines.end(time.time_ns())


class LogFile:
    """Appends records to the file. What the disk has no room for is kept and tried again."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._waiting = bytearray()
        self.size = os.fstat(self._fd).st_size

    @property
    def blocked(self) -> bool:
        """Something could not be written: take no more from the job, call `flush` in a while."""
        return bool(self._waiting)

    def append(self, records: bytes) -> None:
        """Write records, or keep them where the disk is full."""
        if not self._waiting:
            written = self._write(records)
            records = records[written:]
        self._waiting += records

    def flush(self) -> None:
        """Try again to write what is kept."""
        del self._waiting[: self._write(self._waiting)]

    def close(self) -> None:
        """Close the file; what is still kept is lost."""
        os.close(self._fd)

    def _write(self, data: bytes | bytearray) -> int:
        written = 0
        with memoryview(data) as view:
            while written < len(view) and self._has_room():
                try:
                    written += os.write(self._fd, view[written : written + _AT_ONCE])
                except OSError:  # ENOSPC, EDQUOT, EIO: the job must not die of it, back-pressure is enough
                    break
        self.size += written
        return written

    def _has_room(self) -> bool:
        free = os.fstatvfs(self._fd)
        return not free.f_blocks or free.f_bavail * free.f_frsize > KEPT_FREE

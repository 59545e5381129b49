"""The log of a run in a cluster: its records (`supervisor.log`), and how far each container's was taken.

Both change together: a daemon that is killed at any instant finds positions that fit the records.
`logged.json` says beforehand what an append changes, and the size of the log tells whether it was done; one
that was cut in the middle is undone. After a loss of power, which may take from one and not from the other,
everything is taken again. Blocking; one thread at a time.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from tygerd.engines.kubernetes import lines
from tygerd.osutil import durable, statedir

LOG = "log"
POSITIONS = "logged.json"


class State(NamedTuple):
    """The log's size in bytes, the time of its last record in nanoseconds (-1: none), and the positions.

    A position's key is its pod's uid, the container's name and how often that was restarted, with `/`
    between.
    """

    size: int = 0
    last: int = -1
    positions: Mapping[str, Any] = {}

    def decoded(self) -> dict[str, lines.Position]:
        """The positions, to be advanced."""
        return {key: lines.Position.decode(value) for key, value in self.positions.items()}


class LogFile:
    """The two files of the run whose directory this is. To be closed."""

    def __init__(self, directory: str) -> None:
        self._positions = os.path.join(directory, POSITIONS)
        self._path = os.path.join(directory, LOG)
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._unsynced = True
        try:
            self.state = self._recovered(os.fstat(self._fd).st_size)
            os.ftruncate(self._fd, self.state.size)
        except BaseException:
            os.close(self._fd)
            raise

    def append(self, records: bytes, last: int, positions: Mapping[str, Any]) -> None:
        """Add records, the last of this time, and the positions that they lead to, encoded, and all others.

        Raises:
            OSError: ENOSPC and the like; nothing has changed, and it can be tried again. The last of a disk
                is not for logs: a job that prints without end could not even be cancelled.
        """
        if not statedir.has_room(self._path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        after = State(self.state.size + len(records), last, positions)
        durable.replace(self._positions, json.dumps([self.state, after]).encode(), sync=False)
        try:
            with memoryview(records) as view:
                written = 0
                while written < len(view):
                    written += os.write(self._fd, view[written:])
        except OSError:
            os.ftruncate(self._fd, self.state.size)
            raise
        self.state = after
        self._unsynced = True

    def sync(self) -> None:
        """Have the records on the disk, so that their source may go."""
        if self._unsynced:
            os.fsync(self._fd)
            self._unsynced = False

    def close(self) -> None:
        """Close the files. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _recovered(self, size: int) -> State:
        try:
            with open(self._positions, "rb") as file:
                before, after = (State(*each) for each in json.loads(file.read()))
                for each in (before, after):
                    each.decoded()
        except (FileNotFoundError, ValueError, TypeError):
            return State()
        return next((each for each in (after, before) if each.size <= size), State())

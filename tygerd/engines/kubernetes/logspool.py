"""Between the threads that read logs of a cluster and the task that writes them: records that wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import trio

from tygerd.engines.kubernetes import lines, logfile
from tygerd.supervisor import log

ROOM = 4 * 1024 * 1024
"""Bytes of a run that wait for the disk until its readers have to wait, too."""


class Spool:
    """Records on their way from the threads to the file, and the positions that go with them."""

    def __init__(self, file: logfile.LogFile) -> None:
        self._file = file
        self._lock = threading.Condition()
        self._records = bytearray()
        self._held = b""
        self._frozen: tuple[int, dict[str, Any]] = (-1, {})
        self._token = trio.lowlevel.current_trio_token()
        self._news = trio.Event()
        self._closed = False
        self._stamps = log.Stamps(file.state.last)
        self._positions = file.state.decoded()
        self.size = file.state.size

    @property
    def waiting(self) -> bool:
        """Something is not in the file yet."""
        return bool(self._records or self._held)

    def position(self, key: str) -> lines.Position:
        """How far the log of this key was taken."""
        with self._lock:
            return self._positions.setdefault(key, lines.Position())

    def keys(self, prefix: str) -> list[str]:
        """Those of which something was taken."""
        with self._lock:
            return [key for key in self._positions if key.startswith(prefix)]

    def forget(self, key: str) -> None:
        """Nobody will ask for this log again."""
        with self._lock:
            self._positions.pop(key, None)

    def add(self, cut: Callable[[], list[lines.Line]], label: bytes) -> bool:
        """In a reader's thread: take the lines that `cut` gives, which advances a position. Waits for room.

        False: nobody wants any more.
        """
        with self._lock:
            while len(self._records) > ROOM and not self._closed:
                self._lock.wait()
            if self._closed:
                return False
            found = cut()
            if not found:
                return True
            take = self._stamps.take
            for nanoseconds, text, whole in found:  # the stream is not told
                stream = b" O " if whole else b" o "
                self._records += b"%s%s%s%s\n" % (take(nanoseconds, 1)[0], stream, label, text)
            try:
                self._token.run_sync_soon(self._tell, idempotent=True)
            except trio.RunFinishedError:
                return False
        return True

    async def wait(self) -> None:
        """Until there is something to write."""
        if not self.waiting:
            await self._news.wait()
        self._news = trio.Event()

    def flush(self) -> None:
        """Write what there is, with the positions as they then are.

        Raises:
            OSError: it is kept, for the next time.
        """
        with self._lock:
            if not self._held:
                self._held = bytes(self._records)
                self._frozen = (
                    self._stamps.last,
                    {key: value.encode() for key, value in self._positions.items()},
                )
                self._records.clear()
                self._lock.notify_all()
        if self._held:
            self._file.append(self._held, *self._frozen)
            self._held = b""
            self.size = self._file.state.size

    def sync(self) -> None:
        """Have it on the disk."""
        self._file.sync()

    def close(self) -> None:
        """Take no more. What is not in the file is read again by whoever comes next."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()
        self._file.close()

    def _tell(self) -> None:
        self._news.set()

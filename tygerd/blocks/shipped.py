"""The shipped watermark of a spool: how many of a stream's first blocks the store has accepted.

Format of the file `shipped` (little endian): two slots of 32 bytes, at 0 and at 4096: magic `tygrship`,
CRC-32 u32 of what follows, reserved u32 (0), number u64 (every block below it was accepted), bytes u64 (of
those blocks). A step overwrites the slot that holds the lower number, in one write; of the slots that are
whole the higher number counts. So a torn write, or one that never reached the disk, leaves an older number:
the file may say less than was accepted, and never more.
"""

from __future__ import annotations

import os
import struct
import threading
import zlib
from typing import NamedTuple, Self

FILE = "shipped"
"""Its name in a container's directory."""

SLOT = 4096
"""Bytes from one slot to the other: no sector and no page holds both."""

_SLOT = struct.Struct("<8sIIQQ")
_MAGIC = b"tygrship"
_CRC_FROM = 12


class Mark(NamedTuple):
    """Every block below `number` was accepted; they have `bytes` bytes."""

    number: int = 0
    bytes: int = 0


class Shipped:
    """An open watermark. Every method is safe from any thread; writing takes microseconds."""

    def __init__(self, fd: int, mark: Mark, slot: int) -> None:
        self._fd = fd
        self._mark = mark
        self._written = mark
        self._slot = slot
        """The slot to overwrite next."""
        self._ahead: dict[int, int] = {}
        self._lock = threading.Lock()

    @classmethod
    def open(cls, directory: str) -> Self:
        """The watermark of the container in `directory`, made if need be.

        Raises:
            OSError: it cannot be made.
        """
        fd = os.open(os.path.join(directory, FILE), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            marks = [decode(os.pread(fd, _SLOT.size, slot * SLOT)) for slot in (0, 1)]
            for slot, mark in enumerate(marks):
                if mark is None:  # room on the disk is taken now: a later step happens in place
                    os.pwrite(fd, encode(Mark()), slot * SLOT)
        except BaseException:
            os.close(fd)
            raise
        first, second = (mark or Mark() for mark in marks)
        return cls(fd, max(first, second), 1 if first > second else 0)

    @property
    def number(self) -> int:
        """Every block below was accepted."""
        return self._mark.number

    @property
    def bytes(self) -> int:
        """Bytes of the blocks below `number`."""
        return self._mark.bytes

    def accepted(self, number: int, length: int) -> None:
        """The store has accepted block `number` of `length` bytes. In any order; again does no harm.

        Raises:
            OSError: the step could not be written. It counts for `number` and `bytes` all the same, and the
                next call writes it again.
        """
        with self._lock:
            if number >= self._mark.number:
                self._ahead[number] = length
            mark = self._mark
            while (size := self._ahead.pop(mark.number, None)) is not None:
                mark = Mark(mark.number + 1, mark.bytes + size)
            self._mark = mark
            self._write()

    def advance(self, number: int, nbytes: int) -> None:
        """Every block below `number`, `nbytes` bytes in all, was accepted; a lower number changes nothing.

        Raises:
            OSError: as in `accepted`.
        """
        with self._lock:
            if number > self._mark.number:
                self._mark = Mark(number, nbytes)
                self._ahead = {n: size for n, size in self._ahead.items() if n >= number}
            self._write()

    def sync(self) -> int:
        """Wait until the mark is on the disk; blocking. The number that is there now at least.

        To be called with durability = "power" before the files of accepted blocks are removed.
        """
        with self._lock:
            number = self._written.number
        os.fdatasync(self._fd)
        return number

    def close(self) -> None:
        """Close the file. Idempotent."""
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def _write(self) -> None:
        if self._mark == self._written:
            return
        os.pwrite(self._fd, encode(self._mark), self._slot * SLOT)
        self._written = self._mark
        self._slot = 1 - self._slot


def encode(mark: Mark) -> bytes:
    """A mark as the bytes of a slot."""
    rest = struct.pack("<IQQ", 0, *mark)
    return _MAGIC + struct.pack("<I", zlib.crc32(rest)) + rest


def decode(data: bytes) -> Mark | None:
    """The mark in a slot's bytes; None when it is torn, damaged or not there."""
    if len(data) != _SLOT.size:
        return None
    magic, crc, _, number, size = _SLOT.unpack(data)
    return Mark(number, size) if magic == _MAGIC and crc == zlib.crc32(data[_CRC_FROM:]) else None

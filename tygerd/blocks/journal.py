"""The journal of a captured container: one fixed-size record a sealed block, and the end marker.

Format (little endian). Header, 40 bytes: magic `tygerjnl`, version u32 (1), CRC-32 u32 of what follows it in
the header, block size in bytes u64, writer id 16 bytes. Then records of 88 bytes: record length u32 (88),
CRC-32 u32 of what follows, kind u32 (1 block, 2 complete, 3 failed), reserved u32 (0), number u64, offset u64
(bytes of the stream before the block), length u64, MD5 16 bytes, chain 32 bytes. Block n is record n, so a
stream of any length needs no index in memory. An append is one write; a torn tail is cut by the next writer
and not seen by readers. What the journal does not name does not exist for readers.
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import NamedTuple

from tyger import errors

MAGIC = b"tygerjnl"
VERSION = 1

BLOCK, COMPLETE, FAILED = 1, 2, 3

_HEADER = struct.Struct("<8sIIQ16s")
_RECORD = struct.Struct("<IIIIQQQ16s32s")
_CRC_FROM = 8
_HEADER_CRC_FROM = 16


class DamagedError(errors.Problem):
    """CORRUPT: what is on the disk is not what was written. A loss of power, or a failing disk, did that."""

    def __init__(self, message: str) -> None:
        super().__init__(errors.CORRUPT, message)


class Header(NamedTuple):
    """What is known of a stream before its first block."""

    block_size: int
    writer: bytes


class Record(NamedTuple):
    """One record. `number`, `offset`, `length`, `md5` and `chain` count for blocks only."""

    kind: int
    number: int = 0
    offset: int = 0
    length: int = 0
    md5: bytes = bytes(16)
    chain: bytes = bytes(32)


def encode(record: Record) -> bytes:
    """A record as its 88 bytes."""
    rest = _RECORD.pack(0, 0, record.kind, 0, *record[1:])[_CRC_FROM:]
    return struct.pack("<II", _RECORD.size, zlib.crc32(rest)) + rest


def decode(data: bytes) -> Record | None:
    """The record in `data`; None when it is torn or damaged."""
    if len(data) != _RECORD.size:
        return None
    size, crc, kind, _, *fields = _RECORD.unpack(data)
    if size != _RECORD.size or crc != zlib.crc32(data[_CRC_FROM:]):
        return None
    return Record(kind, *fields)


class Journal:
    """An open journal. Reads are `pread` and safe from any thread; appends are the one writer's.

    All methods block. `count` is the number of records that are good and whole.
    """

    def __init__(self, fd: int, header: Header, count: int) -> None:
        self.fd = fd
        self.header = header
        self.count = count

    @classmethod
    def create(cls, path: str, header: Header) -> Journal:
        """A new, empty journal. One that was torn before its header was whole is written over.

        Raises:
            FileExistsError: there is one.
            OSError: ENOSPC and the like; the call may be repeated.
        """
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _require_none(fd, path)
            rest = _HEADER.pack(b"", 0, 0, *header)[_HEADER_CRC_FROM:]
            _write_whole(fd, MAGIC + struct.pack("<II", VERSION, zlib.crc32(rest)) + rest)
        except BaseException:
            os.close(fd)
            raise
        return cls(fd, header, 0)

    @classmethod
    def open(cls, path: str) -> Journal:
        """An existing journal, for reading and appending. Its torn tail is not counted.

        Raises:
            FileNotFoundError: there is none, or it was torn before its header was whole.
            DamagedError: the header is not one of ours.
        """
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            header = _decode_header(path, os.pread(fd, _HEADER.size, 0))
        except BaseException:
            os.close(fd)
            raise
        journal = cls(fd, header, 0)  # which closes it from now on
        journal.refresh()
        return journal

    def refresh(self) -> None:
        """Count again the records that are there and whole."""
        count = (os.fstat(self.fd).st_size - _HEADER.size) // _RECORD.size
        while count > 0 and decode(self._raw(count - 1)) is None:
            count -= 1
        self.count = count

    def record(self, index: int) -> Record | None:
        """Record `index`, None beyond the end.

        Raises:
            DamagedError: the record does not match its CRC.
        """
        if not 0 <= index < self.count:
            return None
        record = decode(self._raw(index))
        if record is None:
            raise DamagedError(f"record {index} of the journal is damaged")
        return record

    def last(self) -> Record | None:
        """The last record."""
        return self.record(self.count - 1)

    def append(self, record: Record) -> None:
        """Add a record. Blocking; not synced (see `sync`).

        Raises:
            OSError: ENOSPC and the like; nothing was added, and the append may be repeated.
        """
        end = _HEADER.size + self.count * _RECORD.size
        try:
            _write_whole(self.fd, encode(record), end)
        except OSError:
            os.ftruncate(self.fd, end)
            raise
        self.count += 1

    def cut_tail(self) -> None:
        """Cut what is behind the last whole record."""
        os.ftruncate(self.fd, _HEADER.size + self.count * _RECORD.size)

    def sync(self) -> None:
        """Wait until the journal is on the disk."""
        os.fdatasync(self.fd)

    def close(self) -> None:
        """Close the file. Idempotent."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __del__(self) -> None:
        # A container is shared by all who use it; the last one to forget it closes its journal.
        if hasattr(self, "fd"):
            self.close()

    def _raw(self, index: int) -> bytes:
        return os.pread(self.fd, _RECORD.size, _HEADER.size + index * _RECORD.size)


def _decode_header(path: str, data: bytes) -> Header:
    if len(data) < _HEADER.size:
        raise FileNotFoundError(path)
    magic, version, crc, block_size, writer = _HEADER.unpack(data)
    if magic != MAGIC or version != VERSION or crc != zlib.crc32(data[_HEADER_CRC_FROM:]):
        raise DamagedError(f"{path}: not a journal of version {VERSION}")
    return Header(block_size, writer)


def _require_none(fd: int, path: str) -> None:
    if os.fstat(fd).st_size >= _HEADER.size:
        raise FileExistsError(path)


def _write_whole(fd: int, data: bytes, offset: int = 0) -> None:
    """Write at `offset` without gaps: an interrupted or short write goes on where it stopped."""
    while data:
        written = os.pwrite(fd, data, offset)
        data, offset = data[written:], offset + written

"""The one writer of a captured container: block files, their journal, the end, and recovery after a crash.

Order of one block: bytes are spliced into its file; its MD5 is taken; the journal names it. The file's size
is the truth: block files are never preallocated, opened for appending, truncated or rewritten. Recovery
adopts every block file beyond the journal, in order, at its size. Everything blocks (worker threads); calls
on one writer do not overlap.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from typing import Literal

from tyger import errors
from tygerd.blocks import chain, container, journal, names


class Writer:
    """Writes the blocks of one container. `sealed_bytes` and `next_number` count what the journal names."""

    def __init__(self, target: container.Container, book: journal.Journal, *, sync: bool) -> None:
        self.container = target
        self.sealed_bytes = 0
        self.next_number = 0
        self._book = book
        self.sync = sync
        self._chain = chain.INITIAL
        self._directories: set[str] = set()

    @classmethod
    def create(cls, target: container.Container, block_size: int, *, sync: bool = False) -> Writer:
        """Begin a stream. `sync` is durability = "power".

        Raises:
            Problem: CONFLICT, the buffer was written before.
        """
        with target.claim:
            if target.started():
                raise errors.Problem(errors.CONFLICT, "buffer cannot be overwritten: it was already written")
            header = journal.Header(block_size, secrets.token_bytes(16))
            book = journal.Journal.create(os.path.join(target.path, "journal"), header)
            target.created(book)
        return cls(target, book, sync=sync)

    @classmethod
    def recover(cls, target: container.Container, *, sync: bool = False) -> Writer:
        """Go on after a crash: cut the journal's torn tail and seal every block file beyond it.

        Raises:
            DamagedError: the journal is not one of ours.
            FileNotFoundError: nobody had begun to write.
        """
        book = target.book()
        if book is None:
            raise FileNotFoundError(os.path.join(target.path, "journal"))
        book.refresh()
        book.cut_tail()
        writer = cls(target, book, sync=sync)
        if (last := writer._last_block()) is not None:
            writer._advance(last.offset + last.length, last.number + 1, chain.from_bytes(last.chain))
        if target.end() is None and not writer.terminated():
            writer._adopt()
        return writer

    def terminated(self) -> bool:
        """Whether the empty last block is there."""
        last = self._last_block()
        return last is not None and last.length == 0

    def _last_block(self) -> journal.Record | None:
        last = self._book.last()
        if last is not None and last.kind != journal.BLOCK:
            last = self._book.record(self._book.count - 2)
        return last

    def block_file(self, number: int) -> int:
        """A descriptor, open for reading and writing, of block `number`'s file, which is made if need be.

        Raises:
            OSError: it cannot be made (ENOSPC, ...).
        """
        path = self.container.block_path(number)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        with contextlib.suppress(FileNotFoundError):
            return os.open(path, flags, 0o600)
        self._make_directories(number)
        return os.open(path, flags, 0o600)

    def _make_directories(self, number: int) -> None:
        """Those of a block, but never the container's own: one that was deleted must not come back."""
        path = self.container.path
        for part in ("blocks", *names.block_name(number).split("/")[:-1]):
            path = os.path.join(path, part)
            with contextlib.suppress(FileExistsError):
                os.mkdir(path)

    def drop_empty(self, number: int) -> None:
        """Remove the file of a block that got no bytes."""
        os.unlink(self.container.block_path(number))

    def digest(self, fd: int, length: int) -> bytes:
        """The MD5 of a block's file, which with `sync` is on the disk afterwards."""
        md5 = chain.file_md5(fd, length)
        if self.sync:
            os.fdatasync(fd)
        return md5

    def seal(self, number: int, length: int, md5: bytes) -> None:
        """Name a block in the journal. Blocks are sealed in order; an empty one ends the stream.

        Raises:
            OSError: the journal could not grow (ENOSPC); the call may be repeated.
        """
        if number != self.next_number:
            raise ValueError(f"block {number} sealed before block {self.next_number}")
        value = chain.following(self._chain, md5)
        self._book.append(
            journal.Record(journal.BLOCK, number, self.sealed_bytes, length, md5, chain.to_bytes(value))
        )
        self._advance(self.sealed_bytes + length, number + 1, value)
        if self.sync:
            self._directories.add(os.path.dirname(self.container.block_path(number)))

    def finish(self, outcome: Literal["complete", "failed"], reason: str | None = None) -> None:
        """End the stream; what was sealed before is durable afterwards, with `sync` on the disk too.

        Idempotent for the same outcome.

        Raises:
            Problem: CONFLICT, the stream has ended otherwise.
            OSError: ENOSPC; the call may be repeated.
        """
        if (end := self.container.end()) is not None:
            if end != outcome:
                raise errors.Problem(errors.CONFLICT, f"the buffer is already {end}")
            return
        if outcome == "complete":
            if not self.terminated():
                self.seal(self.next_number, 0, chain.EMPTY_MD5)
            self._durable()
            self._book.append(journal.Record(journal.COMPLETE))
        else:
            if reason:
                self.container.set_failure(reason)
            self._book.append(journal.Record(journal.FAILED))
        self._durable()

    def _durable(self) -> None:
        if self.sync:
            self._book.sync()
            for path in [
                *self._directories,
                os.path.join(self.container.path, "blocks"),
                self.container.path,
            ]:
                with contextlib.suppress(FileNotFoundError):
                    container.sync_path(path)
            self._directories.clear()

    def _advance(self, sealed_bytes: int, next_number: int, value: str) -> None:
        self.sealed_bytes, self.next_number, self._chain = sealed_bytes, next_number, value

    def _adopt(self) -> None:
        while True:
            try:
                fd = os.open(self.container.block_path(self.next_number), os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return
            try:
                length = os.fstat(fd).st_size
                if length == 0:
                    return  # made but not yet filled: the next capture fills it
                self.seal(self.next_number, length, self.digest(fd, length))
            finally:
                os.close(fd)

"""The one writer of a captured container: block files, their journal, the end, and recovery after a crash.

Order of one block: bytes are spliced into its file; its MD5 is taken; the journal names it. The file's size
is the truth: block files are never preallocated, opened for appending, truncated or rewritten. Recovery
adopts every block file beyond the journal, in order, at its size: the death of a process takes nothing out
of the page cache. After a loss of power that is no longer so. Then what the journal does not name is dropped
(nobody was told of it), and the stream can only be ended: its producer died with the machine.

With `sync` (durability = "power") a block's file is synced before the journal names it, and before an end is
acknowledged the journal, every directory that holds a block, and the container's own.

Everything blocks (worker threads); calls on one writer do not overlap.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from typing import Literal

from tyger import errors
from tygerd.blocks import boot, chain, container, journal, names
from tygerd.osutil import durable

ORPHANED = "the machine went down while the stream was being written"


def orphaned(target: container.Container) -> bool:
    """Whether the machine went down while the stream was written: begun, not ended, of another boot.

    Raises:
        DamagedError: the journal is damaged.
    """
    return target.book() is not None and target.end() is None and boot.changed(target.path)


class Writer:
    """Writes the blocks of one container. `sealed_bytes` and `next_number` count what the journal names.

    `orphaned`: the machine went down while the stream was written. It can be ended, and not gone on with.
    """

    def __init__(
        self, target: container.Container, book: journal.Journal, *, sync: bool, orphaned: bool = False
    ) -> None:
        self.container = target
        self.sealed_bytes = 0
        self.next_number = 0
        self.sync = sync
        self.orphaned = orphaned
        self._book = book
        self._chain = chain.INITIAL

    @classmethod
    def create(cls, target: container.Container, block_size: int, *, sync: bool = False) -> Writer:
        """Begin a stream. `sync` is durability = "power".

        Raises:
            Problem: CONFLICT, the buffer was written before.
        """
        with target.claim:
            if target.started():
                raise errors.Problem(errors.CONFLICT, "buffer cannot be overwritten: it was already written")
            # Block files without a journal: a loss of power left them, and they are of another stream.
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(os.path.join(target.path, "blocks"))
            boot.remember(target.path, sync=sync)
            header = journal.Header(block_size, secrets.token_bytes(16))
            book = journal.Journal.create(os.path.join(target.path, "journal"), header)
            target.created(book)
        return cls(target, book, sync=sync)

    @classmethod
    def recover(cls, target: container.Container, *, sync: bool = False) -> Writer:
        """Go on after a crash: cut the journal's torn tail and seal every block file beyond it.

        After a restart of the machine those files are removed instead, and the writer is `orphaned`.

        Raises:
            DamagedError: the journal is not one of ours.
            FileNotFoundError: nobody had begun to write.
        """
        book = target.book()
        if book is None:
            raise FileNotFoundError(os.path.join(target.path, "journal"))
        book.refresh()
        book.cut_tail()
        writer = cls(target, book, sync=sync, orphaned=orphaned(target))
        if (last := writer._last_block()) is not None:
            writer._advance(last.offset + last.length, last.number + 1, chain.from_bytes(last.chain))
        if writer.orphaned:
            writer._drop_unnamed()
        elif target.end() is None:
            writer._agree_on_sync()
            if not writer.terminated():
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
            DamagedError: the stream is orphaned: bytes between what is here and what would come are lost.
        """
        if self.orphaned:
            raise journal.DamagedError(ORPHANED)
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
        """The MD5 of a block's file, which with `sync` is on the disk afterwards.

        Raises:
            OSError: it could not be read or synced.
            EOFError: it is shorter.
        """
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

    def finish(self, outcome: Literal["complete", "failed"], reason: str | None = None) -> None:
        """End the stream; what was sealed before is durable afterwards, with `sync` on the disk too.

        Idempotent for the same outcome.

        Raises:
            Problem: CONFLICT, the stream has ended otherwise.
            DamagedError: an orphaned stream is not complete.
            OSError: ENOSPC; the call may be repeated.
        """
        if (end := self.container.end()) is not None:
            if end != outcome:
                raise errors.Problem(errors.CONFLICT, f"the buffer is already {end}")
            return
        if outcome == "complete":
            if self.orphaned:
                raise journal.DamagedError(ORPHANED)
            if not self.terminated():
                self.seal(self.next_number, 0, chain.EMPTY_MD5)
        if self.sync:  # before the end: a stream that says it has one has everything else, too
            self._book.sync()
            self._sync_directories()
        if outcome == "complete":
            self._book.append(journal.Record(journal.COMPLETE))
        else:
            if reason:
                self.container.set_failure(reason, sync=self.sync)
            self._book.append(journal.Record(journal.FAILED))
        if self.sync:
            self._book.sync()

    def _sync_directories(self) -> None:
        """The container's, and all that hold blocks. They are known by number: who began them may be gone."""
        for name in ("", "blocks", *(f"blocks/{name}" for name in names.directories(self.next_number))):
            with contextlib.suppress(FileNotFoundError):  # its blocks have been shipped
                durable.sync_path(os.path.join(self.container.path, name))

    def _agree_on_sync(self) -> None:
        """Bring to the disk what an earlier writer, of a daemon with another setting, did not."""
        if boot.synced(self.container.path) != self.sync:
            if self.sync:
                for number in range(self.next_number):
                    with contextlib.suppress(FileNotFoundError):  # empty, or shipped
                        durable.sync_path(self.container.block_path(number))
            boot.remember(self.container.path, sync=self.sync)

    def _advance(self, sealed_bytes: int, next_number: int, value: str) -> None:
        self.sealed_bytes, self.next_number, self._chain = sealed_bytes, next_number, value

    def _drop_unnamed(self) -> None:
        """Remove the files of blocks that the journal does not name: what they hold is not to be trusted."""
        number = self.next_number
        with contextlib.suppress(FileNotFoundError):
            while True:
                os.unlink(self.container.block_path(number))
                number += 1

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

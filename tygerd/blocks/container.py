"""One buffer's directory, as readers and the data plane see it.

A container holds a stream in one of two ways, never both. *Captured*: `journal` and `blocks/<name>`, written
by our own capture (`blocks.writer`). *Put*: blobs that a client of the data plane PUT one by one, in any
order and with any metadata: `put/meta/<name>` (JSON, linked into place: the atomic, create-only commit) names
a file in `put/data/`. Everything blocks and is safe from any thread, except `feed`: the trio thread has it.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import secrets
import threading
from typing import Literal, NamedTuple

from tygerd.blocks import chain, feed, journal, names
from tygerd.osutil import durable

FORMAT_VERSION = "0.3.0"
"""Version in the start marker; readers of the format require exactly this."""

START_MARKER = b'{"version":"0.3.0"}'
END_MARKERS = {"complete": b'{"status":"complete"}', "failed": b'{"status":"failed"}'}
CHAIN_KEY = "cumulative_hash_chain"

End = Literal["complete", "failed"]


class Block(NamedTuple):
    """A sealed block: `length` bytes of the stream; 0 ends it. `chain` is None where its writer gave none."""

    number: int
    length: int
    md5: bytes
    chain: str | None
    path: str | None


class Blob(NamedTuple):
    """What the data plane serves: its bytes are `data`, or the file at `path` (never written again)."""

    length: int
    md5: bytes
    meta: dict[str, str]
    path: str | None
    data: bytes = b""

    def open(self) -> int:
        """A descriptor of the blob's file, the caller's to close."""
        if self.path is None:
            raise ValueError("the blob's bytes are inline")
        return os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)


class Container:
    """A buffer's directory. One object a directory and process (`stores.local` sees to it).

    With `sync` (durability = "power") what a call here adds is on the disk when it returns.
    """

    def __init__(self, path: str, *, sync: bool = False) -> None:
        self.path = path
        self.sync = sync
        self.feed = feed.Feed()
        self.claim = threading.Lock()
        """Held while a writer decides whether the container is still unwritten."""
        self.deleted = False
        """Set when the store removed it; whoever reads it should stop."""
        self._journal: journal.Journal | None = None
        self._opening = threading.Lock()
        """Held while the journal is opened: of two of them one would not see what the other appends."""
        self._put_is_durable = False
        """Whether `put/` and what leads to it were synced."""
        self._staged = False
        """Whether `staging/` is there, and what is in it is ours."""

    def close(self) -> None:
        """Release the journal. Reading opens it again."""
        with self.claim, self._opening:
            if self._journal:
                self._journal.close()
                self._journal = None

    # --- the stream --------------------------------------------------------------------------------------

    def book(self) -> journal.Journal | None:
        """The open journal of a captured container, None when there is none."""
        if self._journal is None:
            with self._opening:
                if self._journal is None:
                    self._journal = self._opened()
        return self._journal

    def _opened(self) -> journal.Journal | None:
        try:
            found = journal.Journal.open(os.path.join(self.path, "journal"))
        except FileNotFoundError:
            return None
        if self.sync:  # a daemon that was killed may have written an end that it had not yet synced
            found.sync()
        return found

    def created(self, new: journal.Journal) -> None:
        """The writer has made the journal."""
        with self._opening:
            self._journal = new

    def started(self) -> bool:
        """Whether anybody began to write, or the buffer was failed."""
        return self.book() is not None or os.path.exists(self._put("meta"))

    def end(self) -> End | None:
        """How the stream ended; None while it has not."""
        if book := self.book():
            last = book.last()
            return _ENDS.get(last.kind) if last else None
        if marker := self._put_blob(names.END):
            return "failed" if _read(marker) == END_MARKERS["failed"] else "complete"
        return None

    def failure(self) -> str | None:
        """Why the stream failed, where somebody said so."""
        with (
            contextlib.suppress(FileNotFoundError),
            open(os.path.join(self.path, "failure"), encoding="utf-8") as file,
        ):
            return file.read()
        return None

    def set_failure(self, reason: str, *, sync: bool = False) -> None:
        """Remember why the stream failed; the marker itself is the writer's. `sync`: it is on the disk."""
        path = os.path.join(self.path, "failure")
        durable.replace(path, reason.encode("utf-8", "replace"), sync=sync)

    def block(self, number: int) -> Block | None:
        """Sealed block `number`, None while it is not there.

        Raises:
            DamagedError: its record is damaged.
        """
        if book := self.book():
            record = book.record(number)
            if record is None or record.kind != journal.BLOCK:
                return None
            path = self.block_path(number) if record.length else None
            return Block(number, record.length, record.md5, chain.from_bytes(record.chain), path)
        if blob := self._put_blob(names.block_name(number)):
            return Block(number, blob.length, blob.md5, blob.meta.get(CHAIN_KEY), blob.path)
        return None

    def find(self, offset: int) -> tuple[int, int]:
        """The number of the block that holds byte `offset` of the stream, and the bytes before that block.

        Where that block is not yet sealed: the first number that isn't, and the bytes before it.
        """
        book = self.book()
        if book is None:
            return self._find_by_walking(offset)
        low, high = 0, book.count
        while low < high:  # the first record that ends behind `offset`, or is not a block with bytes
            middle = (low + high) // 2
            record = book.record(middle)
            if record and record.length and record.offset + record.length <= offset:
                low = middle + 1
            else:
                high = middle
        previous = book.record(low - 1)
        return low, previous.offset + previous.length if previous else 0

    def _find_by_walking(self, offset: int) -> tuple[int, int]:
        number = start = 0
        while (block := self.block(number)) and block.length and start + block.length <= offset:
            start += block.length
            number += 1
        return number, start

    def block_path(self, number: int) -> str:
        """Where a captured block is."""
        return os.path.join(self.path, "blocks", names.block_name(number))

    # --- blobs -------------------------------------------------------------------------------------------

    def blob(self, name: str) -> Blob | None:
        """The blob called `name`, markers included; None when it is not there."""
        if self.book() is None:
            return self._put_blob(name)
        if name == names.START:
            return _inline(START_MARKER)
        if name == names.END:
            end = self.end()
            return _inline(END_MARKERS[end]) if end else None
        number = names.block_number(name)
        block = None if number is None else self.block(number)
        if block is None:
            return None
        meta = {CHAIN_KEY: block.chain} if block.chain else {}
        return Blob(block.length, block.md5, meta, block.path)

    def staging(self) -> tuple[int, str]:
        """A new file to receive a blob's bytes: its descriptor, the caller's to close, and its path."""
        directory = os.path.join(self.path, "staging")
        with self._opening:
            if not self._staged:
                _ensure(directory)
                for name in os.listdir(directory):  # left by a daemon that was killed
                    _remove(os.path.join(directory, name))
                self._staged = True
        path = os.path.join(directory, secrets.token_hex(16))
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), path

    def publish(self, staged: str, name: str, md5: bytes, meta: dict[str, str]) -> None:
        """Commit a staged file as blob `name`. Call `feed.notify()` afterwards, on the trio thread.

        Raises:
            FileExistsError: the blob exists, or another writer captures this buffer; `staged` is left alone.
        """
        with self.claim:
            if self.book() is not None:
                raise FileExistsError(name)
            self._make_put()
        if self.sync:
            durable.sync_path(staged)
        length = os.stat(staged).st_size
        file = os.path.basename(staged)
        target, data_path = self._put("meta", _flat(name)), self._put("data", file)
        text = json.dumps(
            {"file": file, "length": length, "md5": base64.b64encode(md5).decode(), "meta": meta}
        )
        draft = staged + ".json"
        published = False
        try:
            with open(draft, "x", encoding="utf-8") as out:
                out.write(text)
                if self.sync:
                    out.flush()
                    os.fsync(out.fileno())
            os.link(staged, data_path)
            if self.sync:  # a name is never on the disk before what it stands for
                durable.sync_path(self._put("data"))
            try:
                os.link(draft, target)
                published = True
            finally:
                # Also where it was there: a client whose first answer was lost takes the refusal for success.
                if self.sync:
                    durable.sync_path(self._put("meta"))
        finally:
            _remove(draft)
            if not published:
                _remove(data_path)
        os.unlink(staged)

    def mark_failed(self, reason: str) -> bool:
        """End an unended stream as failed, create-only; False when it had ended.

        Only for containers that no capture of ours is writing.
        """
        with self.claim:
            if self.end() is not None:
                return False
            self.set_failure(reason, sync=self.sync)
            if book := self.book():
                self._append_failed(book)
                return True
        fd, path = self.staging()
        try:
            try:
                os.write(fd, END_MARKERS["failed"])
            finally:
                os.close(fd)
            self.publish(path, names.END, _md5(END_MARKERS["failed"]), {})
        except FileExistsError:
            return False
        finally:
            _remove(path)
        return True

    def fail(self, reason: str) -> None:
        """End a captured stream as failed, also one that had ended well: blocks of it are lost.

        Only for containers that nobody writes or ships.
        """
        with self.claim:
            self.set_failure(reason, sync=self.sync)
            if (book := self.book()) and self.end() != "failed":
                self._append_failed(book)

    def _append_failed(self, book: journal.Journal) -> None:
        book.append(journal.Record(journal.FAILED))
        if self.sync:
            book.sync()

    def _put(self, *parts: str) -> str:
        return os.path.join(self.path, "put", *parts)

    def _put_blob(self, name: str) -> Blob | None:
        try:
            with open(self._put("meta", _flat(name)), encoding="utf-8") as file:
                entry = json.load(file)
        except FileNotFoundError:
            return None
        except ValueError:
            raise journal.DamagedError(f"what was stored of blob {name} is damaged") from None
        md5 = base64.b64decode(entry["md5"])
        return Blob(entry["length"], md5, entry["meta"], self._put("data", entry["file"]))

    def _make_put(self) -> None:
        for directory in (self._put(), self._put("meta"), self._put("data")):
            _ensure(directory)
        if self.sync and not self._put_is_durable:
            durable.sync_path(self._put())
            durable.sync_path(self.path)
            self._put_is_durable = True


_ENDS: dict[int, End] = {journal.COMPLETE: "complete", journal.FAILED: "failed"}


def _flat(name: str) -> str:
    """A blob's name as one file name, which no other blob's name gives."""
    return name.replace("%", "%25").replace(",", "%2C").replace("/", ",")


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _ensure(directory: str) -> None:
    """Make a directory, but never its parents: a container that was removed meanwhile stays removed."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(directory)


def _inline(data: bytes) -> Blob:
    return Blob(len(data), _md5(data), {}, None, data)


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def _read(blob: Blob) -> bytes:
    if blob.path is None:
        return blob.data
    with open(blob.path, "rb") as file:
        return file.read()

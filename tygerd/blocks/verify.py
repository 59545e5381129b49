"""Checks a captured container's blocks against its journal: after a loss of power nothing is taken on trust.

Everything blocks and reads whole blocks: for worker threads.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from tygerd.blocks import chain, container, journal


class Bad(NamedTuple):
    """Why block `number` cannot be used, in words."""

    number: int
    why: str


def first_bad_block(
    target: container.Container, from_number: int = 0, *, may_be_missing: bool = False
) -> Bad | None:
    """The first block from `from_number` on that is not what the journal says; None when all are good.

    Checks each record, its number, its place in the stream and its chain value, and that its file is there,
    long enough and of its MD5. Blocks below `from_number` need no file (they were shipped), but the journal
    has to know them. With `may_be_missing` a file that is not there is no fault: a block of a spool may have
    been shipped before the watermark says so, which the store can tell. A file that is longer is no fault:
    only its first bytes were sealed.
    """
    try:
        book = target.book()
    except journal.DamagedError as error:
        return Bad(from_number, str(error))
    if book is None:
        return Bad(from_number, "the journal is not there")
    previous: journal.Record | None = None
    number = max(0, min(from_number - 1, book.count))  # the record before gives the chain
    while number < book.count:
        try:
            record = book.record(number)
        except journal.DamagedError as error:
            return Bad(number, str(error))
        if record is None or record.kind != journal.BLOCK:
            break
        if number >= from_number and (
            why := _fault(target, number, record, previous, may_be_missing=may_be_missing)
        ):
            return Bad(number, why)
        previous = record
        number += 1
    if number < from_number:
        return Bad(number, f"the journal ends here, but {from_number} blocks were shipped")
    return None


def _fault(
    target: container.Container,
    number: int,
    record: journal.Record,
    previous: journal.Record | None,
    *,
    may_be_missing: bool,
) -> str | None:
    before = chain.from_bytes(previous.chain) if previous else chain.INITIAL
    offset = previous.offset + previous.length if previous else 0
    if (record.number, record.offset) != (number, offset):
        return "the journal's record is of another block"
    if chain.to_bytes(chain.following(before, record.md5)) != record.chain:
        return "its chain value does not follow from the block before"
    if record.length == 0:
        return None if record.md5 == chain.EMPTY_MD5 else "it is empty, and its MD5 is not"
    try:
        fd = os.open(target.block_path(number), os.O_RDONLY | os.O_CLOEXEC)
        try:
            if chain.file_md5(fd, record.length) != record.md5:
                return "its bytes are not those that were sealed (MD5 mismatch)"
        finally:
            os.close(fd)
    except FileNotFoundError:
        return None if may_be_missing else "its file is missing"
    except EOFError as error:
        return f"its file is shorter than it was: {error}"
    except OSError as error:
        return f"its file cannot be read: {error.strerror}"
    return None

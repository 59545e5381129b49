"""MD5 of several blocks at once, by `md5lanes.c`, where it was built and the processor has what it needs.

`packaging/setup.sh` builds it beside this file, where there is a C compiler. Without it `FOUND` is None,
hashlib does the work, and nothing is lost but speed.
"""

from __future__ import annotations

import ctypes
import logging
import os
from collections.abc import Sequence

PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "libmd5lanes.so")

_SHORT_FILE = -1

_log = logging.getLogger(__name__)

Source = tuple[int, int] | memoryview
"""A block: an open file and how many of its first bytes, or memory that may be written to."""


class Library:
    """The loaded library. `width` blocks take hardly longer than one. Safe from any thread."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.width = int(library.md5lanes_width())
        self._hash = library.md5lanes_hash
        self._hash.argtypes = [ctypes.c_size_t, *[ctypes.c_void_p] * 5]
        self._hash.restype = None

    def digests(self, blocks: Sequence[Source]) -> list[bytes | OSError | EOFError]:
        """The MD5s of any number of blocks, of any lengths; blocking, without the interpreter's lock.

        A block that cannot be hashed has in its place why: EOFError, its file is shorter; OSError.
        """
        count = len(blocks)
        fds, lengths = (ctypes.c_int * count)(), (ctypes.c_uint64 * count)()
        data = (ctypes.c_void_p * count)()
        held = []  # memory stays where it is while somebody points to it
        for i, block in enumerate(blocks):
            if isinstance(block, tuple):
                fds[i], lengths[i] = block
                continue
            fds[i], lengths[i] = -1, block.nbytes
            if block.nbytes:
                held.append(ctypes.c_char.from_buffer(block))
                data[i] = ctypes.addressof(held[-1])
        digests, failures = ctypes.create_string_buffer(16 * count), (ctypes.c_int * count)()
        self._hash(count, fds, data, lengths, digests, failures)
        found = digests.raw
        return [
            _failure(failures[i], fds[i], lengths[i]) if failures[i] else found[16 * i : 16 * i + 16]
            for i in range(count)
        ]


def _failure(number: int, fd: int, length: int) -> OSError | EOFError:
    if number == _SHORT_FILE:
        return EOFError(f"{os.fstat(fd).st_size} of {length} bytes")
    return OSError(number, os.strerror(number))


def load(path: str = PATH) -> Library | None:
    """The library at `path`; None where there is none, or this processor cannot run it."""
    try:
        found = ctypes.CDLL(path)
        if found.md5lanes_width() < 2:
            return None
        return Library(found)
    except (OSError, AttributeError) as error:
        if os.path.exists(path):
            _log.warning("%s cannot be used, so hashing is slower: %s", path, error)
        return None


FOUND = load()


def describe() -> str:
    """How blocks are hashed, in words."""
    return f"{FOUND.width} blocks at a time" if FOUND else "by hashlib, one block at a time"

"""Files that a loss of power cannot take: what has to be synced, and in which order.

A file's bytes and its entry in a directory reach the disk apart from each other. So a new file is there after
a loss of power once its bytes, its directory and, where that is new, the directory's own entry are synced.
"""

from __future__ import annotations

import contextlib
import os


def sync_path(path: str) -> None:
    """Wait until a file or a directory is on the disk; blocking.

    Raises:
        FileNotFoundError: there is none.
        OSError: the disk failed; what was written may be lost.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_upward(path: str) -> None:
    """Wait until a directory is on the disk, and its entry in its parent, and so on to the top; blocking.

    Directories that we may not read are others' and were there before: they are left out.
    """
    path = os.path.realpath(path)
    while True:
        with contextlib.suppress(PermissionError):
            sync_path(path)
        parent = os.path.dirname(path)
        if parent == path:
            return
        path = parent


def replace(path: str, data: bytes, *, sync: bool, mode: int = 0o600) -> None:
    """Write a small file, whole or not at all, whatever was there before; blocking.

    With `sync` it is on the disk afterwards, also its entry in its directory. Without, a loss of power may
    leave what was before, or an empty or torn file. The draft `<path>.new` is a previous crash's if it is
    there, and written over.

    Raises:
        OSError: ENOSPC and the like; what was at `path` is still there.
    """
    draft = path + ".new"
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(fd, rest) :]
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(draft, path)
    if sync:
        sync_path(os.path.dirname(path))

"""A directory as a tar stream: the same bytes for the same tree, in bounded memory, into a pipe.

POSIX (pax) format: names of any bytes, times to the nanosecond. Entries come in the order of their names'
bytes, a directory before what is in it. Owners are left out, so are what is neither file, directory nor link.
Whatever changes while it is read fails the stream: half of one state and half of another is no data.
"""

from __future__ import annotations

import errno
import os
import stat
import tarfile
import threading
from collections.abc import Callable, Iterator

from tyger import errors, pipes
from tyger.cli import tarnames

_BLOCK, _RECORD = 512, 20 * 512
_COPY = 1024 * 1024

Remark = Callable[[str, str], None]
"""Called with a name, and why it is left out or will make trouble; from the thread."""


class Packer:
    """Packs one directory in a thread; `reader` is the read end of the pipe that the archive comes from.

    Made in the main thread, where a directory that cannot be packed is told at once.
    """

    def __init__(self, path: str, remark: Remark) -> None:
        if os.path.lexists(os.path.join(path, tarnames.INCOMPLETE)):
            raise errors.Problem(
                errors.INVALID_INPUT,
                f"{path} is not complete: an earlier `tyger buffer read` has left {tarnames.INCOMPLETE} in"
                " it; read it again, or remove that file",
            )
        try:
            os.close(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        except OSError as error:
            raise errors.Problem(
                errors.FORBIDDEN if isinstance(error, PermissionError) else errors.IO_ERROR,
                f"cannot read the directory {path}: {error.strerror}",
            ) from None
        self.reader, self._writer = os.pipe()
        pipes.enlarge(self.reader)
        self._path = path
        self._remark = remark
        self._failure: str | None = f"{path} was not read to its end"  # until it was
        self._thread = threading.Thread(target=self._pack, name="tar", daemon=True)

    def start(self) -> None:
        """Start reading the directory; the pipe ends when all has been read, or `failure` says why not."""
        pipes.start_without_signals(self._thread)

    def failure(self) -> str | None:
        """Why the archive is not whole. Ask once the pipe has ended."""
        return self._failure

    def close(self) -> None:
        """Take nothing more from it, which ends its thread at its next write. Idempotent."""
        if self.reader >= 0:
            os.close(self.reader)
            self.reader = -1

    def _pack(self) -> None:
        try:
            _Archive(self._path, self._writer, self._remark).write()
            self._failure = None
        except BrokenPipeError:
            pass  # the transfer is over
        except _ChangedError as changed:
            self._failure = str(changed)
        except OSError as error:
            named = tarnames.shown(str(error.filename or self._path))
            self._failure = f"cannot read {named}: {error.strerror}"
        finally:
            os.close(self._writer)


class _ChangedError(Exception):
    """A file is not what it was when its header was written."""


class _Archive:
    """One archive being written."""

    def __init__(self, root: str, writer: int, remark: Remark) -> None:
        self._root = root
        self._writer = writer
        self._remark = remark
        self._written = 0
        self._links: dict[tuple[int, int], str] = {}
        """Files that have several names: the name that is in the archive already."""

    def write(self) -> None:
        for name, found in _walk(self._root):
            self._entry(name, found)
        self._put(bytes(2 * _BLOCK))
        self._put(bytes(-self._written % _RECORD))

    def _entry(self, name: str, found: os.stat_result) -> None:
        path = os.path.join(self._root, name)
        try:
            parts = tarnames.parts(name)
        except tarnames.RefusedError as refused:
            self._remark(name, f"{refused}: it is packed, but `tyger buffer read` will refuse it")
            parts = ()
        if stat.S_ISREG(found.st_mode):
            first = self._links.get((found.st_dev, found.st_ino)) if found.st_nlink > 1 else None
            if first is None:
                self._file(name, path)
            else:
                self._head(name, found, tarfile.LNKTYPE, link=first)
        elif stat.S_ISDIR(found.st_mode):
            self._head(name, found, tarfile.DIRTYPE)
        elif stat.S_ISLNK(found.st_mode):
            target = os.readlink(path)
            if (why := tarnames.bad_link(parts, target)) is not None:
                self._remark(name, f"{why}: it is packed, but `tyger buffer read` will refuse it")
            self._head(name, found, tarfile.SYMTYPE, link=target)
        else:
            self._remark(name, "left out: it is neither a file, a directory nor a link")

    def _file(self, name: str, path: str) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            before = os.fstat(fd)
            if not stat.S_ISREG(before.st_mode):
                raise _ChangedError(f"{tarnames.shown(path)} was replaced while it was read")
            if before.st_nlink > 1:
                self._links[before.st_dev, before.st_ino] = name
            self._head(name, before, tarfile.REGTYPE, size=before.st_size)
            left = before.st_size
            while left:
                moved = self._move(fd, min(left, _COPY), path)
                if not moved:
                    break
                left -= moved
                self._written += moved
            after = os.fstat(fd)
            if left or (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
                raise _ChangedError(f"{tarnames.shown(path)} changed while it was read")
            self._put(bytes(-before.st_size % _BLOCK))
        finally:
            os.close(fd)

    def _move(self, fd: int, limit: int, path: str) -> int:
        try:
            return os.splice(fd, self._writer, limit)
        except OSError as error:
            if error.errno != errno.EINVAL:  # else a file system that cannot splice
                error.filename = error.filename or path
                raise
        data = os.read(fd, limit)
        pipes.write_all(self._writer, data)
        return len(data)

    def _head(self, name: str, found: os.stat_result, kind: bytes, *, link: str = "", size: int = 0) -> None:
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.size = kind, link, size
        info.mode = stat.S_IMODE(found.st_mode) & 0o777
        info.mtime = found.st_mtime_ns // 1_000_000_000
        if found.st_mtime_ns % 1_000_000_000:
            info.pax_headers = {"mtime": tarnames.seconds(found.st_mtime_ns)}
        self._put(info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))

    def _put(self, data: bytes) -> None:
        pipes.write_all(self._writer, data)
        self._written += len(data)


def _walk(root: str) -> Iterator[tuple[str, os.stat_result]]:
    """Every name below `root`, relative, a directory before what is in it.

    One directory's names are in memory.
    """
    levels = [_names(root, "")]
    while levels:
        name = next(levels[-1], None)
        if name is None:
            levels.pop()
            continue
        found = os.lstat(os.path.join(root, name))
        yield name, found
        if stat.S_ISDIR(found.st_mode):
            levels.append(_names(root, name))


def _names(root: str, directory: str) -> Iterator[str]:
    names = sorted(os.listdir(os.path.join(root, directory)), key=os.fsencode)
    return (os.path.join(directory, name) for name in names)

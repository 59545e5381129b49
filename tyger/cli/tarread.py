"""A tar stream into a directory, as it comes: nothing reaches outside, nothing half-written looks whole.

Theory of operation. Every name is walked from the directory's own descriptor, component by component, and a
link is never followed, so no archive gets out, whatever order it has and whatever stood there before. A file
is written under another name and renamed when it is whole. `.tyger-incomplete` stands in the directory until
all of the stream has been verified and unpacked. Owners and special permissions are not taken over, as
Python's filter `data` has it, which we cannot use: the Python of Debian 12 has none.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tarfile
import threading
from collections.abc import Callable, Iterator
from typing import IO, Self

from tyger import errors, pipes
from tyger.cli import tarnames

_COPY = 256 * 1024
_READ = 64 * 1024

_LARGEST_HEADER = 256 * 1024
"""Bytes of names and attributes of one entry: four times what Linux allows for the largest of them."""

_MOST_HEADERS = 1000
"""Headers that an archive may give for all of its entries."""

_HEADER_ERROR: type[Exception] = tarfile.HeaderError

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Unpacker:
    """Unpacks in a thread what is written to `writer`. Made, and ended with `finish`, in the main thread."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.files = 0
        """Files and links that were unpacked whole."""
        self.complete = False
        self.marked = False
        """Whether the directory was left with `.tyger-incomplete` in it. Both: ask after `finish`."""
        self._made = _made(path)
        try:
            self._root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._marked_before = _mark(self._root)
        except OSError as error:
            raise _refused(path, error) from None
        self._failure: errors.Problem | None = None
        self._tree = _Tree(self._root)
        self._ended = False  # the archive, well
        self._reader, self.writer = os.pipe()
        pipes.enlarge(self.writer)
        self._thread = threading.Thread(target=self._run, name="untar", daemon=True)

    def start(self) -> None:
        """Begin. The pipe breaks when the archive is refused."""
        pipes.start_without_signals(self._thread)

    def finish(self, *, whole: bool) -> bool:
        """The stream is over; `whole`: all of it came. Waits for the disk; whether the directory is complete.

        Only the first call counts. Where nothing was unpacked, nothing is left behind.
        """
        if self.writer < 0:
            return self.complete
        os.close(self.writer)
        self.writer = -1
        self._thread.join()
        self.complete = whole and self._ended
        nothing_in_it = self._made and os.listdir(self._root) == [tarnames.INCOMPLETE]
        self.marked = not self.complete and not nothing_in_it and (self._tree.touched or self._marked_before)
        if not self.marked:
            with contextlib.suppress(OSError):
                os.unlink(tarnames.INCOMPLETE, dir_fd=self._root)
        os.close(self._root)
        if not self.complete and nothing_in_it:
            with contextlib.suppress(OSError):
                os.rmdir(self.path)
        return self.complete

    @property
    def failure(self) -> errors.Problem:
        """Why it has not come to a good end. Ask after `finish`."""
        return self._failure or errors.Problem(errors.INTERNAL, "the archive was not read to its end")

    def _run(self) -> None:
        try:
            with os.fdopen(self._reader, "rb", buffering=0) as stream:
                for _ in _unpacked(stream, self._tree):
                    self.files += 1
            self._ended = True
        except errors.Problem as problem:
            self._failure = problem
        except OSError as error:
            self._failure = _refused(self.path, error)


class _Member(tarfile.TarInfo):
    """Remembers how the archive ended: tarfile takes a damaged header, and a missing end, for a good end."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tarfile)
        except _HEADER_ERROR as error:
            tarfile.ended_with = error  # type: ignore[attr-defined]
            raise

    def _proc_gnulong(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        return self._bounded(super()._proc_gnulong, archive)  # type: ignore[misc]  # not in the stubs

    def _proc_pax(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        return self._bounded(super()._proc_pax, archive)  # type: ignore[misc]  # not in the stubs

    def _bounded(
        self, process: Callable[[tarfile.TarFile], tarfile.TarInfo], archive: tarfile.TarFile
    ) -> tarfile.TarInfo:
        if self.size > _LARGEST_HEADER or len(archive.pax_headers) > _MOST_HEADERS:
            raise tarnames.RefusedError("its headers are too large")
        return process(archive)

    def _proc_sparse(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        del archive
        raise tarnames.RefusedError(f"{tarnames.shown(self.name)} is a sparse file, which only `tar` unpacks")

    _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = lambda self, *_: self._proc_sparse(None)


def _unpacked(stream: IO[bytes], tree: _Tree) -> Iterator[None]:
    """Unpack each entry; yields after each file and link.

    Raises:
        Problem: it cannot be unpacked.
    """
    try:
        with tarfile.open(
            fileobj=stream,
            mode="r|",
            bufsize=_READ,
            tarinfo=_Member,
            encoding="utf-8",
            errors="surrogateescape",
        ) as archive:
            while (member := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # else it keeps all of them
                try:
                    if _entry(tree, archive, member):
                        yield
                except tarnames.RefusedError as refused:
                    raise _problem(member, str(refused)) from None
                except OSError as error:
                    raise _problem(member, str(error.strerror or error), errors.IO_ERROR) from None
            if type(getattr(archive, "ended_with", None)).__name__ != "EOFHeaderError":
                raise _no_archive("it has no end, or a damaged header")
            _drain(archive.fileobj)
    except (tarfile.TarError, tarnames.RefusedError) as error:
        raise _no_archive(str(error)) from None
    except (ValueError, ArithmeticError, LookupError, RecursionError):  # what tarfile makes of odd headers
        raise _no_archive("a header makes no sense") from None
    finally:
        tree.close()


def _entry(tree: _Tree, archive: tarfile.TarFile, member: tarfile.TarInfo) -> bool:
    """Unpack one entry; whether it is a file or a link."""
    name = tarnames.parts(member.name)
    time = tarnames.nanoseconds(member.pax_headers.get("mtime", ""))
    moment = int(member.mtime) * 1_000_000_000 if time is None else time
    if member.isdir():
        tree.directory(name, moment)
        return False
    if not name:
        raise tarnames.RefusedError("it is the directory itself, and not one")
    if member.isreg():
        content = archive.extractfile(member)
        assert content is not None  # noqa: S101 - for mypy: only a file has been asked for
        tree.file(name, content, member.mode, moment)
    elif member.issym():
        if (why := tarnames.bad_link(name, member.linkname)) is not None:
            raise tarnames.RefusedError(why)
        tree.symbolic(name, member.linkname, moment)
    elif member.islnk():
        tree.hard(name, tarnames.parts(member.linkname))
    else:
        raise tarnames.RefusedError("it is neither a file, a directory nor a link")
    return True


class _Tree:
    """The directory being filled. Names are tuples of components, none of them `..`."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._mask = os.umask(0o077)
        os.umask(self._mask)  # nobody can only ask
        self.touched = False
        """Whether anything was made in it."""
        self._at: tuple[str, ...] = ()
        self._fd = os.dup(root)
        """The directory `_at`: most entries stand beside the one before."""
        self._open: list[tuple[tuple[str, ...], int]] = []
        """Directories that entries may still come for, the outermost first, with their times."""

    def close(self) -> None:
        self._leave(())
        os.close(self._fd)

    def directory(self, name: tuple[str, ...], moment: int) -> None:
        self._leave(name)
        if name:
            self.touched = True
            self._enter(name)
            if self._open and self._open[-1][0] == name:
                self._open.pop()
            self._open.append((name, moment))

    def file(self, name: tuple[str, ...], content: IO[bytes], mode: int, moment: int) -> None:
        parent = self._beside(name)
        how = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(tarnames.PART, how, 0o600, dir_fd=parent)
        try:
            while data := content.read(_COPY):
                pipes.write_all(fd, data)
            mode = ((mode & 0o755) | 0o600) & ~self._mask
            os.fchmod(fd, mode if mode & 0o100 else mode & ~0o111)
            _set_time(fd, moment)
        except BaseException:
            os.unlink(tarnames.PART, dir_fd=parent)
            raise
        finally:
            os.close(fd)
        self._settle(parent, name)

    def symbolic(self, name: tuple[str, ...], target: str, moment: int) -> None:
        parent = self._beside(name)
        os.symlink(target, tarnames.PART, dir_fd=parent)
        with contextlib.suppress(OSError, OverflowError):
            os.utime(tarnames.PART, ns=(moment, moment), dir_fd=parent, follow_symlinks=False)
        self._settle(parent, name)

    def hard(self, name: tuple[str, ...], target: tuple[str, ...]) -> None:
        parent = self._beside(name)
        there = self._walk(target[:-1], make=False)
        try:
            if not target or not stat.S_ISREG(
                os.stat(target[-1], dir_fd=there, follow_symlinks=False).st_mode
            ):
                raise tarnames.RefusedError("it is a link to what is no file")
            os.link(target[-1], tarnames.PART, src_dir_fd=there, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(there)
        self._settle(parent, name)

    def _beside(self, name: tuple[str, ...]) -> int:
        """The directory that `name` is in, ready for a new entry; still ours."""
        self.touched = True
        self._leave(name)
        self._enter(name[:-1])
        with contextlib.suppress(FileNotFoundError):
            os.unlink(tarnames.PART, dir_fd=self._fd)  # of an earlier, interrupted, read
        return self._fd

    @staticmethod
    def _settle(parent: int, name: tuple[str, ...]) -> None:
        os.rename(tarnames.PART, name[-1], src_dir_fd=parent, dst_dir_fd=parent)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(tarnames.PART, dir_fd=parent)  # rename leaves it where both are one file already

    def _enter(self, name: tuple[str, ...]) -> None:
        if name != self._at:
            fd = self._walk(name, make=True)
            os.close(self._fd)
            self._fd, self._at = fd, name

    def _walk(self, name: tuple[str, ...], *, make: bool) -> int:
        """A descriptor of a directory below ours, made where it is missing; links are not followed."""
        fd = os.dup(self._root)
        try:
            for part in name:
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, dir_fd=fd)
                deeper = os.open(part, _DIRECTORY, dir_fd=fd)
                os.close(fd)
                fd = deeper
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _leave(self, name: tuple[str, ...]) -> None:
        """Set the times of the directories that `name` is not in: filling them has changed those."""
        while self._open and name[: len(self._open[-1][0])] != self._open[-1][0]:
            left, moment = self._open.pop()
            with contextlib.suppress(OSError):  # replaced meanwhile by an entry of the same name
                fd = self._walk(left, make=False)
                try:
                    _set_time(fd, moment)
                finally:
                    os.close(fd)


def _set_time(fd: int, moment: int) -> None:
    with contextlib.suppress(OSError, OverflowError):  # a time that this file system has not
        os.utime(fd, ns=(moment, moment))


def _drain(stream: object) -> None:
    """Take what pads the archive; anything else behind its end is no padding."""
    while data := stream.read(_COPY):  # type: ignore[attr-defined]
        if data.count(0) != len(data):
            raise _no_archive("there is something behind its end")


def _made(path: str) -> bool:
    """Make the directory where it is missing; whether it was."""
    try:
        os.mkdir(path.rstrip("/") or "/")
    except FileExistsError:
        return False
    except OSError as error:
        raise _refused(path, error) from None
    return True


def _mark(root: int) -> bool:
    """Mark a directory as not complete; whether it was marked before."""
    how = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        fd = os.open(tarnames.INCOMPLETE, how, 0o644, dir_fd=root)
    except FileExistsError:
        return True
    with os.fdopen(fd, "w") as file:
        file.write("tyger buffer read unpacks into this directory, and has not come to a good end.\n")
    return False


def _refused(path: str, error: OSError) -> errors.Problem:
    kind = errors.FORBIDDEN if isinstance(error, PermissionError) else errors.IO_ERROR
    return errors.Problem(kind, f"cannot unpack into {tarnames.shown(path)}: {error.strerror or error}")


def _problem(member: tarfile.TarInfo, why: str, kind: errors.Kind = errors.INVALID_INPUT) -> errors.Problem:
    return errors.Problem(kind, f"cannot unpack {tarnames.shown(member.name)}: {why}")


def _no_archive(why: str) -> errors.Problem:
    return errors.Problem(
        errors.INVALID_INPUT, f"the buffer holds no tar archive that can be unpacked: {why}"
    )

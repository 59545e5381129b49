"""The state directory: private, of a version we know, on a disk that locks, held by one daemon at a time.

Also the reserve: a file that is given up when the disk is full, so that the catalog and the journals, which
say what there is, can still be written.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import math
import os
import select
import time
from typing import Self

from tyger import errors, paths
from tygerd.osutil import durable

VERSION = 1
"""Of the layout below the directory, docs/design.md "State on disk". Higher ones are refused."""

RESERVE = 1024 * 1024
"""Bytes: several thousand rows or journal records."""

NETWORK = {"nfs", "nfs4", "cifs", "smb3"}
"""File systems whose locks and renames do not hold what the journals and the lock need."""


PATIENCE = 15
"""Seconds that a new daemon waits for one that said it is leaving: requests may take a while to finish.

As long for a lock whose daemon has ended."""

_LEAVING = "leaving"


class StateDirectory:
    """An open, locked state directory. The lock goes with the process, however it ends."""

    def __init__(self, path: str, lock: int) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def open(cls, path: str) -> Self:
        """Make it if need be, check it and lock it. Blocks while the daemon that holds it is leaving.

        Raises:
            Problem: CONFIG: it cannot be used, or another daemon holds it; STORAGE_FULL: the disk is full.
        """
        try:
            os.makedirs(path, mode=0o700, exist_ok=True)
            refuse_network(path)
            lock = os.open(os.path.join(path, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                _lock(lock, path)
                _check_version(path)
            except BaseException:
                os.close(lock)
                raise
        except OSError as error:
            raise _unusable(path, error) from None
        return cls(path, lock)

    def record_socket(self, path: str) -> None:
        """Note where this daemon listens, for commands that look elsewhere (`paths.recorded_socket`)."""
        with open(os.path.join(self.path, "socket"), "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(f"{path}\n")

    def leave(self) -> None:
        """Say that the lock is about to be let go. To be called while clients still reach this daemon.

        A client that no longer does may start the next daemon, which then waits instead of failing.
        """
        _write_holder(self._lock, _LEAVING)

    def sync(self) -> None:
        """Wait until what starting has made here, and what an earlier daemon left unsynced, is on the disk.

        That is the directory, what leads to it, and what it holds; not what is in its directories. Blocks on
        the disk.

        Raises:
            Problem: STORAGE_FULL or CONFIG.
        """
        try:
            with os.scandir(self.path) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False):
                        durable.sync_path(entry.path)
            durable.sync_upward(self.path)
        except OSError as error:
            raise _unusable(self.path, error) from None

    def close(self) -> None:
        """Let the lock go."""
        os.close(self._lock)

    def tend_reserve(self) -> bool:
        """Give the reserve's room to the catalog and the journals when the disk is full, take it back after.

        Returns whether there is a reserve now. Blocks on the disk.

        Raises:
            Problem: CONFIG: the directory was removed, or cannot be used any more.
        """
        if os.fstat(self._lock).st_nlink == 0:
            raise self._removed()
        try:
            if room(self.path) < RESERVE // 4:
                self.make_room()
            elif has_room(self.path):
                self._restore()
        except FileNotFoundError:
            raise self._removed() from None
        except OSError as error:
            raise _unusable(self.path, error) from None
        with contextlib.suppress(FileNotFoundError):
            return os.path.getsize(self._reserve) > 0
        return False

    def make_room(self) -> bool:
        """Give the reserve up now: a write that matters found no room. Whether that made any.

        Blocks on the disk; may be called from any thread.
        """
        try:
            if os.path.getsize(self._reserve) == 0:
                return False
            os.truncate(self._reserve, 0)
        except FileNotFoundError:
            return False
        return True

    def _removed(self) -> errors.Problem:
        return errors.Problem(
            errors.CONFIG,
            f"the state directory {self.path} was removed, with all buffers and runs in it, while this daemon"
            " used it; another start makes a new one",
        )

    def _restore(self) -> None:
        with contextlib.suppress(OSError):
            fd = os.open(self._reserve, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(fd, 0, RESERVE)
            finally:
                os.close(fd)

    @property
    def _reserve(self) -> str:
        return os.path.join(self.path, "reserve")


def room(path: str) -> float:
    """Bytes that may still be written to the disk that holds `path`; infinite where it does not say."""
    free = os.statvfs(path)
    return free.f_bavail * free.f_frsize if free.f_blocks else math.inf


def has_room(path: str) -> bool:
    """Whether a disk has room for streams: more than the last few MiB.

    Those are for the catalog and the journals, as is what the reserve gives up once they are gone, too.
    """
    return room(path) > 4 * RESERVE


def refuse_network(path: str) -> None:
    """Refuse a directory on a network file system.

    Raises:
        Problem: CONFIG, naming the file system's type.
    """
    kind = filesystem_of(path)
    if kind in NETWORK:
        raise errors.Problem(
            errors.CONFIG,
            f"the state directory {path} is on {kind}: choose one on a local disk with --state",
        )


def filesystem_of(path: str) -> str:
    """The type of the file system that holds `path` (`ext4`, `nfs4`), empty when the kernel does not say."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as info:
            fields = dict(line.split(":", 1) for line in info if ":" in line)
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
            for line in mounts:
                before, _, after = line.partition(" - ")
                if before.split()[0] == fields.get("mnt_id", "").strip():
                    return after.split()[0]
    except OSError:
        return ""
    finally:
        os.close(fd)
    return ""


def _lock(fd: int, path: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder, _, leaving = os.pread(fd, 40, 0).decode("ascii", "replace").strip().partition(" ")
            if not _ended(holder, deadline if leaving == _LEAVING else 0) or time.monotonic() > deadline:
                socket = paths.recorded_socket(path)
                where = f"; it listens on {socket}: name that with --socket, or end it" if socket else ""
                raise errors.Problem(
                    errors.CONFIG,
                    f"another daemon (process {holder or 'unknown'}) uses the state directory {path}{where}",
                ) from None
            # A daemon that was killed while it started a program leaves a child with the lock, until its exec
            time.sleep(0.01)
        else:
            _write_holder(fd)
            return


def _write_holder(fd: int, *more: str) -> None:
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{' '.join([str(os.getpid()), *more])}\n".encode(), 0)


def _ended(process: str, deadline: float) -> bool:
    """Whether a process has ended; waits for that until `deadline`, on the clock of `time.monotonic`.

    True, too, for one that nobody can look for: the holder has not written its number yet, or that is one of
    another pid namespace.
    """
    try:
        watched = os.pidfd_open(int(process))
    except (OSError, ValueError):
        return True
    try:
        return bool(select.select([watched], [], [], max(0, deadline - time.monotonic()))[0])
    finally:
        os.close(watched)


def _check_version(path: str) -> None:
    file = os.path.join(path, "version")
    try:
        with open(file, encoding="ascii", errors="replace") as stored:
            text = stored.read(100).strip()
    except FileNotFoundError:
        _write_version(file)
        return
    if not text.isdecimal():
        raise errors.Problem(
            errors.CONFIG, f"{file} holds no version: is {path} a state directory of tygerd?"
        )
    if int(text) > VERSION:
        raise errors.Problem(
            errors.CONFIG,
            f"the state in {path} is of version {text} and this tygerd knows {VERSION}: use the newer tygerd",
        )


def _write_version(file: str) -> None:
    """Write a new directory's version, whole or not at all."""
    durable.replace(file, f"{VERSION}\n".encode(), sync=True)


def _unusable(path: str, error: OSError) -> errors.Problem:
    kind = errors.STORAGE_FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else errors.CONFIG
    return errors.Problem(kind, f"cannot use the state directory {path}: {os.strerror(error.errno or 0)}")

"""The listening Unix socket: bound where clients look for it, and noticed when it is no longer there.

Bind only while the state directory's lock is held: then the only other process that can answer at the path
is a daemon on another state directory.
"""

from __future__ import annotations

import contextlib
import grp
import os
import socket
import stat
from collections.abc import Callable
from typing import Self

import trio

from tyger import errors, paths

BACKLOG = 512
"""Connections that may wait to be accepted; the kernel caps it (somaxconn)."""


class Listener:
    """A listening socket. `again` binds its path once more, None where somebody else made the socket."""

    def __init__(
        self,
        sock: socket.socket,
        path: str,
        identity: tuple[int, int] | None,
        again: Callable[[], Listener] | None,
    ) -> None:
        self.socket = trio.socket.from_stdlib_socket(sock)
        self.path = path
        self._identity = identity
        self.again = again

    @classmethod
    def bind(cls, path: str, *, mode: int, group: str | None) -> Self:
        """Listen at `path`; a socket left by a dead daemon is replaced.

        The new socket appears at its path listening and with its mode: no client meets it half made.

        Raises:
            Problem: CONFIG: a daemon answers there, something else is there, or it cannot be made; its
            message has
                the system's reason.
        """
        paths.check_socket_path(path)
        directory = os.path.dirname(path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        temporary = os.path.join(directory, f".{os.getpid()}")
        try:
            _make_directory(directory, private=not mode & 0o077)
            _refuse_living(path)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            sock.bind(temporary)
            os.chmod(temporary, mode)
            if group is not None:
                os.chown(temporary, -1, _group_id(group))
            sock.listen(BACKLOG)
            identity = _identity_of(temporary)
            os.rename(temporary, path)
        except BaseException as error:
            sock.close()
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            if not isinstance(error, OSError):
                raise
            # Python itself refuses a path that is too long, without an errno.
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise errors.Problem(errors.CONFIG, f"cannot listen on {path}: {reason}") from None
        return cls(sock, path, identity, lambda: cls.bind(path, mode=mode, group=group))

    @classmethod
    def passed(cls, sock: socket.socket) -> Self:
        """Listen on a socket that the service manager made, and owns."""
        path = sock.getsockname()
        try:
            identity = _identity_of(path)
        except OSError:
            identity = None
        return cls(sock, path, identity, None)

    def lost(self) -> bool:
        """Whether our path no longer leads to this socket. Two system calls on a local disk."""
        if self._identity is None:
            return False
        try:
            return _identity_of(self.path) != self._identity
        except OSError:
            return True

    def close(self) -> None:
        """Stop listening; remove the path if we made it and it is still ours."""
        if self.again is not None and not self.lost():
            with contextlib.suppress(OSError):
                os.unlink(self.path)
        self.socket.close()


def _identity_of(path: str) -> tuple[int, int]:
    found = os.lstat(path)
    return found.st_dev, found.st_ino


def _make_directory(path: str, *, private: bool) -> None:
    """Make the socket's directory, open to others only if the socket is.

    A private one in a public place must not be somebody else's.
    """
    try:
        os.makedirs(path, mode=0o700)
    except FileExistsError:
        if private and os.stat(os.path.dirname(path)).st_mode & stat.S_IWOTH:
            paths.check_private(path)
    else:
        if not private:
            os.chmod(path, 0o755)  # noqa: S103 - who may connect has to get there


def _refuse_living(path: str) -> None:
    """Refuse a path where somebody answers, or where something other than a socket is."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise errors.Problem(errors.CONFIG, f"cannot listen on {path}: it exists and is not a socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
            probe.connect(path)
    except (FileNotFoundError, ConnectionRefusedError):
        return
    except BlockingIOError:
        # Its backlog is full: it is busy, not dead.
        pass
    raise errors.Problem(errors.CONFIG, f"another daemon answers on {path}")


def _group_id(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise errors.Problem(errors.CONFIG, f"socket.group: there is no group {name}") from None

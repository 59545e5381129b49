"""Where the socket, the configuration and the state are; no other file knows a path.

System mode is the installation for all users of a machine; user mode needs nobody's leave. Standard library
only: this is on the start path of every command.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from typing import NamedTuple

from tyger import errors

SYSTEM_SOCKET = "/run/tyger/tyger.sock"
SYSTEM_STATE = "/var/lib/tyger"
SYSTEM_CONFIG = "/etc/tyger/tygerd.toml"

SOCKET_PATH_LIMIT = 107
"""Bytes of a Unix socket's path that fit into the kernel's `sun_path` beside its terminator."""


class Paths(NamedTuple):
    """The three places, whether they are the system's, and whether somebody named this very socket.

    `foreign`: whoever listens there is not for us to start.
    """

    system: bool
    socket: str
    state: str
    config: str
    named: bool = False
    foreign: bool = False


def locate(
    environ: Mapping[str, str],
    *,
    system: bool | None = None,
    socket: str | None = None,
    state: str | None = None,
    config: str | None = None,
) -> Paths:
    """The paths in force. Explicit ones win, then TYGER_SOCKET, then the mode's own.

    `system` None means: the system's socket if it exists and no other is named, else the user's.

    Raises:
        Problem: the socket's path is too long (CONFIG); the private directory in the temporary directory
        belongs to
            somebody else (FORBIDDEN).
    """
    named = socket or environ.get("TYGER_SOCKET")
    if system is None:
        system = named is None and os.path.exists(SYSTEM_SOCKET)
    if system:
        chosen = Paths(
            system=True,
            socket=named or SYSTEM_SOCKET,
            state=state or SYSTEM_STATE,
            config=config or SYSTEM_CONFIG,
        )
    else:
        chosen = Paths(
            system=False,
            socket=named or os.path.join(_runtime_directory(environ), "tyger.sock"),
            state=state or os.path.join(_base(environ, "XDG_STATE_HOME", "~/.local/state"), "tyger"),
            config=config
            or os.path.join(_base(environ, "XDG_CONFIG_HOME", "~/.config"), "tyger", "tygerd.toml"),
        )
    # The daemon's working directory is not the command's.
    chosen = chosen._replace(
        socket=os.path.abspath(chosen.socket),
        state=os.path.abspath(chosen.state),
        config=os.path.abspath(chosen.config),
        named=named is not None,
    )
    check_socket_path(chosen.socket)
    return chosen


def check_socket_path(path: str) -> None:
    """Refuse a path that the kernel cannot bind or connect to.

    Raises:
        Problem: CONFIG, naming the path and its length.
    """
    length = len(os.fsencode(path))
    if length > SOCKET_PATH_LIMIT:
        raise errors.Problem(
            errors.CONFIG,
            f"the socket path {path} has {length} bytes, and {SOCKET_PATH_LIMIT} is the most that"
            " the kernel takes; name a shorter one with TYGER_SOCKET or --socket",
        )


def recorded_socket(state: str) -> str | None:
    """Where the daemon that has, or last had, this state directory listens; None when nobody said."""
    try:
        with open(os.path.join(state, "socket"), encoding="utf-8", errors="surrogateescape") as file:
            return file.read().strip() or None
    except OSError:
        return None


def check_private(path: str) -> None:
    """Refuse a directory in a public place that somebody else made or may write to; a missing one is fine.

    Raises:
        Problem: FORBIDDEN.
    """
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise errors.Problem(
            errors.FORBIDDEN,
            f"{path} is not a private directory of yours (mode 0700);"
            " make it one, or name another place with XDG_RUNTIME_DIR or TYGER_SOCKET",
        )


def _runtime_directory(environ: Mapping[str, str]) -> str:
    base = environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(base):
        return os.path.join(base, "tyger")
    path = os.path.join(environ.get("TMPDIR") or "/tmp", f"tyger-{os.geteuid()}")  # noqa: S108 - checked below
    check_private(path)
    return path


def _base(environ: Mapping[str, str], name: str, default: str) -> str:
    """An XDG base directory; a relative one is to be ignored (XDG base directory specification)."""
    value = environ.get(name, "")
    if os.path.isabs(value):
        return value
    home = environ.get("HOME", "")
    return os.path.join(home, default[2:]) if os.path.isabs(home) else os.path.expanduser(default)

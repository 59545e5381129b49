"""Find a daemon in user mode, or start one: flock, spawn, wait until it answers; else say why it does not.

What is started has nothing of ours: its own session, no descriptor (so `$(tyger status 2>&1)` returns), few
environment variables, cwd `/`. It says on its stdout that it is ready, then lets go of it. Standard library
only.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import subprocess
import time

from tyger import errors, paths, programs, sockets

PATIENCE = 60
"""Seconds for a daemon to become ready: it may have an old catalog to upgrade and runs to adopt."""

LOG_LIMIT = 10 * 1024 * 1024
"""Bytes of an old log above which a new one is begun."""

_KEEP = {"HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TMPDIR", "TZ", "USER"}
_KEEP_NETWORK = {"http_proxy", "https_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir"}
"""In either case: how this host reaches others is not about a shell."""

_KEEP_PREFIXES = ("LC_", "XDG_", "TYGERD_")
"""The rest of a shell's environment is about that shell, and would stay in the daemon for days."""


def ensure(where: paths.Paths) -> str:
    """The socket on which a daemon answers for `where`; blocks until one does. Racing callers start one.

    It is `where.socket`, or, unless that was named, the socket of the daemon that has the state directory: a
    session and cron look for it in different places.

    Raises:
        Problem: none may be started (UNAVAILABLE), or the reason why the one that was started ended.
    """
    if where.system:
        raise errors.Problem(
            errors.UNAVAILABLE,
            f"the system's daemon does not answer on {where.socket}; see: systemctl status tygerd",
        )
    if where.foreign:
        raise errors.Problem(
            errors.UNAVAILABLE,
            f"no daemon answers on {where.socket}, which the login or TYGER_SOCKET_PATH names: start it,"
            " or choose this machine's own with: tyger login --local",
        )
    if os.environ.get("TYGER_AUTOSTART") == "0":
        raise errors.Problem(
            errors.UNAVAILABLE,
            f"no daemon answers on {where.socket}, and TYGER_AUTOSTART=0 forbids starting one;"
            " start it with: tygerd serve",
        )
    if where.named and not os.path.isdir(os.path.dirname(where.socket)):
        raise errors.Problem(
            errors.UNAVAILABLE,
            f"no daemon answers on {where.socket}, and its directory does not exist;"
            " name another socket, or make the directory",
        )
    try:
        os.makedirs(where.state, mode=0o700, exist_ok=True)
        lock = os.open(os.path.join(where.state, "start.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise errors.Problem(
            errors.CONFIG, f"cannot use the state directory {where.state}: {error.strerror}"
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if answers(where.socket):
            return where.socket
        if not where.named and (other := paths.recorded_socket(where.state)) and answers(other):
            return other
        _start(where)
    finally:
        os.close(lock)
    return where.socket


def answers(socket_path: str) -> bool:
    """Whether somebody accepts connections there. Raises `Problem` where the user may not connect."""
    try:
        sockets.connect(socket_path).close()
    except sockets.Disconnected:
        return False
    return True


def _start(where: paths.Paths) -> None:
    """Start a daemon and wait for its word."""
    argv = [*programs.command("tygerd"), "serve", "--autostarted"]
    argv += ["--socket", where.socket, "--state", where.state]
    if os.path.exists(where.config):
        argv += ["--config", where.config]
    log_path = os.path.join(where.state, "tygerd.log")
    environ = {
        name: value
        for name, value in programs.own_environment(os.environ).items()
        if name in _KEEP
        or name.lower() in _KEEP_NETWORK
        or name.startswith(_KEEP_PREFIXES)
        or name in ("PYTHONPATH", *programs.LIBRARY_PATHS)
    }
    try:
        with contextlib.suppress(FileNotFoundError):
            if os.path.getsize(log_path) > LOG_LIMIT:
                os.replace(log_path, log_path + ".1")
        log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        begin = os.lseek(log, 0, os.SEEK_END)
        with os.fdopen(log, "wb") as errors_to:
            child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors_to,
                cwd="/",
                env=environ,
                umask=0o077,
                start_new_session=True,
                close_fds=True,
            )
    except OSError as error:
        raise errors.Problem(
            errors.UNAVAILABLE, f"cannot start the daemon ({argv[0]}): {error.strerror}"
        ) from None
    with child:
        # What we started forks and leaves, so that the daemon is nobody's child: `with` waits for that only.
        word = "" if child.stdout is None else _last_word(child.stdout.fileno())
    if word == "ready":
        return
    code, _, reason = word.partition(": ")
    kind = errors.BY_CODE.get(code)
    if kind is None:
        kind, reason = (
            errors.UNAVAILABLE,
            f"the daemon ended: {_last_line(log_path, begin)}; its log is {log_path}",
        )
    raise errors.Problem(kind, reason)


def _last_word(fd: int) -> str:
    """What the daemon says about its start: `ready`, or `<code>: <reason>`; nothing when it died."""
    deadline = time.monotonic() + PATIENCE
    said = b""
    while b"\n" not in said:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([fd], [], [], left)[0]:
            raise errors.Problem(
                errors.UNAVAILABLE, f"the daemon did not get ready within {PATIENCE} seconds"
            )
        data = os.read(fd, 4096)
        if not data:
            break
        said += data
    return said.decode("utf-8", "replace").partition("\n")[0]


def _last_line(log_path: str, begin: int) -> str:
    """The last thing that the daemon logged since `begin`."""
    with open(log_path, "rb") as log:
        log.seek(max(begin, os.path.getsize(log_path) - 4096))
        lines = log.read().decode("utf-8", "replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")

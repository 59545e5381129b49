"""`tygerd pump prepare`: what has to be there before the containers of a pod start.

It makes the named pipes, which any user may open, and waits until the names of the run's workers resolve.
Pods wait for it, so it loads next to nothing. The pump makes the pipes, too, where nobody has.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from typing import NoReturn

FIFOS = "/etc/buffer-fifos"

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
"""Seconds between looks for a name: doubled each time, with this ceiling."""

SILENT = 10.0
"""Seconds after which it is said what is waited for."""


def main(argv: Sequence[str]) -> int:
    """Run `tygerd pump prepare` with these arguments; its exit code."""
    try:
        options = parser().parse_args(argv)
    except SystemExit as ended:  # argparse has said what was wrong, or has helped
        return 64 if ended.code else 0
    # The first process of a pid namespace ignores every signal that it has no handler for.
    signal.signal(signal.SIGTERM, _leave)
    for name in options.fifos:
        path = os.path.join(options.directory, name)
        try:
            make(path)
        except OSError as error:
            return _fail(f"cannot make the named pipe {path}: {error.strerror}")
    for host in options.hosts:
        wait_for(host)
    return 0


def parser() -> argparse.ArgumentParser:
    """The arguments of `tygerd pump prepare`."""
    made = argparse.ArgumentParser(
        "tygerd pump prepare", description="Make a pod's named pipes, and wait for its workers."
    )
    made.add_argument(
        "--fifo",
        metavar="NAME",
        action="append",
        default=[],
        dest="fifos",
        help="a pipe to make; may be repeated",
    )
    made.add_argument(
        "--host",
        metavar="NAME",
        action="append",
        default=[],
        dest="hosts",
        help="a name that has to resolve; may be repeated",
    )
    made.add_argument(
        "--fifos", metavar="DIRECTORY", default=FIFOS, dest="directory", help="pipes (default: %(default)s)"
    )
    return made


def make(path: str) -> None:
    """Make a FIFO that everybody may open; one that is there is of an earlier attempt. Raises OSError."""
    with contextlib.suppress(FileExistsError):
        os.mkfifo(path)
    os.chmod(path, 0o666)  # noqa: S103 - main may be anybody, and the pod is all its own; whatever the umask


def wait_for(host: str) -> None:
    """Wait until a name resolves, for ever: the run's timeout is the limit."""
    pause, began, said = FIRST_PAUSE, time.monotonic(), False
    while not _resolves(host):
        if not said and time.monotonic() - began > SILENT:
            said = True
            sys.stderr.write(f"tygerd pump prepare: {host} does not resolve yet; waiting\n")
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def _resolves(host: str) -> bool:
    try:
        return bool(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))
    except (OSError, UnicodeError):
        return False


def _fail(message: str) -> int:
    sys.stderr.write(f"tygerd pump prepare: {message}\n")
    return 1


def _leave(number: int, _: object) -> NoReturn:
    os._exit(128 + number)

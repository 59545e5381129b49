"""Where the bytes of a command come from and go to: standard input and output, or files that it opens.

Refuses, before anything is started, what cannot be meant: a closed or write-only descriptor, a directory, a
terminal nobody asked for. Opens nothing else and moves no bytes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator

from tyger import errors
from tyger.cli import output

STDIN_NAME = "-"


@contextlib.contextmanager
def source(console: output.Console, path: str | None, *, hint: str) -> Iterator[int]:
    """A descriptor to read from: `path`, or standard input for None and `-`.

    `hint` is what to do instead of typing at a terminal. Opening a named pipe waits for its writer.

    Raises:
        Problem: it cannot be read, or is a terminal and `-` was not said.
    """
    if path not in (None, STDIN_NAME):
        fd = _opened(str(path), os.O_RDONLY, "input")
        try:
            _check_readable(fd, str(path))
            yield fd
        finally:
            os.close(fd)
        return
    if output.STDIN in console.closed:
        raise errors.Problem(
            errors.IO_ERROR, "standard input is closed; pipe data in, or name a file with --input"
        )
    if path is None and os.isatty(output.STDIN):
        raise errors.Problem(errors.USAGE, f"standard input is a terminal; {hint}")
    _check_readable(output.STDIN, "standard input")
    yield output.STDIN


@contextlib.contextmanager
def destination(console: output.Console, path: str | None) -> Iterator[int]:
    """A descriptor to write to: `path`, created (0644) or emptied, or standard output for None and `-`.

    Raises:
        Problem: it cannot be written.
    """
    if path not in (None, "-"):
        fd = _opened(str(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, "output")
        try:
            yield fd
        finally:
            os.close(fd)
        return
    if output.STDOUT in console.closed:
        raise errors.Problem(errors.IO_ERROR, "standard output is closed")
    if _access_mode(output.STDOUT) == os.O_RDONLY:
        raise errors.Problem(errors.IO_ERROR, "standard output is not open for writing")
    yield output.STDOUT


def is_regular(fd: int) -> bool:
    """Whether `fd` is a regular file."""
    return stat.S_ISREG(os.fstat(fd).st_mode)


def _check_readable(fd: int, name: str) -> None:
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        raise errors.Problem(errors.INVALID_INPUT, f"{name} is a directory")
    if _access_mode(fd) == os.O_WRONLY:
        raise errors.Problem(errors.IO_ERROR, f"{name} is not open for reading")


def _access_mode(fd: int) -> int:
    return fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE


def _opened(path: str, how: int, what: str) -> int:
    try:
        return os.open(path, how | os.O_CLOEXEC, 0o644)
    except ValueError:
        raise errors.Problem(
            errors.INVALID_INPUT, f"cannot open {what} file: its name has a null byte"
        ) from None
    except OSError as error:
        kind = {FileNotFoundError: errors.NOT_FOUND, PermissionError: errors.FORBIDDEN}.get(
            type(error), errors.IO_ERROR
        )
        raise errors.Problem(kind, f"cannot open {what} file {path}: {error.strerror}") from error

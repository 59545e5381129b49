"""The proxy's log: the records of `tyger` on standard error and, as JSON lines, in a file.

What the HTTP server of the daemon logs comes here too. No signature and no token gets into either.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import time

from tyger import errors
from tyger.cli import output, records
from tygerd import clock
from tygerd import logs as daemon_logs

_LEVELS = {
    logging.DEBUG: "debug",
    logging.INFO: "info",
    logging.WARNING: "warn",
    logging.ERROR: "error",
    logging.CRITICAL: "error",
}


class Log:
    """Called with a level, a message and fields. `path` is the file's, empty where there is none."""

    def __init__(self, console: output.Console) -> None:
        self.path = ""
        self._console = console
        self._fd = -1

    def __call__(self, level: str, message: str, /, **values: object) -> None:
        """Write one record, if its level is of interest."""
        values = {
            name: daemon_logs.redact(value) if isinstance(value, str) else value
            for name, value in values.items()
        }
        message = daemon_logs.redact(message)
        if self._fd >= 0 and output.LEVELS.index(level) >= output.LEVELS.index(self._console.level):
            line = records.as_json(records.all_digits(time.time_ns()), level, message, values) + "\n"
            with contextlib.suppress(OSError):  # a full disk must not end the service
                os.write(self._fd, line.encode())
        self._console.log(level, message, **values)  # last: who reads it may look into the file

    def open(self, where: str) -> None:
        """Write to a file as well: `where`, or a new one in it where it is a directory (`is_directory`).

        Raises:
            Problem: CONFIG, it cannot be made.
        """
        path = where
        if is_directory(where):
            moment = clock.now().strftime("%Y%m%dT%H%M%SZ")
            path = os.path.join(where, f"tyger-proxy-{moment}-{secrets.token_hex(4)}.log")
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            os.fchmod(self._fd, 0o644)  # the umask has no say: other users are told where it is
        except OSError as error:
            raise errors.Problem(errors.CONFIG, f"cannot write the log {path}: {error.strerror}") from None
        self.path = path

    def take_all(self) -> None:
        """From now on, also what the modules of this process log."""
        root = logging.getLogger()
        for old in root.handlers[:]:
            root.removeHandler(old)
        root.addHandler(_Handler(self))
        root.setLevel(logging.DEBUG if self._console.level in ("trace", "debug") else logging.INFO)

    def close(self) -> None:
        """Close the file. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class _Handler(logging.Handler):
    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a record over; a traceback is part of its message."""
        self._log(_LEVELS.get(record.levelno, "info"), self.format(record))


def is_directory(where: str) -> bool:
    """Whether a log path names a directory: it ends in a slash, or has no extension (cli.md 9)."""
    return where.endswith("/") or not os.path.splitext(where)[1] or os.path.isdir(where)

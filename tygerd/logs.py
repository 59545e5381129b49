"""Log set-up: one handler on stderr, for people, for journald or as JSON lines. Secrets never leave it.

What a log line says is its caller's affair; how it looks, and that no signature or token is in it, is
decided here, after everything (arguments, extras, tracebacks) has become text.
"""

from __future__ import annotations

import abc
import json
import logging
import os
import re
import sys
from collections.abc import Mapping
from typing import Literal, TextIO

from tygerd import clock

Format = Literal["human", "json", "journal"]
FORMATS: tuple[Format, ...] = ("human", "json", "journal")

_SECRETS = re.compile(
    r"""(?ix)
    (?P<name> [?&"'\s](?:sig|signature)=                        # of an access URL
            | authorization\\*["']?\s*[:=,]\s*\\*["']?(?:bearer\s+|basic\s+)? # a header, in any print
            | \bbearer\s+ )
    [^\s&"',})\]\\]+"""
)

_PLAIN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
"""Attributes that every record has; the rest came from `extra`."""

_PRIORITIES = {"DEBUG": 7, "INFO": 6, "WARNING": 4, "ERROR": 3, "CRITICAL": 2}
"""syslog(3)'s numbers, as journald reads them in front of a line."""


def redact(text: str) -> str:
    """The text without signatures and tokens."""
    return _SECRETS.sub(lambda match: f"{match['name']}[redacted]", text)


def choose(stream: TextIO, environ: Mapping[str, str]) -> Format:
    """What suits where `stream` leads: a terminal, the journal, or anything else."""
    if stream.isatty():
        return "human"
    if journal := environ.get("JOURNAL_STREAM"):
        found = os.fstat(stream.fileno())
        if journal == f"{found.st_dev}:{found.st_ino}":
            return "journal"
    return "json"


def set_up(kind: Format, *, debug: bool = False, stream: TextIO | None = None) -> None:
    """Send every log record of this process to `stream` (default: stderr), and nowhere else."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_FORMATTERS[kind]())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.DEBUG if debug else logging.INFO)
    # Its line for each of our questions to a container engine is for debuggers, not for operators.
    logging.getLogger("httpx").setLevel(logging.DEBUG if debug else logging.WARNING)


class _Formatter(logging.Formatter, abc.ABC):
    """Base: the moment from our clock, extras by name, and no secrets."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(self.render(record))

    @abc.abstractmethod
    def render(self, record: logging.LogRecord) -> str:
        """The record as text, secrets still in it."""

    def failure(self, record: logging.LogRecord) -> str:
        """The traceback, empty without one."""
        return self.formatException(record.exc_info) if record.exc_info and record.exc_info[0] else ""


class _Human(_Formatter):
    """`15:04:05 warning http.server: text (request=…)`, and the traceback below it."""

    def render(self, record: logging.LogRecord) -> str:
        moment = clock.now().astimezone().strftime("%H:%M:%S")
        source = record.name.removeprefix("tygerd.")
        extras = " ".join(f"{name}={value}" for name, value in _extras(record).items())
        head = f"{moment} {record.levelname.lower()} {source}: {record.getMessage()}"
        lines = [f"{head} ({extras})" if extras else head, self.failure(record)]
        return "\n".join(line for line in lines if line)


class _Journal(_Formatter):
    """Each line with its priority in front; journald adds the time itself."""

    def render(self, record: logging.LogRecord) -> str:
        extras = " ".join(f"{name}={value}" for name, value in _extras(record).items())
        text = f"{record.name.removeprefix('tygerd.')}: {record.getMessage()} {extras}".rstrip()
        priority = _PRIORITIES.get(record.levelname, 6)
        return "\n".join(f"<{priority}>{line}" for line in f"{text}\n{self.failure(record)}".splitlines())


class _Json(_Formatter):
    """One object a line."""

    def render(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = {
            "time": clock.format(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_extras(record),
        }
        if failure := self.failure(record):
            fields["exception"] = failure
        return json.dumps(fields, default=str)


_FORMATTERS: dict[Format, type[_Formatter]] = {"human": _Human, "json": _Json, "journal": _Journal}


def _extras(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in record.__dict__.items() if name not in _PLAIN}

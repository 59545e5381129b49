"""The only code that prints. Standard output is data, standard error is for people.

Data: JSON in the contract's layouts (cli.md 1.6), text and bytes. For people: `Error:` lines, log records
in three forms (cli.md 1.3) and, on a terminal, one live line that records are printed above. A `Console`
may be used from several threads. Writing data raises `Problem` when the descriptor refuses it, and
`BrokenPipeError` when its reader has gone; what people would have read is dropped silently instead.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import re
import select
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from tyger import errors
from tyger.cli import fields, jsontext

if TYPE_CHECKING:
    from tyger.cli import layouts

STDIN, STDOUT, STDERR = 0, 1, 2

LEVELS = ("trace", "debug", "info", "warn", "error", "fatal")
FORMATS = ("pretty", "plain", "json")

_CLEAR_LINE = "\r\x1b[2K"


def dumps(value: object, *, indent: int | None = None, prefix: str = "") -> str:
    """JSON as the contract prints it; every line but the first begins with `prefix`. No final newline.

    `indent` is None for a compact line, else 2.
    """
    if indent is None:
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    else:
        text = jsontext.pretty(value, "\n" + prefix)
    # These occur in JSON only inside strings, so replacing them in the whole text is safe.
    for character, escape in (
        ("<", "\\u003c"),
        (">", "\\u003e"),
        ("&", "\\u0026"),
        ("\u2028", "\\u2028"),
        ("\u2029", "\\u2029"),
    ):
        text = text.replace(character, escape)
    return text


class Console:
    """The process's output. `closed` are those of the descriptors 0 to 2 that were not open at its start."""

    def __init__(self, environ: Mapping[str, str], closed: frozenset[int] = frozenset()) -> None:
        self.closed = closed
        self.level = "info"
        self.failures_as_json = False
        """Whether a failure is told to programs (`failures`), not to people."""
        self.layout: str | None = None
        """What `--output` said, None without it; `printer` is what it means, None for JSON."""
        self.printer: layouts.Printer | None = None
        self.stderr_is_terminal = STDERR not in closed and os.isatty(STDERR)
        self.format = "pretty" if self.stderr_is_terminal else "plain"
        self._colours = not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
        self._can_redraw = self.stderr_is_terminal and environ.get("TERM", "") not in ("", "dumb")
        self._live = ""
        self._lock = threading.RLock()

    # --- data -------------------------------------------------------------------------------------------

    def data(self, text: str | bytes) -> None:
        """Write to standard output, all of it, at once."""
        if STDOUT in self.closed:
            raise errors.Problem(errors.IO_ERROR, "standard output is closed")
        try:
            content = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
        except UnicodeEncodeError:  # half a surrogate pair, which JSON may hold: as Go prints it
            content = re.sub("[\ud800-\udfff]", "\ufffd", str(text)).encode()
        try:
            _write(STDOUT, content)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise errors.Problem(
                errors.IO_ERROR, f"cannot write to standard output: {error.strerror}"
            ) from error

    def text(self, line: str) -> None:
        """One line of text."""
        self.data(line + "\n")

    def one(self, table: fields.Table, value: object) -> None:
        """One object, pretty."""
        self.json(table(value))

    def json(self, value: object) -> None:
        """Any value, pretty."""
        if self.printer is not None:
            self.printer.one(value)
            return
        self.data(dumps(value, indent=2) + "\n")

    def line(self, table: fields.Table, value: object) -> None:
        """One state of an object that is watched: a compact line."""
        if self.printer is not None:
            self.printer.line(table, value)
            return
        self.text(dumps(table(value)))

    def several(self, table: fields.Table, values: Sequence[object]) -> None:
        """Several objects, pretty."""
        if self.printer is not None:
            self.printer.several(table, values)
            return
        self.data(dumps([table(value) for value in values], indent=2) + "\n")

    def codespec(self, value: object) -> None:
        """A codespec as `codespec show` lays it out: every line but the first is two further in."""
        if self.printer is not None:
            self.printer.one(fields.CODESPEC(value))
            return
        self.data(dumps(fields.CODESPEC(value), indent=2, prefix="  ") + "\n")

    def page(self, table: fields.Table, values: Sequence[object]) -> None:
        """A list that came as one page."""
        if self.printer is not None:
            self.printer.several(table, values)
            return
        self.page_of(self.rows(table, values))

    def page_of(self, rows: Iterable[str]) -> None:
        """The array of one page, made of `rows`: four further in."""
        text = ",".join(rows)
        self.data(f"[{text}\n]".replace("\n", "\n  ") + "\n" if text else "[]\n")

    def pages_of(self, rows: Iterable[str]) -> None:
        """The array of several pages, made of `rows` and printed as they come: two further in."""
        separator = "["
        for text in rows:
            self.data(f"{separator}{text}")
            separator = ","
        self.data("\n]\n")

    def rows(self, table: fields.Table, values: Sequence[object]) -> list[str]:
        """The elements of an array as a text, for `page_of` and `pages_of`; nothing where there is none."""
        return [dumps([table(value) for value in values], indent=2)[1:-2]] if values else []

    def width(self) -> int | None:
        """The columns of the terminal that standard output is; None where it is none."""
        try:
            return os.get_terminal_size(STDOUT).columns or None
        except OSError:
            return None

    def now(self) -> dt.datetime:
        """The time that ages are counted to."""
        return dt.datetime.now(dt.UTC)

    # --- for people -------------------------------------------------------------------------------------

    def error(self, text: str) -> None:
        """What a failed command ends with: one line, unless the daemon shows lines to copy."""
        self._above(f"Error: {text.rstrip()}\n")

    def failure(self, line: str) -> None:
        """What a failed command ends with, for programs: one line."""
        self._above(line + "\n")

    def hint(self, text: str) -> None:
        """A further line for a person, behind an error."""
        self._above(text + "\n")

    def ask(self, question: str) -> str:
        """Put a question on standard error and read one line from standard input; empty at its end."""
        self._above(question)
        answer = bytearray()
        while (character := os.read(STDIN, 1)) not in (b"", b"\n"):
            answer += character
        return answer.decode("utf-8", "replace")

    def warning(self, text: str) -> None:
        """A warning that is not a log record (contract cli.md 1.6)."""
        yellow, end = ("\x1b[33m", "\x1b[0m") if self._colours and self.stderr_is_terminal else ("", "")
        self._above(f"{yellow}{text}{end}\n")

    def raw(self, line: bytes) -> None:
        """A line of a run's logs on standard error, as it came."""
        with self._lock:
            self._erase()
            self._people(line + b"\n")
            self._redraw()

    def log(self, level: str, message: str, /, **values: object) -> None:
        """A log record; dropped when below the level in force."""
        if LEVELS.index(level) < LEVELS.index(self.level) or (level == "fatal" and self.failures_as_json):
            return
        from tyger.cli import records

        now = time.time_ns()
        if self.format == "json":
            self._above(records.as_json(records.all_digits(now), level, message, values) + "\n")
            return
        colours = self.format == "pretty" and self._colours
        self._above(records.text(records.milliseconds(now), level, message, values, colours=colours) + "\n")

    def live(self, text: str) -> None:
        """Replace the live line; an empty text removes it. Nothing happens where there is no terminal."""
        if not self._can_redraw:
            return
        with self._lock:
            width = _columns()
            self._erase()
            self._live = text[: width - 1]
            self._redraw()

    def draw_nothing(self) -> None:
        """Show no live line from now on, as where there is no terminal."""
        self.live("")
        self._can_redraw = False

    @property
    def has_live_line(self) -> bool:
        """Whether `live` shows anything: standard error is a terminal that can be redrawn."""
        return self._can_redraw

    def _above(self, text: str) -> None:
        with self._lock:
            self._erase()
            self._people(text.encode("utf-8", "replace"))
            self._redraw()

    def _erase(self) -> None:
        if self._live:
            self._people(_CLEAR_LINE.encode())

    def _redraw(self) -> None:
        if self._live:
            self._people(self._live.encode())

    def _people(self, content: bytes) -> None:
        if STDERR in self.closed:
            return
        with contextlib.suppress(OSError):  # nobody can be told that standard error is gone
            _write(STDERR, content)


def _write(fd: int, content: bytes) -> None:
    """Write all, also to a descriptor that somebody else made non-blocking."""
    view = memoryview(content)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            select.select([], [fd], [])


def _columns() -> int:
    try:
        return os.get_terminal_size(STDERR).columns or 80
    except OSError:
        return 80

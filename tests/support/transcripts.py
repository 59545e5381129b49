"""Commands as a script runs them, and what they must print, byte for byte.

What differs from run to run stands in the expected text as `<id>` and the like, or with a name, `<id:first>`:
there it is remembered, and `{first}` in commands and expected texts is the same again.
"""

from __future__ import annotations

import pathlib
import re
import shlex
import subprocess
import sys
from typing import NamedTuple

from tests.support import daemon

KINDS = {
    "id": "[a-z2-7]{26}",
    "etag": "[0-9]+",
    "n": "[0-9]+",
    "time": r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{0,5}[1-9])?Z",
    "stamp": r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}(?:Z|[-+][0-9]{2}:[0-9]{2})",
    "rest": "[^\n]*",
}
_PLACE = re.compile(r"<(id|etag|n|time|stamp|rest)(?::([a-z]+))?>|\{([a-z]+)\}")

INSTALLED = pathlib.Path(sys.executable).with_name("tyger")
"""The command as a user calls it; where there is none, the module is as good."""


class Done(NamedTuple):
    code: int
    out: str
    err: str


class Script:
    """A script that talks to one daemon and knows what it was told before."""

    def __init__(self, host: daemon.Daemon) -> None:
        self.known: dict[str, str] = {}
        self._environment = host.env
        self._start = [str(INSTALLED)] if INSTALLED.exists() else daemon.TYGER

    def run(self, line: str, *, data: bytes = b"") -> Done:
        """One command, `tyger` left out, as a shell would split it; standard output is text here."""
        words = shlex.split(self.filled(line))
        done = subprocess.run(
            [*self._start, *words],
            env=self._environment,
            input=data,
            capture_output=True,
            timeout=60,
            check=False,
        )
        return Done(done.returncode, done.stdout.decode("utf-8", "surrogateescape"), done.stderr.decode())

    def prints(self, line: str, expected: str, *, data: bytes = b"", err: str | None = "") -> None:
        """`line` succeeds and prints this, and on standard error `err` (None: anything)."""
        done = self.run(line, data=data)
        assert done.code == 0, done.err
        self.match(expected, done.out)
        if err is not None:
            self.match(err, done.err)

    def fails(self, line: str, code: int, err: str, *, out: str = "", data: bytes = b"") -> None:
        """`line` ends with this exit code, and this on standard error."""
        done = self.run(line, data=data)
        assert done.code == code, (done.out, done.err)
        self.match(err, done.err)
        self.match(out, done.out)

    def filled(self, text: str) -> str:
        """`text` with what is known in the place of its names."""
        return re.sub(r"\{([a-z]+)\}", lambda found: self.known[found[1]], text)

    def match(self, expected: str, text: str) -> None:
        """`text` is what is expected; remember what has a name there."""
        pattern, place = "", 0
        for found in _PLACE.finditer(expected):
            pattern += re.escape(expected[place : found.start()])
            kind, name, known = found.groups()
            if known is not None:
                pattern += re.escape(self.known[known])
            else:
                pattern += f"(?P<{name}>{KINDS[kind]})" if name else f"(?:{KINDS[kind]})"
            place = found.end()
        match = re.fullmatch(pattern + re.escape(expected[place:]), text)
        assert match is not None, f"expected:\n{expected}\nprinted:\n{text}"
        self.known.update(match.groupdict())

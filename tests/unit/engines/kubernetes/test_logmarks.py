"""Letters of standard error, in place."""

from __future__ import annotations

import pathlib

from tygerd.engines.kubernetes import lines, logmarks
from tygerd.supervisor import log

SECOND = 1_000_000_000


def record(nanoseconds: int, text: bytes, letter: bytes = b"O") -> bytes:
    return log.timestamp(nanoseconds).encode() + b" " + letter + b" " + text + b"\n"


def test_lines_are_marked_where_they_stand(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(
        record(1, b"a")
        + record(2, b"b")
        + record(3, b"[job-1] b")
        + record(5, b"b")
        + record(6, b"end", b"o")
    )
    # The first b was printed later than that record says, so it is the other one's.
    found = [lines.Line(4, b"b"), lines.Line(6, b"end")]
    assert logmarks.mark(str(path), b"", found) == 2
    assert path.read_bytes() == (
        record(1, b"a")
        + record(2, b"b")
        + record(3, b"[job-1] b")
        + record(5, b"b", b"E")
        + record(6, b"end", b"e")
    )
    assert logmarks.mark(str(path), b"[job-1] ", [lines.Line(3, b"b")]) == 1


def test_a_line_that_is_not_there_ends_it(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(record(1, b"a") + record(2, b"b"))
    assert logmarks.mark(str(path), b"", [lines.Line(1, b"x"), lines.Line(1, b"b")]) == 0

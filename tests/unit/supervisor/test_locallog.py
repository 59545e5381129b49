"""What was printed comes out of Docker's log of it, whatever the driver has lost, and however it arrives."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from tests.support import dockerlog
from tygerd.supervisor import locallog

PART = dockerlog.PART

LENGTHS = st.one_of(st.integers(0, 5), *[st.integers(n * PART - 2, n * PART + 2) for n in (1, 2)])
LINES = st.lists(st.tuples(st.sampled_from([1, 2]), LENGTHS), max_size=6)


Lengths = list[tuple[int, int]]


def printed(lines: Lengths, *, whole: bool, at_once: int = 3, newline: bool = True) -> dict[int, bytes]:
    """All that comes out for lines of these lengths; the last is ended by a newline or not."""
    frames = [dockerlog.frame(b"x" * length + b"\n", stream) for stream, length in lines]
    if frames and not newline:
        frames[-1] = dockerlog.frame(frames[-1][8:-1], frames[-1][0])
    kept = list(dockerlog.entries(frames, itertools.count()))
    found = {1: b"", 2: b""}
    arrived = [kept[at : at + at_once] for at in range(0, len(kept), at_once)]
    for stream, text in locallog.printed(arrived, whole=whole):
        found[stream] += text
    return found


def text(lines: Lengths) -> dict[int, bytes]:
    """What lines of these lengths are."""
    return {which: b"".join(b"x" * n + b"\n" for stream, n in lines if stream == which) for which in (1, 2)}


@given(LINES, st.integers(1, 10))
def test_lines_of_any_length(lines, at_once):
    assert printed(lines, whole=False, at_once=at_once) == text(lines)


@given(LINES.filter(bool))
def test_what_ends_without_a_newline(lines):
    """It is not known of a line of several entries only, and whoever has all is given no newline too many."""
    stream, length = lines[-1]
    wanted = text(lines)
    wanted[stream] = wanted[stream][:-1]
    found = printed(lines, whole=True, newline=False)
    assert all(wanted[which].startswith(found[which]) for which in (1, 2))
    assert all(wanted[which][len(found[which]) :] in (b"", b"\n") for which in (1, 2))
    if length <= PART or not length % PART:
        assert printed(lines, whole=False, newline=False) == wanted


def test_a_newline_that_is_given_back_is_not_doubled():
    """As Docker's other drivers do, and this one may some day."""
    given_back = [[(1, b"1 " + b"x" * PART), (1, b"1 x\n"), (1, b"2 y\n")]]
    assert b"".join(data for _, data in locallog.printed(given_back, whole=False)) == b"x" * PART + b"x\ny\n"


def test_what_arrives_together_stays_together():
    lines = [(1, b"%d line\n" % number) for number in range(10)]
    assert list(locallog.printed([lines], whole=False)) == [(1, b"line\n" * 10)]

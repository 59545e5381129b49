"""From records to lines."""

from __future__ import annotations

import hypothesis
import hypothesis.strategies as st
import pytest

from tyger import errors
from tygerd.runs import records

RECORDS = (
    b"2024-01-25T18:20:49.000000001Z O one\n"
    b"2024-01-25T18:20:49.000000002Z E \n"
    b"2024-01-25T18:20:49.100000000Z o two\n"
    b"2024-01-25T18:20:50.000000000Z e three words here\n"
)


def lines(*, prefix=b"", skip=0, cut=None, **options):
    formatter = records.Formatter(records.Options(**options), prefix=prefix, skip=skip)
    pieces = [RECORDS] if cut is None else [RECORDS[:cut], RECORDS[cut:]]
    return b"".join(formatter.feed(piece) for piece in pieces)


def test_text_alone():
    assert lines() == b"one\n\ntwo\nthree words here"


def test_timestamps_and_prefix():
    assert lines(timestamps=True, prefix=records.PREFIX).split(b"\n") == [
        b"2024-01-25T18:20:49.000000001Z [main] one",
        b"2024-01-25T18:20:49.000000002Z [main] ",
        b"2024-01-25T18:20:49.100000000Z [main] two",
        b"2024-01-25T18:20:50.000000000Z [main] three words here",
    ]


@hypothesis.given(st.integers(0, len(RECORDS)))
def test_pieces_of_any_size(cut):
    assert lines(cut=cut) == lines()


def test_skipping():
    assert lines(skip=3) == b"three words here"
    assert lines(skip=9) == b""


@pytest.mark.parametrize(
    ("since", "left"),
    [
        ("2024-01-25T18:20:49Z", 4),
        ("2024-01-25T18:20:49.000000001Z", 3),
        ("2024-01-25T19:20:49.1+01:00", 1),
        ("2024-01-25T18:20:49.000000002Z", 2),
        ("2024-01-25T18:20:51Z", 0),
    ],
)
def test_since_is_strict_to_the_nanosecond(since, left):
    moment = records.moment(since)
    assert records.count(RECORDS, moment) == left
    assert len(lines(since=moment).splitlines()) == left


def test_counting_all():
    assert records.count(RECORDS, None) == 4


def test_a_moment_that_is_none():
    with pytest.raises(errors.Problem):
        records.moment("yesterday")

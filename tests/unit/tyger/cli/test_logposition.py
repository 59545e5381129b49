"""A log followed over cuts at any place: every line once, in order."""

import bisect

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tyger.cli import logposition


def stamp(nanoseconds, *, trimmed=False):
    seconds, fraction = divmod(nanoseconds, 10**9)
    text = f"{fraction:09d}"
    if trimmed:
        text = text.rstrip("0")
    return f"2026-01-31T00:00:{seconds:02d}{'.' * bool(text)}{text}Z".encode()


def nanoseconds(text):
    seconds, _, fraction = text.removesuffix("Z").partition(".")
    before_midnight = seconds.startswith("2026-01-30")
    return (-1 if before_midnight else int(seconds[-2:])) * 10**9 + int(fraction.ljust(9, "0") or 0)


def served(log, query, resolution):
    """What a daemon sends: the lines later than `since`, which it knows to `resolution` nanoseconds."""
    asked = dict(query)
    lines = log
    if "since" in asked:
        since = nanoseconds(asked["since"]) // resolution * resolution
        lines = log[bisect.bisect_right([time for time, _ in log], since) :]
    return lines[-int(asked["tailLines"]) :] if "tailLines" in asked else lines


STEPS = st.sampled_from([0, 0, 0, 1, 10, 999, 1000, 10**6, 10**9])


@st.composite
def logs(draw, steps=STEPS):
    """Lines in order, many at one time."""
    time, lines = draw(st.sampled_from([0, 1, 10**9 - 1])), []
    for number, step in enumerate(draw(st.lists(steps, min_size=1, max_size=30))):
        time += step
        lines.append((time, number))
    return lines


@settings(max_examples=200, deadline=None)
@given(
    logs(),
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 8)), max_size=6),
    st.sampled_from([1, 1000, 10**6]),
    st.booleans(),
)
def test_no_gap_and_no_repeat(log, cuts, resolution, trimmed):
    """Each cut: how much of the log there is by then, and after how many lines the stream breaks."""
    position, seen, there = logposition.Position(), [], 0
    for written, brought in [*cuts, (len(log), len(log))]:
        there = max(there, min(written, len(log)))
        for time, number in served(log[:there], position.query(), resolution)[:brought]:
            if position.takes(stamp(time, trimmed=trimmed)):
                seen.append(number)
    assert seen == [number for _, number in log]


@settings(max_examples=50, deadline=None)
@given(logs(STEPS.filter(bool)), st.integers(1, 8), st.integers(0, 8))
def test_a_tail_stays_the_tail_of_its_first_stream(log, tail, brought):
    position, seen = logposition.Position(tail=tail), []
    for count in (0, brought, len(log)):
        for time, number in served(log, position.query(), 1)[:count]:
            if position.takes(stamp(time)):
                seen.append(number)
    assert seen == [number for _, number in log][-tail:]


def test_a_clock_that_was_set_back_repeats_nothing():
    position = logposition.Position()
    position.query()
    assert [position.takes(stamp(time)) for time in (10, 5, 10, 12, 3)] == [True] * 5
    assert position.query() == [("since", stamp(11).decode())]
    assert [position.takes(stamp(time)) for time in (12, 12, 1)] == [False, True, True]


@pytest.mark.parametrize(
    ("time", "before"),
    [
        (b"2026-01-31T00:00:01.5Z", "2026-01-31T00:00:01.499999999Z"),
        (b"2026-01-31T00:00:00Z", "2026-01-30T23:59:59.999999999Z"),
        (b"2026-01-31T00:00:00.000000001+02:00", "2026-01-31T00:00:00.000000000+02:00"),
        (b"2026-01-31T00:00:00.1234567891Z", "2026-01-31T00:00:00.123456788Z"),
        (b"soon", "soon"),
    ],
)
def test_the_time_before(time, before):
    assert logposition.just_before(time) == before


def test_what_is_no_time_is_asked_for_as_it_is():
    position = logposition.Position(since="a", tail=3)
    assert position.query() == [("tailLines", "3"), ("since", "a")]
    assert position.takes(b"soon")
    assert position.query() == [("since", "soon")]
    assert position.takes(b"sooner")

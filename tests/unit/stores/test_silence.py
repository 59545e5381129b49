"""How long silence is allowed: by block and by rate, and longer once it was too short."""

from hypothesis import given
from hypothesis import strategies as st

from tygerd.stores import silence

BLOCK = 4 * 1024 * 1024
MBIT = 125_000


def test_on_a_fast_link_it_is_the_base():
    limits = silence.Silence(30.0)
    limits.moved(BLOCK, 0.04)
    assert 30 < limits.limit(BLOCK) < 31
    assert 30 <= limits.limit(0) < 31


def test_before_anything_was_measured_a_slow_link_is_assumed():
    limits = silence.Silence(30.0)
    assert limits.limit(0) == 30
    assert limits.limit(BLOCK) > 30 + BLOCK / MBIT


def test_on_a_slow_link_a_block_gets_more_than_its_time():
    """Also a small request, which shares the link with blocks."""
    limits = silence.Silence(30.0)
    taken = 4 * BLOCK / MBIT  # four at a time through 1 Mbit/s
    limits.moved(BLOCK, taken)
    assert limits.limit(BLOCK) > 2 * taken
    assert limits.limit(0) > 2 * taken


def test_a_link_that_has_become_slow_is_believed_at_once_and_a_fast_one_slowly():
    limits = silence.Silence(30.0)
    limits.moved(BLOCK, 0.04)
    limits.moved(BLOCK, 60.0)
    assert limits.limit(BLOCK) > 120
    limits.moved(BLOCK, 0.04)
    for _ in range(3):
        limits.moved(BLOCK, 0.04)
    assert limits.limit(BLOCK) < 31


def test_each_limit_that_was_reached_makes_the_next_longer():
    """Once, however many requests reached the same one."""
    limits = silence.Silence(30.0)
    limits.moved(BLOCK, 0.04)
    first = limits.limit(BLOCK)
    for _ in range(8):
        limits.timed_out(BLOCK, first)
    second = limits.limit(BLOCK)
    assert second == first * silence.GROWTH
    limits.timed_out(BLOCK, second)
    assert limits.limit(BLOCK) == second * silence.GROWTH
    limits.moved(100, 0.01)  # a marker got through; that says nothing about blocks
    assert limits.limit(BLOCK) == second * silence.GROWTH
    limits.moved(BLOCK, 0.04)
    assert limits.limit(BLOCK) == first


def test_where_only_small_requests_time_out_a_small_one_ends_that():
    limits = silence.Silence(30.0)
    limits.timed_out(100, 30.0)
    assert limits.limit(100) == 45
    limits.moved(100, 0.01)
    assert limits.limit(100) < 31


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("moved"), st.integers(0, 1 << 30), st.floats(0, 1e5)),
            st.tuples(st.just("timed_out"), st.integers(0, 1 << 30), st.floats(0, 1e5)),
        )
    ),
    st.integers(0, 1 << 30),
)
def test_it_is_never_below_the_base_nor_beyond_all_bounds(events, size):
    limits = silence.Silence(30.0)
    for name, *arguments in events:
        getattr(limits, name)(*arguments)
    assert 30 <= limits.limit(size) <= silence.LONGEST

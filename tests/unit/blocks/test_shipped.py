"""The shipped watermark: any order, any crash, never more than was accepted."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tygerd.blocks import shipped


@pytest.fixture
def mark(tmp_path):
    opened = shipped.Shipped.open(str(tmp_path))
    yield opened
    opened.close()


def reopened(directory):
    opened = shipped.Shipped.open(str(directory))
    found = opened.number, opened.bytes
    opened.close()
    return found


def test_a_new_one_says_nothing_was_accepted(mark, tmp_path):
    assert (mark.number, mark.bytes) == (0, 0)
    assert reopened(tmp_path) == (0, 0)


def test_what_was_accepted_in_any_order_counts_from_the_first_block(mark, tmp_path):
    mark.accepted(2, 30)
    mark.accepted(1, 20)
    assert (mark.number, mark.bytes) == (0, 0)
    mark.accepted(0, 10)
    assert (mark.number, mark.bytes) == (3, 60)
    assert reopened(tmp_path) == (3, 60)
    mark.accepted(1, 20)
    assert (mark.number, mark.bytes) == (3, 60)


def test_advancing_goes_forward_only_and_forgets_what_it_passed(mark, tmp_path):
    mark.accepted(1, 20)
    mark.accepted(5, 1)
    mark.advance(5, 100)
    mark.advance(4, 90)
    assert (mark.number, mark.bytes) == (5, 100)
    mark.accepted(5, 1)
    assert (mark.number, mark.bytes) == (6, 101)
    assert reopened(tmp_path) == (6, 101)


def test_syncing_says_what_is_on_the_disk(mark):
    mark.accepted(0, 7)
    assert mark.sync() == 1


def test_closing_again_is_fine(mark):
    mark.close()
    mark.close()


def test_a_step_that_could_not_be_written_is_written_with_the_next(mark, tmp_path):
    full, whole = os.open("/dev/full", os.O_RDWR), os.dup(mark._fd)
    os.dup2(full, mark._fd)
    with pytest.raises(OSError, match=r"No space left|Invalid argument"):
        mark.accepted(0, 1)
    os.dup2(whole, mark._fd)
    for fd in (full, whole):
        os.close(fd)
    assert reopened(tmp_path) == (0, 0)
    mark.accepted(1, 1)
    assert reopened(tmp_path) == (2, 2)


def test_the_documented_bytes():
    assert shipped.encode(shipped.Mark(1, 2)).hex() == (
        b"tygrship".hex() + "610d98e3" + "00000000" + "0100000000000000" + "0200000000000000"
    )


@given(st.permutations(range(8)), st.integers(0, 8), st.integers(0, 32), st.data())
@settings(max_examples=100)
def test_a_torn_step_leaves_the_step_before_it(tmp_path_factory, order, steps, torn, data):
    """The last write to the file is cut at any byte: what is read is the mark before it, or that one."""
    directory = str(tmp_path_factory.mktemp("torn"))
    file = os.path.join(directory, shipped.FILE)
    opened = shipped.Shipped.open(directory)
    with open(file, "rb") as stored:
        before = stored.read()
    marks = [(0, 0)]
    for number in order[:steps]:
        with open(file, "rb") as stored:
            now = stored.read()
        opened.accepted(number, 10 + number)
        if (opened.number, opened.bytes) != marks[-1]:
            before = now
            marks.append((opened.number, opened.bytes))
    opened.close()
    with open(file, "rb") as stored:
        after = stored.read()
    changed = [n for n in range(len(after)) if n >= len(before) or after[n] != before[n]]
    if changed:
        slot = changed[0] // shipped.SLOT * shipped.SLOT
        mixed = after[slot : slot + torn] + before[slot + torn : slot + 32]
        if data.draw(st.booleans()):  # bytes that were never written, as a block that lost its data has
            mixed = after[slot : slot + torn] + bytes(32 - torn)
        with open(file, "r+b") as stored:
            stored.seek(slot)
            stored.write(mixed)
        assert reopened(directory) in marks[-2:]
    again = shipped.Shipped.open(directory)
    for number in range(again.number, 8):  # the rest is accepted again
        again.accepted(number, 10 + number)
    assert (again.number, again.bytes) == (8, 10 * 8 + sum(range(8)))
    again.close()
    assert reopened(directory) == (8, 108)


@given(st.binary(max_size=40))
def test_whatever_else_is_there_is_no_mark(data):
    assert shipped.decode(data) is None


@given(st.integers(0, 31), st.integers(1, 255))
def test_a_damaged_slot_is_no_mark(position, flip):
    data = bytearray(shipped.encode(shipped.Mark(1000, 1 << 40)))
    data[position] ^= flip
    assert shipped.decode(bytes(data)) is None

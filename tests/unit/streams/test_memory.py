"""Memory for blocks: used again, and never more than there may be."""

import pytest

from tygerd.streams import memory


def test_it_is_used_again():
    it = memory.Memory(100)
    view = it.take(0, 10, is_next=True)
    view[:] = b"0123456789"
    view.release()
    it.give_back(0)
    assert bytes(it.take(1, 4, is_next=True)) == b"0123"
    assert it.taken == 10


def test_a_second_attempt_has_the_place_of_the_first():
    it = memory.Memory(100)
    for length in (60, 50, 70):
        assert len(it.take(0, length, is_next=False)) == length
    assert it.taken == 70


def test_only_the_next_block_exceeds_the_limit():
    it = memory.Memory(100)
    it.take(1, 60, is_next=False)
    with pytest.raises(memory.NoRoomError):
        it.take(2, 60, is_next=False)
    it.take(0, 60, is_next=True)
    assert (it.taken, it.largest, it.fits) == (120, 60, 1)
    it.give_back(0)
    it.give_back(1)
    assert len(it.take(2, 60, is_next=False)) == 60


def test_what_is_not_used_any_more_makes_room():
    it = memory.Memory(100)
    for number in range(4):
        it.take(number, 25, is_next=False)
    for number in range(4):
        it.give_back(number)
    it.take(4, 90, is_next=False)
    assert it.taken == 90
    assert it._free == []


def test_an_empty_block_takes_next_to_nothing():
    it = memory.Memory(100)
    assert len(it.take(0, 0, is_next=True)) == 0
    assert it.taken == 1

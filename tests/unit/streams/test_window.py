"""The window of a download, which only keeps books: every order of questions, answers and deliveries."""

import itertools
import random

import pytest
from hypothesis import given, settings, stateful
from hypothesis import strategies as st

from tyger import errors
from tygerd.streams import window

LOST = errors.Problem(errors.CORRUPT, "it is damaged")


def block(data=b"x"):
    return window.Received(memoryview(data), b"", "")


def arrive(frame, numbers, *, at_once=True):
    for number in numbers:
        frame.came(number, block(), at_once=at_once)


def delivered(frame):
    """All that is ready, in the order in which it comes."""
    got = []
    while (outcome := frame.ready()) is not None:
        got.append(outcome)
    return got


# --- what it is for --------------------------------------------------------------------------------------


def test_a_whole_buffer_soon_has_all_the_parallelism():
    frame, rounds = window.Window(10), []
    for _ in range(6):
        rounds.append(wanted := frame.wanted())
        arrive(frame, wanted)
        delivered(frame)
    assert [len(wanted) for wanted in rounds] == [1, 2, 8, 10, 10, 10]
    assert list(itertools.chain(*rounds)) == list(range(41))


def test_one_that_is_being_written_is_asked_for_its_next_block_only():
    frame = window.Window(10)
    for number in range(5):
        assert frame.wanted() == [number]
        frame.closed_in()
        assert frame.wanted() == []
        arrive(frame, [number], at_once=False)
        delivered(frame)


@pytest.mark.parametrize("how", ["missing", "closed in"])
def test_it_closes_where_the_writer_is(how):
    frame = window.Window(8)
    for _ in range(3):
        arrive(frame, frame.wanted())
    delivered(frame)
    *others, last = frame.wanted()
    assert len(others) == 7
    if how == "missing":
        frame.missing(last)  # nobody waits for that one, so it is asked for again in its time
    else:
        frame.closed_in()
    assert frame.wanted() == []
    arrive(frame, others if how == "missing" else [*others, last], at_once=False)
    delivered(frame)
    assert frame.wanted() == [frame.next]


def test_blocks_that_are_not_delivered_count():
    frame = window.Window(3)
    arrive(frame, frame.wanted())
    arrive(frame, frame.wanted())
    assert frame.wanted() == []  # three are held
    assert frame.ready() is not None
    assert frame.wanted() == [3]


def test_the_limit_may_change_at_any_time():
    frame = window.Window(8)
    arrive(frame, frame.wanted())
    arrive(frame, frame.wanted())
    assert len(delivered(frame)) == 3
    frame.limit = 2
    assert frame.wanted() == [3, 4]
    frame.limit = 4
    assert frame.wanted() == [5, 6]
    frame.limit = 1
    assert frame.wanted() == []


def test_it_may_begin_in_the_middle():
    frame = window.Window(4, 7)
    assert frame.wanted() == [7]
    arrive(frame, [7])
    assert frame.wanted() == [8, 9]
    assert len(delivered(frame)) == 1
    assert frame.next == 8


def opened():
    """A window that holds the blocks 0 and 1, and has asked for 2, 3 and 4."""
    frame = window.Window(5)
    arrive(frame, frame.wanted())
    assert frame.wanted() == [1, 2]
    arrive(frame, [1])
    assert frame.wanted() == [3, 4]
    return frame


def test_an_empty_block_is_the_last():
    frame = opened()
    frame.came(3, empty := block(b""), at_once=True)
    arrive(frame, [2])
    assert frame.wanted() == []
    assert not frame.is_awaited(4)
    assert delivered(frame)[-1] is empty
    assert frame.wanted() == []


def test_a_failure_waits_for_its_turn():
    frame = opened()
    frame.failed(3, LOST)
    assert len(delivered(frame)) == 2
    arrive(frame, [2])
    assert delivered(frame)[1] is LOST


def test_a_failure_behind_the_last_block_comes_after_it():
    """Whoever delivers has ended by then."""
    frame = opened()
    frame.failed(4, LOST)
    frame.came(3, empty := block(b""), at_once=True)
    arrive(frame, [2])
    got = delivered(frame)
    assert got.index(empty) < got.index(LOST)


def test_who_does_not_wait_is_told_that_there_is_no_more():
    frame = opened()
    assert frame.is_awaited(2)
    frame.nothing_more(2)
    assert frame.wanted() == []
    assert delivered(frame)[2] is window.NOTHING_MORE


@pytest.mark.parametrize("first", [2, 4])
def test_the_earliest_end_counts(first):
    frame = opened()
    if first == 2:
        frame.nothing_more(2)
    frame.came(4, block(b""), at_once=True)
    if first == 4:
        frame.nothing_more(2)
    frame.missing(3)
    assert frame.wanted() == []


def test_polling_slows_down():
    waits = [window.poll_interval(waited) for waited in (0, 4, 6, 29, 31, 3599, 3601, 10**6)]
    assert waits == [0.05, 0.05, 0.2, 0.2, 1, 1, 5, 5]


@given(st.floats(0, 1e9), st.floats(0, 1e9))
def test_the_longer_it_is_missing_the_longer_the_pause(one, other):
    shorter, longer = sorted([one, other])
    assert 0 < window.poll_interval(shorter) <= window.poll_interval(longer)


# --- against a model -------------------------------------------------------------------------------------


@given(total=st.integers(0, 60), dop=st.integers(1, 9), seed=st.integers())
def test_the_window_asks_for_every_block_once_at_a_time_and_never_for_too_many(total, dop, seed):
    """Blocks appear at random moments in random order; asking, answers and delivery interleave at random."""
    rng = random.Random(seed)
    frame = window.Window(dop)
    there = set()
    asked, looks, delivered = set(), {}, 0
    while delivered <= total:
        there |= {n for n in range(total + 1) if rng.random() < 0.1}
        wanted = frame.wanted()
        assert not asked & set(wanted)
        asked |= set(wanted)
        assert len(asked) + len(frame._held) <= dop
        assert frame.lowest_missing() in asked or frame._last is not None or len(frame._held) == dop
        for number in rng.sample(sorted(asked), rng.randint(0, len(asked))):
            looks[number] = looks.get(number, 0) + 1
            if number in there:
                data = memoryview(b"" if number == total else b"x")
                frame.came(number, window.Received(data, b"", ""), at_once=looks[number] == 1)
                asked.discard(number)
            elif frame.is_awaited(number):
                frame.closed_in()
            else:
                frame.missing(number)
                asked.discard(number)
                looks.pop(number)
        while rng.random() < 0.7 and (block := frame.ready()) is not None:
            assert (len(block.data) == 0) == (delivered == total)
            delivered += 1
            if delivered > total:
                break


class Books(stateful.RuleBasedStateMachine):
    """A download in which anything may happen next: what is asked for, held, and where the end is."""

    @stateful.initialize(limit=st.integers(1, 9), first=st.integers(0, 3), length=st.integers(0, 30))
    def begin(self, limit, first, length):
        self.frame = window.Window(limit, first)
        self.next = first
        self.final = first + length
        """The number of the empty block."""
        self.asked = set()
        self.held = {}
        self.last = None
        """The last block's number, once it is known."""
        self.narrow = True
        """Whether nothing has come at once since something was missing."""

    def lowest(self):
        number = self.next
        while number in self.held:
            number += 1
        return number

    def pick(self, data):
        return data.draw(st.sampled_from(sorted(self.asked)))

    def ends(self, number):
        self.last = number if self.last is None else min(number, self.last)

    @stateful.rule()
    def ask(self):
        numbers = self.frame.wanted()
        lowest, beyond = self.lowest(), self.next + self.frame.limit
        assert numbers == sorted(set(numbers))
        assert not {*numbers} & (self.asked | self.held.keys())
        assert all(lowest <= number < beyond for number in numbers)
        if self.last is not None:
            assert all(number < self.last for number in numbers)
        if self.narrow:
            assert numbers in ([], [lowest])
        self.asked.update(numbers)
        if lowest < beyond and (self.last is None or lowest < self.last):
            assert lowest in self.asked

    @stateful.precondition(lambda self: any(number <= self.final for number in self.asked))
    @stateful.rule(data=st.data(), at_once=st.booleans())
    def come(self, data, at_once):
        number = data.draw(st.sampled_from(sorted(n for n in self.asked if n <= self.final)))
        came = block(b"" if number == self.final else b"x")
        self.frame.came(number, came, at_once=at_once)
        self.asked.remove(number)
        self.held[number] = came
        self.narrow = self.narrow and not at_once
        if number == self.final:
            self.ends(number)

    @stateful.precondition(lambda self: self.asked)
    @stateful.rule(data=st.data())
    def look_in_vain(self, data):
        number = self.pick(data)
        awaited = number == self.lowest() and (self.last is None or number < self.last)
        assert self.frame.is_awaited(number) == awaited
        if awaited:
            self.frame.closed_in()
        else:
            self.frame.missing(number)
            self.asked.remove(number)
        self.narrow = True

    @stateful.precondition(lambda self: self.asked)
    @stateful.rule(data=st.data(), how=st.sampled_from(["fail", "give up", "stay"]))
    def end(self, data, how):
        """One rule for both, as not much comes after them."""
        number = self.pick(data)
        if how == "fail":
            self.frame.failed(number, LOST)
            self.held[number] = LOST
        elif how == "give up" and number == self.lowest():
            self.frame.nothing_more(number)
            self.held[number] = window.NOTHING_MORE
            self.ends(number)
        self.asked -= self.held.keys()

    @stateful.rule()
    def deliver(self):
        outcome = self.frame.ready()
        assert outcome is self.held.pop(self.next, None)
        self.next += outcome is not None

    @stateful.rule(limit=st.integers(1, 9))
    def change_the_limit(self, limit):
        self.frame.limit = limit

    @stateful.invariant()
    def agrees(self):
        if hasattr(self, "frame"):
            assert (self.frame.next, self.frame.lowest_missing()) == (self.next, self.lowest())


TestBooks = Books.TestCase
TestBooks.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)

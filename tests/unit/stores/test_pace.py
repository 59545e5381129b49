"""The width of a lane: found on links of all kinds, and never out of bounds."""

import heapq
import math
import random
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tygerd.stores import pace

MIB = 1024 * 1024


class Fixed:
    """A width that stays."""

    def __init__(self, width):
        self.width = width

    def started(self, now):
        return pace.Ticket(0, now)

    def done(self, *args, **kwargs):
        """It learns nothing."""

    pushed_back = done


class LinkModel(NamedTuple):
    """A link: `capacity` in bytes a second, shared evenly; `latency` in seconds before each request moves.

    `jitter` varies latency and size, `noise` the capacity, `fail` is the part that is answered 503, `later` a
    capacity from a time on, `demand` how many requests there ever are at a time.
    """

    capacity: float
    latency: float
    size: int = 4 * MIB
    jitter: float = 0.3
    noise: float = 0.1
    fail: float = 0.0
    later: tuple[float, float] = (math.inf, 0.0)
    demand: int = 10**9

    def run(self, policy, seconds, seed=0):
        """Play the events of `seconds` in order; the bytes that came, as (time, bytes, width)."""
        chance = random.Random(seed)
        now = served = 0.0  # `served` is what each request that moves has got since the beginning
        capacity, change = self.capacity, 0.5
        sleeping, moving, came = [], [], []
        number = 0
        while now < seconds:
            while len(sleeping) + len(moving) < min(policy.width, self.demand):
                number += 1
                delay = self.latency * chance.lognormvariate(0, self.jitter)
                heapq.heappush(sleeping, (now + delay, number, policy.started(now)))
            rate = capacity / len(moving) if moving else 0.0
            wake = sleeping[0][0] if sleeping else math.inf
            end = now + (moving[0][0] - served) / rate if moving else math.inf
            step = min(wake, end, change)
            served += (step - now) * rate
            now = step
            if step == change:
                change += 0.5
                capacity = self.capacity if now < self.later[0] else self.later[1]
                capacity *= max(0.2, chance.gauss(1, self.noise))
            elif step == wake:
                _, number_of_it, ticket = heapq.heappop(sleeping)
                if chance.random() < self.fail:
                    policy.pushed_back(ticket)
                    continue
                size = self.size * chance.uniform(1 - self.jitter / 3, 1 + self.jitter / 3)
                heapq.heappush(moving, (served + size, number_of_it, ticket, size))
            else:
                busy = len(sleeping) + len(moving) >= policy.width
                _, _, ticket, size = heapq.heappop(moving)
                policy.done(ticket, size, now, busy=busy)
                came.append((now, size, policy.width))
        return came


def throughput(came, seconds):
    """Bytes a second in the last third."""
    return sum(size for at, size, _ in came if at > seconds * 2 / 3) / (seconds / 3)


LINKS = {
    "1 Mbit/s": (LinkModel(125_000, 0.05), 7200),
    "10 Mbit/s, far": (LinkModel(1.25e6, 0.2), 1500),
    "100 Mbit/s": (LinkModel(12.5e6, 0.03), 240),
    "1 Gbit/s, 20 ms": (LinkModel(110e6, 0.02), 60),
    "1 Gbit/s, 50 ms": (LinkModel(110e6, 0.05), 60),
    "8 Gbit/s, 50 ms": (LinkModel(1e9, 0.05), 20),
    "8 Gbit/s, 50 ms, 2 % of 503": (LinkModel(1e9, 0.05, fail=0.02), 20),
    "8 Gbit/s, 100 ms": (LinkModel(1e9, 0.1), 20),
    "loopback": (LinkModel(1e9, 0.001), 15),
    "small blocks": (LinkModel(100e6, 0.03, size=64 * 1024), 15),
    "faster later": (LinkModel(12.5e6, 0.05, later=(40, 200e6)), 150),
    "slower later": (LinkModel(200e6, 0.05, later=(20, 2e6)), 600),
}
SEEDS = range(3)


@pytest.mark.parametrize("name", LINKS)
def test_it_is_as_good_as_the_best_width(name):
    model, seconds = LINKS[name]
    calm = model._replace(fail=0.0)
    best = max(throughput(calm.run(Fixed(width), seconds), seconds) for width in (2, 3, 4, 6, 9, 16, 32))
    gained = [throughput(model.run(pace.Pace(), seconds, seed), seconds) / best for seed in SEEDS]
    assert sorted(gained)[1] >= 0.9, gained
    assert min(gained) >= 0.8, gained


@pytest.mark.parametrize("model", [LinkModel(125_000, 0.05), LinkModel(200e6, 0.05, later=(20, 125_000))])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_slow_link_gets_few_requests_at_a_time(model, seed):
    """At the end, whether it was slow from the beginning or has become so."""
    came = model.run(pace.Pace(), 8000, seed)
    assert max(width for at, _, width in came if at > 4000) <= 4


def test_it_starts_small_and_doubles():
    policy = pace.Pace()
    widths = list(dict.fromkeys(width for *_, width in LinkModel(1e9, 0.1, noise=0).run(policy, 5)))
    assert widths[:4] == [2, 4, 8, 16]
    assert policy.width == 32


def test_a_fast_start():
    """Within two seconds a far and fast link is used as well as it will ever be."""
    came = LinkModel(1e9, 0.05).run(pace.Pace(), 3)
    assert sum(size for at, size, _ in came if 2 < at < 3) > 0.75e9


@pytest.mark.parametrize("demand", [1, 3])
def test_too_little_to_do_says_nothing_about_the_link(demand):
    """A producer that is slower than the link must not make it wide: the next one may be another."""
    policy = pace.Pace()
    LinkModel(1e9, 0.05, demand=demand).run(policy, 30)
    assert policy.width <= demand + 1


# --- push-back -------------------------------------------------------------------------------------------


def wide(width=16):
    """A pace that holds a width."""
    policy = pace.Pace(start=width, ceiling=width)
    LinkModel(1e9, 0.1).run(policy, 5)
    assert policy.width == width
    return policy


def test_an_accident_changes_nothing():
    policy = wide()
    ticket = policy.started(5.0)
    policy.pushed_back(ticket)
    assert policy.width == 16


def test_a_storm_halves_once_for_all_that_were_under_way():
    policy = wide()
    tickets = [policy.started(5.0) for _ in range(16)]
    for ticket in tickets:
        policy.pushed_back(ticket)
    assert policy.width == 8


def test_a_storm_that_lasts_leaves_one():
    policy = wide()
    for _ in range(200):
        policy.pushed_back(policy.started(5.0))
    assert policy.width == 1
    assert policy.mode == "holding"


def test_silence_halves_at_once():
    policy = wide()
    tickets = [policy.started(5.0) for _ in range(16)]
    for ticket in tickets:
        policy.pushed_back(ticket, silent=True)
    assert policy.width == 8


def test_after_a_storm_it_grows_again():
    policy = wide(32)
    for _ in range(200):
        policy.pushed_back(policy.started(5.0))
    came = LinkModel(1e9, 0.05).run(policy, 30)
    assert throughput(came, 30) > 0.85e9


# --- whatever happens ------------------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["done", "idle", "late", "pushed", "silent"]),
            st.integers(0, 40),
            st.integers(0, 1 << 30),
            st.floats(0, 100),
        ),
        max_size=300,
    )
)
def test_the_width_stays_in_bounds(events):
    """Also where requests end that were started long ago."""
    policy = pace.Pace()
    now = 0.0
    under_way = [policy.started(now) for _ in range(5)]
    for what, which, nbytes, passed in events:
        now += passed
        ticket = under_way[which % len(under_way)]
        if what in {"done", "idle"}:
            policy.done(ticket, nbytes, now, busy=what == "done")
        elif what == "late":
            continue
        else:
            policy.pushed_back(ticket, silent=what == "silent")
        under_way[which % len(under_way)] = policy.started(now)
        assert pace.FLOOR <= policy.width <= pace.CEILING

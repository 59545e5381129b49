"""Hops to worker threads: outcomes, limits, and what cancellation leaves behind."""

import threading

import pytest
import trio
import trio.testing

from tygerd.osutil import workers


def limiters():
    return pytest.mark.parametrize("tokens", [None, 1])


def limiter(tokens):
    return tokens and trio.CapacityLimiter(tokens)


@limiters()
async def test_what_it_returns_and_raises(tokens):
    bound = limiter(tokens)
    assert await workers.run(threading.get_ident, bound) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        await workers.run(lambda: 1 / 0, bound)
    assert not tokens or bound.borrowed_tokens == 0


@limiters()
async def test_cancelled_before_it_begins_nothing_is_done(tokens):
    done = []
    with trio.CancelScope() as scope:
        scope.cancel()
        await workers.run(lambda: done.append(1), limiter(tokens))
    assert scope.cancelled_caught
    assert not done


@limiters()
async def test_cancelled_it_waits_for_the_thread(tokens):
    may_go, done = threading.Event(), []
    bound = limiter(tokens)

    def work():
        may_go.wait()
        done.append(1)

    async def cancelled():
        await workers.run(work, bound)
        done.append(2)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(cancelled)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        may_go.set()
    assert done == [1, 2]
    assert not tokens or bound.borrowed_tokens == 0


async def test_no_more_at_a_time_than_the_limit():
    bound = trio.CapacityLimiter(2)
    at_work, most, may_go = [], [], threading.Semaphore(0)

    def work():
        at_work.append(1)
        most.append(len(at_work))
        may_go.acquire()
        at_work.pop()

    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(workers.run, work, bound)
        await trio.testing.wait_all_tasks_blocked()
        assert bound.borrowed_tokens == 2
        may_go.release(6)
    assert max(most) <= 2
    assert len(most) == 6

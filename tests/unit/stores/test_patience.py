import pytest
import trio

from tyger import errors
from tygerd.stores import patience, retrying


def failing(*problems):
    left = list(problems)

    async def work():
        await trio.lowlevel.checkpoint()
        if left:
            raise errors.Problem(left.pop(0), "not now")
        return "done"

    return work


async def test_what_may_pass_is_tried_again(autojump_clock):
    work = failing(errors.UNAVAILABLE, errors.TRY_AGAIN, errors.UNAVAILABLE)
    told = []
    policy = retrying.Policy(deadline=60)
    assert (
        await patience.persist(work, policy, lambda problem, count: told.append((problem.kind, count)))
        == "done"
    )
    assert told == [(errors.UNAVAILABLE, 1), (errors.TRY_AGAIN, 2), (errors.UNAVAILABLE, 3)]


async def test_what_will_not_is_not(autojump_clock):
    with pytest.raises(errors.Problem) as caught:
        await patience.persist(failing(errors.CONFIG), retrying.Policy())
    assert caught.value.kind is errors.CONFIG
    assert trio.current_time() == 0


async def test_it_ends(autojump_clock):
    with pytest.raises(errors.Problem) as caught:
        await patience.persist(failing(*[errors.UNAVAILABLE] * 10_000), retrying.Policy(deadline=60))
    assert caught.value.kind is errors.UNAVAILABLE
    assert trio.current_time() <= 60

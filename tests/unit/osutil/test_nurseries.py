"""One problem out of what a nursery raised, and nothing hidden by it."""

import pytest
import trio
import trio.testing

from tyger import errors
from tygerd.osutil import nurseries

ONE = errors.Problem(errors.CORRUPT, "one")
TWO = errors.Problem(errors.IO_ERROR, "two")


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ([ONE], ONE),
        ([ONE, TWO], ONE),
        ([BaseExceptionGroup("", [ONE]), TWO], ONE),
        ([ValueError()], None),
        ([ONE, ValueError()], None),
        ([BaseExceptionGroup("", [ONE, KeyboardInterrupt()])], None),
    ],
)
def test_the_first_problem_unless_there_is_something_else(members, expected):
    assert nurseries.problem_of(BaseExceptionGroup("", members)) is expected


async def test_of_a_real_nursery():
    async def fail():
        raise ONE

    with pytest.raises(BaseExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            nursery.start_soon(trio.sleep_forever)
    assert nurseries.problem_of(caught.value) is ONE


async def _fail_when_cancelled():
    try:
        await trio.sleep_forever()
    finally:
        raise ONE


async def test_a_cancellation_swallows_what_fails_with_it():
    with trio.CancelScope() as scope:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_fail_when_cancelled)
                nursery.start_soon(trio.sleep_forever)
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
        except BaseExceptionGroup as group:
            raise nurseries.outcome(group) from None
    assert scope.cancelled_caught


def test_what_is_raised_instead():
    defect = BaseExceptionGroup("", [ONE, ValueError()])
    assert nurseries.outcome(defect) is defect
    assert nurseries.outcome(BaseExceptionGroup("", [ONE, TWO])) is ONE

"""One problem out of what a nursery raised, and nothing hidden by it."""

import pytest
import trio

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

"""Patience with what is no request to a data plane: signing a URL, asking an account for its containers."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from tyger import errors
from tygerd.stores import retrying

T = TypeVar("T")

PASSING = {errors.UNAVAILABLE, errors.TRY_AGAIN}
"""Why something cannot be had now, and may well be in a while."""


async def persist(
    work: Callable[[], Awaitable[T]],
    policy: retrying.Policy,
    on_failure: Callable[[errors.Problem, int], None] = lambda _problem, _failures: None,
) -> T:
    """What `work` gives, which may be tried again: as often as time may help, until the policy's deadline.

    `on_failure` is told of each failure that is waited after, and the how many-th it is.

    Raises:
        Problem: the last one; of a kind in `PASSING` only after the deadline.
    """
    deadline = trio.current_time() + policy.deadline
    failures = 0
    while True:
        try:
            return await work()
        except errors.Problem as problem:
            failures += 1
            pause = policy.pause(failures, None, random.random(), offline=True)  # noqa: S311 - jitter
            if problem.kind not in PASSING or trio.current_time() + pause > deadline:
                raise
            on_failure(problem, failures)
        await trio.sleep(pause)

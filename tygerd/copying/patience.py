"""Patience with a storage account whose containers are made, listed or labelled: it may be away."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from tyger import errors
from tygerd.stores import retrying

T = TypeVar("T")

_PASSING = {errors.UNAVAILABLE, errors.TRY_AGAIN}


async def persist(work: Callable[[], Awaitable[T]], policy: retrying.Policy) -> T:
    """What `work` gives, which may be tried again: as often as time may help, until the policy's deadline.

    Raises:
        Problem: the last one.
    """
    deadline = trio.current_time() + policy.deadline
    failures = 0
    while True:
        try:
            return await work()
        except errors.Problem as problem:
            failures += 1
            pause = policy.pause(failures, None, random.random(), offline=True)  # noqa: S311 - jitter
            if problem.kind not in _PASSING or trio.current_time() + pause > deadline:
                raise
        await trio.sleep(pause)

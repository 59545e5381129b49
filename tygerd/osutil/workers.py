"""Short hops to a worker thread: `trio.to_thread.run_sync` without what a hop for each block need not have.

Trio's own goes through the scheduler once more before it starts, copies the context, names the thread and can
be called back by it. Measured, that is 40 of its 100 us of a processor. Nobody who is run here may use
`trio.from_thread`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import trio

if TYPE_CHECKING:
    import outcome  # trio's own dependency

T = TypeVar("T")


async def run(work: Callable[[], T], limiter: trio.CapacityLimiter | None = None) -> T:
    """Have a thread do `work`, and wait for it, even if cancelled. Cancelled before that, nothing has begun.

    It is always a checkpoint, but lets others run only while the thread works. Whoever gives no `limiter`
    bounds by other means how many are at work.
    """
    await trio.lowlevel.checkpoint_if_cancelled()
    task = trio.lowlevel.current_task()
    token = trio.lowlevel.current_trio_token()
    if limiter is None:
        return await _hop(work, task, token)
    me = object()
    try:
        limiter.acquire_on_behalf_of_nowait(me)
    except trio.WouldBlock:
        await limiter.acquire_on_behalf_of(me)
    try:
        return await _hop(work, task, token)
    finally:
        limiter.release_on_behalf_of(me)


async def _hop(work: Callable[[], T], task: trio.lowlevel.Task, token: trio.lowlevel.TrioToken) -> T:
    def deliver(result: outcome.Outcome[T]) -> None:
        with contextlib.suppress(trio.RunFinishedError):
            token.run_sync_soon(trio.lowlevel.reschedule, task, result)

    trio.lowlevel.start_thread_soon(work, deliver)
    result: T = await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
    return result

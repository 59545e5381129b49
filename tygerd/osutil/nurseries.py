"""What comes out of a nursery, as the callers of a part expect it: one problem, not a group of one."""

from __future__ import annotations

import trio

from tyger import errors


def problem_of(group: BaseExceptionGroup[BaseException]) -> errors.Problem | None:
    """The first of the problems that a nursery raised; None if there is anything else among them.

    Tasks of one part that fail together fail for one reason, and a person is told that. A cancellation, or
    a defect, must not be lost in it.
    """
    problems, others = group.split(errors.Problem)
    if problems is None or others is not None:
        return None
    first: BaseException = problems
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    assert isinstance(first, errors.Problem)  # noqa: S101 - for the type checker; `split` saw to it
    return first


def outcome(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What to raise in place of what a nursery raised: its problem, or the group where that is not all.

    Of a cancellation and of problems beside it only the cancellation stays: the problems came of it, or a
    moment before it, and whoever cancelled does not expect any.
    """
    cancelled, others = group.split(trio.Cancelled)
    if others is None or (problem := problem_of(others)) is None:
        return group
    return problem if cancelled is None else cancelled

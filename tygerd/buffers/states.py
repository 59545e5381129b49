"""What deleting, restoring and purging do in each state: one table (contract rest-api.md 4.7, 4.12).

Theory of operation. A buffer is *active* or *soft-deleted*; either may have an expiry, and once that has
come the buffer is *expired* for these operations, whichever it was. An expired active buffer becomes
soft-deleted, and an expired soft-deleted one is removed, when the reaper gets to it. Purging does not remove
anything: it only sets a new expiry, in the contract always now + ttl.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from tyger import errors, units

State = Literal["active", "soft-deleted", "expired"]
Operation = Literal["delete", "restore", "purge"]


class Lifetimes(NamedTuple):
    """`active`: from restoring on, zero for ever. `soft_deleted`: from deleting on."""

    active: timedelta
    soft_deleted: timedelta


# Each operation leads from one state to another.
_MOVES: dict[Operation, tuple[State, State]] = {
    "delete": ("active", "soft-deleted"),
    "restore": ("soft-deleted", "active"),
    "purge": ("soft-deleted", "soft-deleted"),
}
# In another state it is refused; where no words stand here, the buffer counts as not there.
_REFUSALS: dict[tuple[Operation, State], str] = {
    ("delete", "soft-deleted"): "Buffer is already soft-deleted",
    ("restore", "active"): "Buffer is not soft-deleted",
    ("purge", "active"): "Buffer is not soft-deleted",
}


def state(*, is_soft_deleted: bool, expires_at: int | None, now: int) -> State:
    """The state of a row; moments in microseconds."""
    if expires_at is not None and expires_at <= now:
        return "expired"
    return "soft-deleted" if is_soft_deleted else "active"


def check(operation: Operation, current: State) -> None:
    """Raises Problem: PRECONDITION_FAILED or NOT_FOUND when the operation does not go in this state."""
    if current == _MOVES[operation][0]:
        return
    if words := _REFUSALS.get((operation, current)):
        raise errors.Problem(errors.PRECONDITION_FAILED, words)
    raise errors.not_found()


def starts_soft_deleted(operation: Operation) -> bool:
    """Whether the operation is for soft-deleted buffers (else for active ones)."""
    return _MOVES[operation][0] == "soft-deleted"


def ends_soft_deleted(operation: Operation) -> bool:
    """Whether the buffer is soft-deleted afterwards."""
    return _MOVES[operation][1] == "soft-deleted"


def expiry(operation: Operation, now: datetime, ttl: timedelta | None, lifetimes: Lifetimes) -> int | None:
    """The expiry afterwards, in microseconds; None for never.

    Raises Problem: BAD_REQUEST when `ttl` leads past the end of the calendar.
    """
    if operation == "restore":
        return later(now, lifetimes.active) if lifetimes.active else None
    return later(now, lifetimes.soft_deleted if ttl is None else ttl)


def later(now: datetime, span: timedelta) -> int:
    """`now + span` in microseconds; Problem BAD_REQUEST past the end of the calendar."""
    try:
        return units.to_micros(now + span)
    except OverflowError:
        shown = units.format_timespan(span)
        raise errors.Problem(errors.BAD_REQUEST, f"ttl {shown} is past the end of the calendar") from None

"""The statuses of a run and how they may follow each other. Pure.

Theory of operation. A run is *pending* from its row's insertion on, *running* once its job has started, and
then in one of three ends, which never change. Events may be missed (a daemon that was away sees only the
end), so every later status can follow directly. Cancelling takes effect at once: the status says *canceled*
while the job still has its grace. *Canceling* exists for older data only.
"""

from __future__ import annotations

from typing import get_args

from tyger import model

FOLLOWERS: dict[model.RunStatus, frozenset[model.RunStatus]] = {
    "Pending": frozenset({"Running", "Succeeded", "Failed", "Canceled"}),
    "Running": frozenset({"Succeeded", "Failed", "Canceled"}),
    "Canceling": frozenset({"Canceled"}),
    "Succeeded": frozenset(),
    "Failed": frozenset(),
    "Canceled": frozenset(),
}

ALL: tuple[model.RunStatus, ...] = get_args(model.RunStatus)
_KNOWN: dict[str, model.RunStatus] = {status: status for status in ALL}


def parse(text: str) -> model.RunStatus | None:
    """The status of this name, in any letter case; None for what isn't one."""
    return next((status for status in ALL if status.lower() == text.lower()), None)


def known(text: str) -> model.RunStatus:
    """The status that a row holds.

    Raises:
        ValueError: it is none of ours.
    """
    if (status := _KNOWN.get(text)) is None:
        raise ValueError(f"{text!r} is not the status of a run")
    return status


def may_follow(new: str, old: str) -> bool:
    """Whether a run may go from `old` to `new`; to stay where it is is no step."""
    return new in FOLLOWERS[known(old)]


def is_terminal(status: str) -> bool:
    """Whether this status is an end."""
    return not FOLLOWERS[known(status)]

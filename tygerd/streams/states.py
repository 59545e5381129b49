"""The states of a write, and the one table of how they follow each other.

Theory of operation. A write is made `running` by the client that brings a pipe. End of file completes
nothing: it becomes `ended`, and only the client's word makes it `complete` or `failed`. `suspended` exists
only while the daemon is away: a daemon that starts finds the writes of its predecessor and suspends them
until their clients attach again, or their time is up. Ended for good means `complete` or `failed`.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """As in `model.TransferState`."""

    RUNNING = "running"
    SUSPENDED = "suspended"
    ENDED = "ended"
    COMPLETE = "complete"
    FAILED = "failed"


class Event(StrEnum):
    """What happens to a write."""

    ATTACHED = "attached"  # a client brought a pipe
    EOF = "eof"  # every writer of the pipe closed it
    DAEMON_CAME = "daemon came"  # a new daemon found the row
    SAID_COMPLETE = "said complete"
    SAID_FAILED = "said failed"
    CLIENT_GONE = "client gone"  # its connection ended while the daemon lives, or it never came back


TRANSITIONS: dict[State, dict[Event, State]] = {
    State.RUNNING: {
        Event.ATTACHED: State.RUNNING,
        Event.EOF: State.ENDED,
        Event.DAEMON_CAME: State.SUSPENDED,
        Event.SAID_FAILED: State.FAILED,
        Event.CLIENT_GONE: State.FAILED,
    },
    State.ENDED: {
        Event.ATTACHED: State.RUNNING,
        Event.DAEMON_CAME: State.SUSPENDED,
        Event.SAID_COMPLETE: State.COMPLETE,
        Event.SAID_FAILED: State.FAILED,
        Event.CLIENT_GONE: State.FAILED,
    },
    State.SUSPENDED: {
        Event.ATTACHED: State.RUNNING,
        Event.DAEMON_CAME: State.SUSPENDED,
        Event.SAID_FAILED: State.FAILED,
        Event.CLIENT_GONE: State.FAILED,
    },
    State.COMPLETE: {},
    State.FAILED: {},
}


class IllegalTransitionError(Exception):
    """The table has no such row: the caller asked for something that makes no sense now."""


def following(state: State, event: Event) -> State:
    """The state after `event`.

    Raises:
        IllegalTransitionError: the event cannot happen in this state.
    """
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise IllegalTransitionError(f"{event} while {state}") from None


def is_final(state: State) -> bool:
    """Whether nothing more can happen."""
    return not TRANSITIONS[state]

"""The states of a write, and the one table of how they follow each other.

Theory of operation. A write is made `running` by the client that brings a pipe. End of file completes
nothing: it becomes `ended`, and only the client's word ends it. `suspended` exists only while the daemon is
away: a daemon that starts finds the writes of its predecessor and suspends them until their clients attach
again, or their time is up. In the embedded store the client's word makes it `complete` or `failed`. For a
store elsewhere it makes it `spooled` (all of it is on this host, and being shipped) or `failing` (the store
has yet to be told), and the shipping ends it. Ended for good means `complete` or `failed`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal


class State(StrEnum):
    """As in `model.TransferState`."""

    RUNNING = "running"
    SUSPENDED = "suspended"
    ENDED = "ended"
    SPOOLED = "spooled"
    FAILING = "failing"
    COMPLETE = "complete"
    FAILED = "failed"


class Event(StrEnum):
    """What happens to a write."""

    ATTACHED = "attached"  # a client brought a pipe
    EOF = "eof"  # every writer of the pipe closed it
    DAEMON_CAME = "daemon came"  # a new daemon found the row
    SAID_COMPLETE = "said complete"  # and the store has it all
    SAID_FAILED = "said failed"  # and there is nobody else to tell
    SPOOLED = "spooled"  # said complete, and all of it is in the spool
    DOOMED = "doomed"  # said failed, and the store must be told
    SHIPPED = "shipped"  # the store knows all that there is to know
    WAS_WHOLE = "was whole"  # the store had all of it, and its end, before it could be told otherwise
    SHIPPING_FAILED = "shipping failed"  # the store will never have it


_CAPTURING = {
    Event.ATTACHED: State.RUNNING,
    Event.DAEMON_CAME: State.SUSPENDED,
    Event.SAID_FAILED: State.FAILED,
    Event.DOOMED: State.FAILING,
}

TRANSITIONS: dict[State, dict[Event, State]] = {
    State.RUNNING: {**_CAPTURING, Event.EOF: State.ENDED},
    State.SUSPENDED: _CAPTURING,
    State.ENDED: {
        **_CAPTURING,
        Event.SAID_COMPLETE: State.COMPLETE,
        Event.SPOOLED: State.SPOOLED,
    },
    State.SPOOLED: {
        Event.ATTACHED: State.SPOOLED,
        Event.DAEMON_CAME: State.SPOOLED,
        Event.DOOMED: State.FAILING,
        Event.SHIPPED: State.COMPLETE,
        Event.SHIPPING_FAILED: State.FAILED,
    },
    State.FAILING: {
        Event.ATTACHED: State.FAILING,
        Event.DAEMON_CAME: State.FAILING,
        Event.SHIPPED: State.FAILED,
        Event.WAS_WHOLE: State.COMPLETE,
        Event.SHIPPING_FAILED: State.FAILED,
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


def is_captured(state: State) -> bool:
    """Whether nothing more is taken from the producer: the stream has its end on this host."""
    return state in {State.SPOOLED, State.FAILING, State.COMPLETE, State.FAILED}


OUTCOMES: dict[State, Literal["complete", "failed"]] = {
    State.SPOOLED: "complete",
    State.COMPLETE: "complete",
    State.FAILING: "failed",
    State.FAILED: "failed",
}
"""How the captured states end, in the word of the client that said so."""

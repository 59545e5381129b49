"""The table of a write's states."""

import pytest

from tygerd.streams import states
from tygerd.streams.states import Event, State


def test_every_state_has_a_row_and_every_row_leads_to_a_state():
    assert set(states.TRANSITIONS) == set(State)
    assert all(isinstance(after, State) for row in states.TRANSITIONS.values() for after in row.values())


def test_final_states_stay():
    assert {state for state in State if states.is_final(state)} == {State.COMPLETE, State.FAILED}
    for state in (State.COMPLETE, State.FAILED):
        for event in Event:
            with pytest.raises(states.IllegalTransitionError, match=f"{event} while {state}"):
                states.following(state, event)


def test_only_the_clients_word_after_end_of_file_completes():
    ways = {
        (state, event)
        for state, row in states.TRANSITIONS.items()
        for event, after in row.items()
        if after is State.COMPLETE
    }
    assert ways == {
        (State.ENDED, Event.SAID_COMPLETE),
        (State.SPOOLED, Event.SHIPPED),
        (State.FAILING, Event.WAS_WHOLE),  # what had been spooled, and was cancelled too late
    }
    spooled = {state for state, row in states.TRANSITIONS.items() if row.get(Event.SPOOLED)}
    assert spooled == {State.ENDED}


def test_every_unfinished_state_can_fail_and_can_be_suspended():
    for state in (State.RUNNING, State.ENDED, State.SUSPENDED):
        assert states.following(state, Event.SAID_FAILED) is State.FAILED
        assert states.following(state, Event.DOOMED) is State.FAILING
        assert states.following(state, Event.DAEMON_CAME) is State.SUSPENDED
        assert states.following(state, Event.ATTACHED) is State.RUNNING


def test_what_is_captured_is_never_captured_again():
    for state in State:
        if states.is_captured(state):
            assert not set(states.TRANSITIONS[state].values()) & {State.RUNNING, State.SUSPENDED, State.ENDED}


def test_what_is_being_shipped_ends_as_was_said_or_fails():
    assert states.following(State.FAILING, Event.SHIPPED) is State.FAILED
    for state in (State.SPOOLED, State.FAILING):
        assert states.following(state, Event.SHIPPING_FAILED) is State.FAILED
        assert states.following(state, Event.DAEMON_CAME) is state

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
    assert ways == {(State.ENDED, Event.SAID_COMPLETE)}


def test_every_unfinished_state_can_fail_and_can_be_suspended():
    for state in (State.RUNNING, State.ENDED, State.SUSPENDED):
        for event in (Event.SAID_FAILED, Event.CLIENT_GONE):
            assert states.following(state, event) is State.FAILED
        assert states.following(state, Event.DAEMON_CAME) is State.SUSPENDED
        assert states.following(state, Event.ATTACHED) is State.RUNNING

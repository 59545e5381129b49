"""The table of statuses."""

from __future__ import annotations

import itertools

import pytest

from tygerd.runs import states


def test_every_status_has_a_row():
    assert set(states.FOLLOWERS) == set(states.ALL)


def test_ends_are_ends():
    ends = {status for status in states.ALL if states.is_terminal(status)}
    assert ends == {"Succeeded", "Failed", "Canceled"}


def test_a_run_never_goes_back():
    order = ["Pending", "Running", "Canceling", "Succeeded", "Failed", "Canceled"]
    for old, new in itertools.product(states.ALL, repeat=2):
        if states.may_follow(new, old):
            assert order.index(new) > order.index(old)


@pytest.mark.parametrize("text", ["succeeded", "SUCCEEDED", "Succeeded"])
def test_names_in_any_case(text):
    assert states.parse(text) == "Succeeded"


def test_what_is_no_status():
    assert states.parse("done") is None
    with pytest.raises(ValueError, match="'done'"):
        states.known("done")

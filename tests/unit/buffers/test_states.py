from datetime import UTC, datetime, timedelta

import pytest

from tyger import errors, units
from tygerd.buffers import states

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LIFETIMES = states.Lifetimes(active=timedelta(days=7), soft_deleted=timedelta(days=1))


@pytest.mark.parametrize(
    ("operation", "state", "outcome"),
    [
        ("delete", "active", None),
        ("delete", "soft-deleted", "Buffer is already soft-deleted"),
        ("restore", "active", "Buffer is not soft-deleted"),
        ("restore", "soft-deleted", None),
        ("purge", "active", "Buffer is not soft-deleted"),
        ("purge", "soft-deleted", None),
    ],
)
def test_the_contracts_table(operation, state, outcome):
    if outcome is None:
        states.check(operation, state)
        return
    with pytest.raises(errors.Problem) as caught:
        states.check(operation, state)
    assert (caught.value.kind, caught.value.message) == (errors.PRECONDITION_FAILED, outcome)


@pytest.mark.parametrize("operation", ["delete", "restore", "purge"])
def test_what_has_expired_is_not_there(operation):
    with pytest.raises(errors.Problem) as caught:
        states.check(operation, "expired")
    assert caught.value.kind is errors.NOT_FOUND


@pytest.mark.parametrize(
    ("expires_at", "state"), [(None, "active"), (11, "active"), (10, "expired"), (9, "expired")]
)
def test_states(expires_at, state):
    assert states.state(is_soft_deleted=False, expires_at=expires_at, now=10) == state


@pytest.mark.parametrize(
    ("operation", "ttl", "lifetimes", "days"),
    [
        ("delete", None, LIFETIMES, 1),
        ("delete", timedelta(days=3), LIFETIMES, 3),
        ("purge", timedelta(0), LIFETIMES, 0),
        ("purge", None, LIFETIMES, 1),
        ("restore", None, LIFETIMES, 7),
        ("restore", None, LIFETIMES._replace(active=timedelta(0)), None),
    ],
)
def test_expiries(operation, ttl, lifetimes, days):
    expected = None if days is None else units.to_micros(NOW + timedelta(days=days))
    assert states.expiry(operation, NOW, ttl, lifetimes) == expected


def test_a_ttl_past_the_end_of_the_calendar():
    with pytest.raises(errors.Problem, match="calendar"):
        states.expiry("delete", NOW, timedelta(days=10**7), LIFETIMES)

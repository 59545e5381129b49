"""How long a URL may live; what the URLs open is tested with the stores that sign them."""

from datetime import timedelta

import pytest

from tyger import errors
from tygerd.buffers import access


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(29.9, "Access TTL must be at least 30 seconds."), (3600.1, "less than or equal to 01:00:00.")],
)
def test_lifetimes_out_of_range(seconds, words):
    with pytest.raises(errors.Problem, match=words) as caught:
        access.lifetime(timedelta(seconds=seconds))
    assert caught.value.kind is errors.INVALID_INPUT


@pytest.mark.parametrize("seconds", [30, 3600])
def test_lifetimes_in_range(seconds):
    assert access.lifetime(timedelta(seconds=seconds)) == timedelta(seconds=seconds)


def test_an_hour_unless_a_client_says_otherwise():
    assert access.lifetime(None) == timedelta(hours=1)

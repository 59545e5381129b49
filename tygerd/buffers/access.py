"""How long an access URL may be asked for, contract rest-api.md 4.10. The stores sign them."""

from __future__ import annotations

from datetime import timedelta

from tyger import errors

SHORTEST = timedelta(seconds=30)
LONGEST = timedelta(hours=1)


def lifetime(ttl: timedelta | None) -> timedelta:
    """What a client gets that asks for `ttl`; one hour when it names none.

    Raises Problem: INVALID_INPUT when `ttl` is out of range.
    """
    if ttl is None:
        return LONGEST
    if ttl < SHORTEST:
        raise errors.Problem(errors.INVALID_INPUT, "Access TTL must be at least 30 seconds.")
    if ttl > LONGEST:
        raise errors.Problem(errors.INVALID_INPUT, "Access TTL must be less than or equal to 01:00:00.")
    return ttl

"""Query parameters that several resources share, checked in the contract's words (rest-api.md 2). Pure.

What does not bind is BAD_REQUEST; a value that binds and is not allowed is what the contract says it is.
"""

from __future__ import annotations

import re
from datetime import timedelta

from tyger import errors, units
from tygerd.http import messages

DEFAULT_LIMIT = 20
MAX_LIMIT = 2000
MAX_TAGS = 200
"""Tags in one filter: twice what a buffer is created with; SQLite takes 1000 conditions in one statement."""

_INTEGER = re.compile(r"[-+]?[0-9]{1,20}")


def flag(query: messages.Fields, name: str) -> bool:
    """`true` or `false` in any case; absent is false."""
    text = query.get(name)
    if text is None:
        return False
    if (value := _boolean(text)) is None:
        raise unbound("bool", name, text)
    return value


def soft_deleted(query: messages.Fields) -> bool:
    """The state that is asked for; absent is active."""
    if (text := query.get("softDeleted")) is None:
        return False
    if (value := _boolean(text)) is None:
        raise errors.Problem(errors.BAD_REQUEST, "softDeleted must be true or false")
    return value


def soft_deleted_or_any(query: messages.Fields) -> bool | None:
    """The same for counting: absent and invalid mean both states."""
    return _boolean(query.get("softDeleted") or "")


def ttl(query: messages.Fields) -> timedelta | None:
    """A time span that is not negative; None when absent."""
    if (text := query.get("ttl")) is None:
        return None
    try:
        span = units.parse_timespan(text.strip())
    except errors.Problem:
        span = timedelta(-1)
    if span < timedelta(0):
        raise errors.Problem(errors.BAD_REQUEST, "ttl must be a valid, non-negative TimeSpan")
    return span


def limit(query: messages.Fields) -> int:
    """How many items a page may have: 20 when absent, 2000 at most."""
    if (text := query.get("limit")) is None:
        return DEFAULT_LIMIT
    stripped = text.strip()
    value = int(stripped) if _INTEGER.fullmatch(stripped) else None
    if value is None or not -(2**31) <= value < 2**31:
        raise unbound("Nullable<int>", "limit", text)
    if value < 0:
        raise errors.Problem(errors.INVALID_INPUT, "Limit must be a non-negative integer.")
    return min(value, MAX_LIMIT)


def tags(query: messages.Fields, prefix: str = "tag") -> dict[str, str]:
    """`tag[key]=value` pairs (or another `prefix`); of one key given twice the first value counts.

    Keys keep their case: `tag[a]` and `tag[A]` are two filters, as they are two tags.

    Raises:
        Problem: BAD_REQUEST for more than MAX_TAGS.
    """
    found: dict[str, str] = {}
    for name, value in query:
        if name.startswith(f"{prefix}[") and name.endswith("]"):
            found.setdefault(name[len(prefix) + 1 : -1], value)
    if len(found) > MAX_TAGS:
        raise errors.Problem(errors.BAD_REQUEST, f"no more than {MAX_TAGS} {prefix} parameters may be given")
    return found


def unbound(kind: str, name: str, text: str) -> errors.Problem:
    """What to say of a parameter whose text is no `kind`; of a long one only its beginning."""
    shown = text[:100] if text.isprintable() else ascii(text[:100])
    return errors.Problem(errors.BAD_REQUEST, f'Failed to bind parameter "{kind} {name}" from "{shown}".')


def _boolean(text: str) -> bool | None:
    return {"true": True, "false": False}.get(text.strip().lower())

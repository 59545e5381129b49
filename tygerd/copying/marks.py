"""What a container's metadata says of the buffer in it, for export and import. Pure.

Contract rest-api.md 4.11: `tyger_exported_buffer_status` is `exported` once all of it is there, and each tag
is `tyger_custom_tag_<key>`. Azure takes only letters, digits and `_` in such a name and does not tell upper
from lower case, but tags may have `-`, `.` and both; a value goes into a header, but may be empty or any
text. So where that loses anything all tags are also in `tyger_tags`, as JSON in base64, which goes before
the others where it is there.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping

from tyger import errors

STATUS = "tyger_exported_buffer_status"
EXPORTED = "exported"
TAG = "tyger_custom_tag_"
TAGS = "tyger_tags"

LIMIT = 8 * 1024
"""Bytes of names and values that Azure takes for a container, all together."""

_NAME = re.compile(r"[A-Za-z0-9_]+")
_PLAIN = re.compile(r"[a-z0-9_]+")
_VALUE = re.compile(r"[!-~]([ -~]*[!-~])?")
"""What a header carries unchanged; tags that were replaced may hold anything."""


def labels(tags: Mapping[str, str]) -> dict[str, str]:
    """The metadata of a container that holds a whole copy of a buffer with these tags.

    Raises:
        Problem: INVALID_INPUT, there is no room for so many.
    """
    made = {STATUS: EXPORTED}
    seen = set[str]()
    for key, value in sorted(tags.items()):
        if _NAME.fullmatch(key) and _VALUE.fullmatch(value) and key.lower() not in seen:
            seen.add(key.lower())
            made[TAG + key] = value
    if not all(_PLAIN.fullmatch(key) and _VALUE.fullmatch(value) for key, value in tags.items()):
        made[TAGS] = base64.b64encode(json.dumps(dict(tags), separators=(",", ":")).encode()).decode()
    size = sum(len(name) + len(value) for name, value in made.items())
    if size > LIMIT:
        message = f"its tags take {size} bytes of the container's metadata, which has room for {LIMIT}"
        raise errors.Problem(errors.INVALID_INPUT, message)
    return made


def is_exported(found: Mapping[str, str]) -> bool:
    """Whether a container with this metadata holds a whole buffer."""
    return {name.lower(): value for name, value in found.items()}.get(STATUS) == EXPORTED


def tags(found: Mapping[str, str]) -> dict[str, str]:
    """The tags of the buffer in a container with this metadata, whoever exported it."""
    lowered = {name.lower(): value for name, value in found.items()}
    if (packed := lowered.get(TAGS)) is not None and (unpacked := _unpack(packed)) is not None:
        return unpacked
    return {name[len(TAG) :]: value for name, value in found.items() if name.lower().startswith(TAG)}


def _unpack(text: str) -> dict[str, str] | None:
    """Tags out of `TAGS`; None where somebody else has written it."""
    try:
        found = json.loads(base64.b64decode(text, validate=True))
        if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
            return None
        "".join([*found, *found.values()]).encode()  # half of a surrogate pair is nothing that can be kept
    except (ValueError, RecursionError):
        return None
    return found

"""What tags may look like, contract rest-api.md 2.1; of buffers and runs alike. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tyger import errors

MAX_TAGS = 100
MOST = 1000
"""Where the contract has no bound. Tens of thousands, which a body has room for, make a list take minutes."""

_KEY = re.compile(r"[a-zA-Z0-9\-_.]{1,128}")
_VALUE = re.compile(r"[a-zA-Z0-9\-_.]{0,256}")


def check(tags: Mapping[str, str]) -> None:
    """Raises Problem: INVALID_INPUT in the contract's words, which name neither `-` nor `.`."""
    if len(tags) > MAX_TAGS:
        raise errors.Problem(errors.INVALID_INPUT, "No more than 100 tags can be set on a buffer")
    for key, value in tags.items():
        if not _KEY.fullmatch(key):
            raise errors.Problem(
                errors.INVALID_INPUT,
                "Tag keys must contain up to 128 letters (a-z, A-Z), numbers (0-9) and underscores (_)",
            )
        if not _VALUE.fullmatch(value):
            raise errors.Problem(
                errors.INVALID_INPUT,
                "Tag values can contain up to 256 letters (a-z, A-Z), numbers (0-9) and underscores (_)",
            )


def check_amount(tags: Mapping[str, str] | None) -> None:
    """For tags that the contract does not look at (`PUT`): refuse only an absurd number of them.

    Raises Problem: INVALID_INPUT.
    """
    if tags is not None and len(tags) > MOST:
        raise errors.Problem(errors.INVALID_INPUT, f"No more than {MOST} tags can be set")

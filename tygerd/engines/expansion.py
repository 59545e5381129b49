"""`$(VAR)` in commands, arguments and environment values, by Kubernetes' rules. Pure.

`$(NAME)` becomes the value of NAME where it is known and stays as it is where it isn't, so that the
`$(cat x)` of a shell text survives. `$$` is a literal `$`, so `$$(NAME)` is the text `$(NAME)`. A name
reaches to the next `)`. Values that are put in are not expanded again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"\$(?:(?P<escape>\$)|\((?P<name>[^)]*)\))")


def expand(text: str, variables: Mapping[str, str]) -> str:
    """`text` with its references replaced."""

    def value(match: re.Match[str]) -> str:
        return "$" if match["escape"] else variables.get(match["name"], match[0])

    return _REFERENCE.sub(value, text)


def expand_environment(entries: Mapping[str, str], known: Mapping[str, str]) -> dict[str, str]:
    """The values of `entries` expanded in order: each sees `known` and the entries before it."""
    seen = dict(known)
    expanded: dict[str, str] = {}
    for name, text in entries.items():
        expanded[name] = seen[name] = expand(text, seen)
    return expanded

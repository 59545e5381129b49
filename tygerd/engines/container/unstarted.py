"""A program that could not be started although its container could: the init in front of it says so.

Without an init the engine itself refuses to start such a container, in words that name the program. An init
(Docker's tini, Podman's catatonit) prints a line instead and exits, which alone would be `Main exited with
code 1`. Reads a finished run's directory; blocks.
"""

from __future__ import annotations

import os
import re

from tygerd.supervisor import spec

_CODES = re.compile(r"(?P<who>Main|Worker) exited with code (1|126|127)\b")
_WORDS = re.compile(
    rb"^\S+ E (?:\[\S* )?"
    rb"(?:ERROR \(catatonit:\d+\): failed to exec pid1|\[FATAL tini \(\d+\)\] exec .* failed): (?P<why>.*)$",
    re.MULTILINE,
)
_MOST = 4096  # an init's line is all there is


def reason(directory: str, told: str | None) -> str | None:
    """A better reason than `told`; None where there is none."""
    if told is None or (ended := _CODES.match(told)) is None:
        return None
    try:
        with open(os.path.join(directory, spec.LOG), "rb") as log:
            match = _WORDS.search(log.read(_MOST))
        setup = spec.read_spec(directory)
        container = (setup.mains if ended["who"] == "Main" else setup.workers)[0].container
    except (OSError, ValueError, IndexError):
        return None
    if match is None or container is None:
        return None
    what = "" if ended["who"] == "Main" else "the worker's "
    return f"cannot start {what}'{container.body['Entrypoint'][0]}': {match['why'].decode(errors='replace')}"

"""Bytes from one pipe into another, by `splice` alone: at every instant each of them is in one of the two.

Blocking, for a thread of its own; it decides nothing. Descriptors keep their flags: they are the users'.
"""

from __future__ import annotations

import enum
import os
import select
from collections.abc import Callable

from tyger import streams

LONGEST = 1024 * 1024
"""Bytes asked for at once: what the largest usual pipe holds."""

_SPLICE = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK


class How(enum.Enum):
    """Why no more is moved."""

    EOF = "every writer has closed the source"
    GONE = "nobody reads the sink any more"
    STOPPED = "it was asked to stop"


def join(source: int, sink: int, stop: streams.Stop, moved: Callable[[int], None]) -> How:
    """Move what comes out of `source` into `sink`, at once, until there is a reason to end.

    `moved` is called with each count of bytes. What is not moved is still in `source` afterwards. A byte
    waits in `source` while `sink` is full, so back-pressure goes through.

    Raises:
        OSError: one of the two cannot be spliced.
    """
    coming = select.poll()
    coming.register(source, select.POLLIN)
    coming.register(sink, 0)
    coming.register(stop, select.POLLIN)
    leaving = select.poll()
    leaving.register(sink, select.POLLOUT)
    leaving.register(stop, select.POLLIN)
    while stop.reason is None:
        try:
            count = os.splice(source, sink, LONGEST, flags=_SPLICE)
        except BlockingIOError:
            if dict(coming.poll()).get(sink, 0) & select.POLLERR:
                return How.GONE
            leaving.poll()
        except BrokenPipeError:
            return How.GONE
        else:
            if count == 0:
                return How.EOF
            moved(count)
    return How.STOPPED

"""Which records of a run's log are of standard error, where a cluster can tell. Blocking.

The log endpoint mixes a container's two streams, and only newer clusters give one of them alone (feature
`PodLogsQuerySplitStreams`). Followed apart, the two would lose their order. So they are followed together, as
standard output; at the end the other one is asked for, and its records get their letter in the file, in
place.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from tygerd.engines.kubernetes import lines
from tygerd.supervisor import log

LETTERS = {b"O": b"E", b"o": b"e"}


def mark(path: str, label: bytes, errors: Iterable[lines.Line]) -> int:
    """Mark those records of this label that are these lines, which come in the file's order; how many.

    A line that is not there ends it: then the kubelet has mixed something else than we got.

    Raises:
        OSError: the file cannot be read or written.
    """
    marked = 0
    with open(path, "rb") as file:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            start = 0
            for line in errors:
                wanted, stamp = label + line.text, log.timestamp(line.nanoseconds).encode()
                for record in file:
                    time, stream, text = record[:-1].split(b" ", 2)
                    at, start = start + len(time) + 1, start + len(record)
                    if stream in LETTERS and text == wanted and time >= stamp:
                        os.pwrite(fd, LETTERS[stream], at)
                        marked += 1
                        break
                else:
                    break
        finally:
            os.close(fd)
    return marked

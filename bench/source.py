"""A producer that costs next to nothing: splices a file to standard output, over and over, up to a size.

    source.py FILE SIZE

What is measured is the consumer; a producer that copies would take a core from it on a small machine.
"""

from __future__ import annotations

import os
import sys


def main(path: str, size: int) -> None:
    with open(path, "rb") as file:
        length = os.fstat(file.fileno()).st_size
        done = 0
        while done < size:
            at = done % length
            done += os.splice(file.fileno(), 1, min(size - done, length - at, 1 << 20), offset_src=at)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

"""Blob names of numbered blocks, and back (contract buffers.md section 4).

Lexicographic order of names is numeric order, and no directory holds more than 4096 files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

START = ".bufferstart"
END = ".bufferend"

_FILES = 4096
_NAME = re.compile(r"([0-9A-F]{2})((?:/[0-9A-F]{2})*)/([0-9A-F]{3})")


def block_name(number: int) -> str:
    """The blob name of block `number` (0 or more)."""
    quotient, file = divmod(number, _FILES)
    root = quotient.bit_length()
    parts = [f"{root:02X}"]
    if root > 1:
        rest = quotient - (1 << (root - 1))
        parts += [f"{byte:02X}" for byte in rest.to_bytes((root - 2) // 8 + 1, "big")]
    return "/".join([*parts, f"{file:03X}"])


def directories(count: int) -> Iterator[str]:
    """Every directory that the first `count` blocks are in, parents first, each once."""
    seen: set[str] = set()
    for first in range(0, count, _FILES):
        path = ""
        for part in block_name(first).split("/")[:-1]:
            path = f"{path}/{part}" if path else part
            if path not in seen:
                seen.add(path)
                yield path


def block_number(name: str) -> int | None:
    """The number of the block called `name`; None when no block is called so."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    root = int(match[1], 16)
    quotient = int(match[2].replace("/", "") or "0", 16)
    if root > 0:
        quotient += 1 << (root - 1)
    number = quotient * _FILES + int(match[3], 16)
    return number if block_name(number) == name else None

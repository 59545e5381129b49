"""Streams that can be made again: a program that writes one, a program that checks one, and their digests.

python -m tests.support.producer write 7 1073741824 --rate 1000000 --report FILE | tyger buffer write ID
tyger buffer read ID | python -m tests.support.producer check 7

Stream n is what AES in counter mode makes of key n: as fast as memory, incompressible, and no part of it is
like another, so that a byte which is lost, doubled or moved is seen.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import pathlib
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

PIECE = 256 * 1024

PIPE = 64 * 1024
"""Bytes that a pipe takes which nobody reads."""


class Made(NamedTuple):
    """What a program here reports: how many bytes went through it, and their SHA-256."""

    bytes: int
    sha256: str
    ended: str
    """`end`, `broken pipe`; of a check `end` (a prefix of the stream, perhaps all of it) or `different`."""


def pieces(seed: int, size: int | None = None, piece: int = PIECE) -> Iterator[bytes]:
    """The first `size` bytes of stream `seed` (None: without an end)."""
    cipher = Cipher(algorithms.AES(seed.to_bytes(16, "big")), modes.CTR(bytes(16))).encryptor()
    zeros = bytes(piece)
    left = size
    while left is None or left > 0:
        count = piece if left is None else min(piece, left)
        yield cipher.update(zeros[:count])
        left = left if left is None else left - count


def content(seed: int, size: int) -> bytes:
    """The first `size` bytes of stream `seed`, at once."""
    return b"".join(pieces(seed, size))


def digest(seed: int, size: int) -> str:
    """Their SHA-256."""
    sha = hashlib.sha256()
    for piece in pieces(seed, size):
        sha.update(piece)
    return sha.hexdigest()


def command(
    seed: int, size: int, *, rate: float | None = None, report: pathlib.Path | None = None
) -> list[str]:
    """The argv of a producer; `rate` in bytes per second, None: as fast as it can."""
    more = [] if rate is None else ["--rate", str(rate)]
    more += [] if report is None else ["--report", str(report)]
    return [sys.executable, "-m", "tests.support.producer", "write", str(seed), str(size), *more]


def checking(seed: int) -> list[str]:
    """The argv of a checker."""
    return [sys.executable, "-m", "tests.support.producer", "check", str(seed)]


def load(text: str | bytes) -> Made:
    """A report."""
    return Made(**json.loads(text))


def _write(seed: int, size: int, rate: float | None) -> Made:
    """Write the stream to standard output; what the pipe took."""
    sha, sent, ended = hashlib.sha256(), 0, "end"
    piece = PIECE if rate is None else max(1, min(PIECE, int(rate / 20)))
    began = time.monotonic()
    try:
        for data in pieces(seed, size, piece):
            view = memoryview(data)
            while view:
                count = os.write(1, view)
                sha.update(view[:count])
                sent += count
                view = view[count:]
            if rate is not None:  # on time again after it had to wait, as a recorder with a buffer is
                if sent - len(data) <= PIPE:  # who begins to read late does not find a part of it past
                    began = max(began, time.monotonic() - sent / rate)
                time.sleep(max(0.0, began + sent / rate - time.monotonic()))
    except BrokenPipeError:
        ended = "broken pipe"
    return Made(sent, sha.hexdigest(), ended)


def _check(seed: int) -> Made:
    sha, seen = hashlib.sha256(), 0
    expected = pieces(seed)
    while data := sys.stdin.buffer.read(PIECE):
        if data != next(expected)[: len(data)]:
            return Made(seen, sha.hexdigest(), "different")
        sha.update(data)
        seen += len(data)
    return Made(seen, sha.hexdigest(), "end")


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("verb", choices=["write", "check"])
    parser.add_argument("seed", type=int)
    parser.add_argument("size", type=int, nargs="?", default=0)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--report", type=pathlib.Path)
    arguments = parser.parse_args()
    if arguments.verb == "check":
        sys.stdout.write(json.dumps(_check(arguments.seed)._asdict()))
        return 0
    made = _write(arguments.seed, arguments.size, arguments.rate)
    if arguments.report:
        arguments.report.write_text(json.dumps(made._asdict()))
    return 0 if made.ended == "end" else 1


if __name__ == "__main__":
    sys.exit(main())

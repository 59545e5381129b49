"""`tyger buffer gen`: deterministic filler bytes (contract buffers.md 16), as fast as the kernel moves pages.

No daemon. Into a pipe or a file the bytes go from one memory file, without being copied here.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable

import click

from tyger import errors
from tyger.cli import flags, groups, progress, session, stdio

PERIOD = 64 * 1024
PATTERN = bytes(58 + index % 64 for index in range(64)) * (PERIOD // 64)

WINDOW = 1024 * 1024
"""Bytes held in memory: a whole number of periods, and all that the largest pipe takes at once."""

Move = Callable[[int, int], int]
"""Moves so many bytes from that place of the memory file on; returns how many."""


@click.command(
    cls=groups.Command,
    name="gen",
    help=groups.describe(
        "Write SIZE bytes of deterministic filler to standard output or a file, for tests and measuring.\n\n"
        "SIZE is a number with B, KB, MB, GB (or KiB, MiB, GiB), all powers of 1024; the B may be left out.",
        examples=("tyger buffer gen 1G | tyger buffer write ID", "tyger buffer gen 1.5MiB --output filler"),
        exit_status="0 on success, 64 when the size is not one, 141 when the reader goes away.",
    ),
    short_help="Write deterministic filler bytes.",
)
@flags.exactly_one("size", flags.SIZE)
@click.option(
    "-o",
    "--output",
    "output_path",
    type=flags.FILE,
    metavar="FILE",
    help="Write to this file, which is emptied first.",
)
@click.pass_obj
def command(invocation: session.Session, size: int, output_path: str | None) -> None:
    """Fill standard output or a file."""
    if size < 0:
        raise click.UsageError("the size cannot be negative")
    with stdio.destination(invocation.console, output_path) as fd:
        # Not beside a command at the other end of a pipe, which shows its own.
        board = progress.Board(invocation.console, drawn=stdio.is_regular(fd))
        try:
            fill(fd, size, shown(board, size))
        except BrokenPipeError:
            raise
        except OSError as error:
            raise errors.Problem(errors.IO_ERROR, f"cannot write the output: {error.strerror}") from error
        finally:
            board.close()


def shown(board: progress.Board, size: int, every: float = progress.REDRAW_EVERY) -> Callable[[int], None]:
    """What shows on the live line how many bytes there are; called at any rate."""
    drawn = time.monotonic()

    def show(done: int) -> None:
        nonlocal drawn
        if (now := time.monotonic()) - drawn >= every:
            drawn = now
            board.set("gen", f"gen {progress.binary(done)} of {progress.binary(size)}")

    return show


def fill(fd: int, size: int, report: Callable[[int], None] = lambda _: None) -> None:
    """Write `size` bytes of the pattern to `fd`; calls `report` with how many there are. Raises OSError."""
    memory = os.memfd_create("tyger-gen", os.MFD_CLOEXEC)
    try:
        with open(memory, "wb", closefd=False) as file:
            file.write(PATTERN * (WINDOW // PERIOD))
        move = _mover(memory, fd)
        done = 0
        while done < size:
            start = done % WINDOW
            done += move(start, min(WINDOW - start, size - done))
            report(done)
    finally:
        os.close(memory)


def _mover(memory: int, fd: int) -> Move:
    from tyger import pipes

    if stat.S_ISFIFO(os.fstat(fd).st_mode):
        pipes.enlarge(fd)

        def splice(start: int, length: int) -> int:
            return os.splice(memory, fd, length, offset_src=start)

        return _or_copy(splice, memory, fd)

    def send(start: int, length: int) -> int:
        return os.sendfile(fd, memory, start, length)

    return _or_copy(send, memory, fd)


def _or_copy(move: Move, memory: int, fd: int) -> Move:
    """`move`, or reading and writing where the kernel has no shortcut to this kind of descriptor."""
    from tyger import pipes

    shortcut = True

    def attempt(start: int, length: int) -> int:
        nonlocal shortcut
        if shortcut:
            try:
                return move(start, length)
            except BlockingIOError:
                pass  # somebody made it non-blocking: the copy below waits
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                shortcut = False
        data = os.pread(memory, length, start)
        pipes.write_all(fd, data)
        return len(data)

    return attempt

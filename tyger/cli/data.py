"""`tyger buffer read` and `write`: descriptors handed to a transfer, and how it ended as an exit code."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
from collections.abc import Callable, Iterator

import click

from tyger import access, errors, reading, streams, writing
from tyger.cli import bufferref, flags, groups, output, progress, session, signals, stdio

WRITE_HINT = "pipe data in, name a file with --input, or say --input - to type it"


@click.command(
    cls=groups.Command,
    name="write",
    help=groups.describe(
        """
Write standard input, or a file, into a buffer.

BUFFER is a buffer's ID, or an access URL of this machine's daemon, or the path of a small file that holds
one. A buffer is written once. It is complete only when the whole input was read and stored: a command that
is interrupted, or whose input cannot be read, leaves it marked as failed. Empty input makes an empty buffer.
        """,
        examples=(
            "producer | tyger buffer write ID",
            "tyger buffer write ID --input scan.dat",
            "producer | tyger buffer write ID --flush-interval 5ms",
        ),
        exit_status="0 when all is stored, 66 when there is no such buffer, 73 when it was written before, 74"
        " when the buffer failed, 128 + n after signal n.",
    ),
    short_help="Write standard input or a file into a buffer.",
)
@flags.exactly_one("buffer")
@click.option(
    "-i",
    "--input",
    "input_path",
    type=flags.FILE,
    metavar="FILE",
    help="Read this file; - is standard input, even when it is a terminal.",
)
@click.option(
    "-p",
    "--dop",
    type=flags.COUNT,
    metavar="N",
    default=16,
    show_default=True,
    help="Accepted for compatibility: how many blocks may be on their way at once.",
)
@click.option(
    "-b",
    "--block-size",
    type=flags.BLOCK_SIZE,
    metavar="SIZE",
    default="4MiB",
    show_default=True,
    help="Size of a full block: a number with B, KiB, MiB or GiB.",
)
@click.option(
    "-f",
    "--flush-interval",
    type=flags.INTERVAL,
    metavar="DURATION",
    help="A block that isn't full becomes readable after this time at most, such as 5ms or 2s. 0: only full"
    " blocks. Default: 1s, or 0 for a regular file named with --input.",
)
@flags.access_ttl_option()
@click.pass_obj
def write(
    invocation: session.Session,
    buffer: str,
    input_path: str | None,
    dop: int,
    block_size: int,
    flush_interval: float | None,
    access_ttl: dt.timedelta | None,
) -> None:
    """Hand the input to the daemon; end with how the buffer ended."""
    del dop  # the daemon decides; nothing is sent over a network
    buffer_id = bufferref.resolve(buffer, invocation.paths, has_ttl=access_ttl is not None)
    with (
        stdio.source(invocation.console, input_path, hint=WRITE_HINT) as fd,
        _transfer(interrupted) as (stop, interrupts),
    ):
        if flush_interval is None:
            flush_interval = 0.0 if input_path not in (None, "-") and stdio.is_regular(fd) else 1.0
        board = progress.Board(invocation.console, drawn=not os.isatty(fd))
        meter = progress.Meter(board, "write", buffer=buffer_id, operation="buffer write")
        try:
            result = writing.write(
                invocation.client,
                access.Access(buffer=buffer_id),
                fd,
                verdict=lambda: verdict(interrupts),
                stop=stop,
                block_size=block_size,
                flush_interval=flush_interval,
                on_progress=meter,
            )
        except errors.Problem as problem:
            raise _fatal("Failed to write buffer", problem, buffer_id) from problem
        finally:
            board.close()
        _finish(invocation.console, interrupts, result, meter, "Failed to write buffer")


@click.command(
    cls=groups.Command,
    name="read",
    help=groups.describe(
        """
Copy a buffer's bytes to standard output, or to a file.

BUFFER is a buffer's ID, or an access URL of this machine's daemon, or the path of a small file that holds
one. A buffer that is still being written is followed until it is complete. Every block is verified before
its bytes are delivered.
        """,
        examples=("tyger buffer read ID | consumer", "tyger buffer read ID --output result.dat"),
        exit_status="0 when the whole buffer was delivered, 66 when there is no such buffer, 74 when its"
        " writer failed or its bytes are damaged, 128 + n after signal n, thus 141 when the reader of"
        " output goes away.",
    ),
    short_help="Copy a buffer's bytes to standard output or a file.",
)
@flags.exactly_one("buffer")
@click.option(
    "-o",
    "--output",
    "output_path",
    type=flags.FILE,
    metavar="FILE",
    help="Write to this file, which is emptied first.",
)
@click.option(
    "-p",
    "--dop",
    type=flags.COUNT,
    metavar="N",
    default=32,
    show_default=True,
    help="Accepted for compatibility: how many blocks may be on their way at once.",
)
@flags.access_ttl_option()
@click.pass_obj
def read(
    invocation: session.Session,
    buffer: str,
    output_path: str | None,
    dop: int,
    access_ttl: dt.timedelta | None,
) -> None:
    """Take verified bytes from the daemon."""
    del dop  # the daemon decides; nothing comes over a network
    buffer_id = bufferref.resolve(buffer, invocation.paths, has_ttl=access_ttl is not None)
    with stdio.destination(invocation.console, output_path) as fd, _transfer(stopped) as (stop, interrupts):
        board = progress.Board(invocation.console, drawn=not os.isatty(fd))
        meter = progress.Meter(board, "read", buffer=buffer_id, operation="buffer read")
        try:
            result = reading.read(
                invocation.client, access.Access(buffer=buffer_id), fd, stop=stop, on_progress=meter
            )
        except BrokenPipeError:
            raise
        except errors.Problem as problem:
            raise _fatal("Failed to read buffer", problem, buffer_id) from problem
        except OSError as error:
            failure = errors.Problem(errors.IO_ERROR, f"cannot write the output: {error.strerror}")
            raise session.Fatal("Failed to read buffer", failure) from error
        finally:
            board.close()
        _finish(invocation.console, interrupts, result, meter, "Failed to read buffer")


def verdict(interrupts: signals.Interrupts) -> tuple[str, str | None]:
    """How our producer ended: end of file is a good end unless a signal came with it.

    A Ctrl-C at a pipeline reaches us and our producer together, and the producer's end of file can be here
    first.
    """
    number = interrupts.received()
    return ("complete", None) if number is None else ("failed", interrupted(number))


def interrupted(number: int) -> str:
    """Why a buffer whose writer was told to stop is failed."""
    return f"the writer was interrupted by {signals.name(number)}"


def stopped(number: int) -> str:
    """Why a reader has not got everything."""
    return f"interrupted by {signals.name(number)}"


@contextlib.contextmanager
def _transfer(why: Callable[[int], str]) -> Iterator[tuple[streams.Stop, signals.Interrupts]]:
    """A `Stop` that the first INT, TERM or HUP requests, for the reason that `why` gives."""
    stop = streams.Stop()
    try:
        with signals.Interrupts(lambda number: stop.request(why(number))) as interrupts:
            yield stop, interrupts
    finally:
        stop.close()


def _finish(
    console: output.Console,
    interrupts: signals.Interrupts,
    result: streams.Result,
    meter: progress.Meter,
    message: str,
) -> None:
    """Turn the result into records and an exit code; returns only when all is well."""
    if result.state == "complete":
        meter.complete(result.bytes)
        return
    if (number := interrupts.received()) is not None:
        console.log("warn", "Canceling...")
        console.log("fatal", message, error=result.reason or stopped(number))
        raise session.Exit(128 + number)
    raise session.Fatal(message, errors.Problem(errors.BUFFER_FAILED, result.reason or "the buffer failed"))


def _fatal(message: str, problem: errors.Problem, buffer: str) -> session.Fatal:
    if problem.kind is errors.NOT_FOUND:
        return session.Fatal("Unable to access buffer", problem, buffer=buffer)
    return session.Fatal(message, problem)

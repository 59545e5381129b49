"""`tyger buffer write`: standard input, a file, a directory, or a command's output, into a buffer."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from tyger import errors, writing
from tyger.cli import bufferref, data, flags, groups, progress, session, signals, stdio

if TYPE_CHECKING:
    from tyger import producer as producer_module
    from tyger.cli import tarwrite

WRITE_HINT = "pipe data in, name a file with --input, or say --input - to type it"

FAILED = "Failed to write buffer"
CANNOT_OPEN = "Unable to open input file for reading"


def _one_or_two(
    context: click.Context, _parameter: click.Parameter, values: Sequence[str]
) -> tuple[str, str | None]:
    """A buffer, and perhaps an input."""
    if not 1 <= len(values) <= 2 and not context.resilient_parsing:
        raise click.UsageError(f"accepts 1 arg(s), received {len(values)}", context)
    return values[0] if values else "", values[1] if len(values) > 1 else None


@click.command(
    cls=groups.Command,
    name="write",
    container_words=True,
    help=groups.describe(
        """
Write standard input, a file, a directory, or what a command prints, into a buffer.

BUFFER is a buffer's ID, or an access URL, or the path of a small file that holds one and is read again when
the URL has expired. A buffer is written once. It is complete only when the whole input was read and stored: a
command that is interrupted, or whose input cannot be read, leaves it marked as failed. Empty input makes an
empty buffer.

INPUT, which may also be named with --input, is a file, or - for standard input, or a directory. That is sent
as a tar archive, the same bytes for the same content: files, directories and links with their times and
permissions, without their owners, in the order of their names. What changes while it is read fails it.
`tyger buffer read BUFFER --output DIR/` unpacks it, and so does tar(1).

The end of a pipe does not tell whether its producer succeeded. Give the producer behind -- to have it run,
and its exit code count: with 0 the buffer is complete, otherwise it has failed and this command ends with 74,
naming the code. It takes part in a Ctrl-C, is sent a TERM or HUP that this command gets, and meets a broken
pipe when the buffer fails. What it starts in the background must not keep its standard output open: the
stream ends when the last of them closes it. In a shell's own pipeline, `set -o pipefail` makes the shell fail
when the producer does; but the buffer is complete by then.

A daemon that goes away, for an upgrade or by a crash, is waited for, and loses nothing. A buffer in a store
elsewhere is first kept in the daemon's spool and shipped from there, also over days without a network; this
command waits for the end of that unless --detach is given. Once all is in the spool, a TERM or HUP leaves the
rest to the daemon; a Ctrl-C gives the buffer up.
        """,
        examples=(
            "producer | tyger buffer write ID",
            "tyger buffer write ID -- scanner --protocol 7",
            "tyger buffer write ID scan.dat --detach",
            "tyger buffer write ID exam-7/",
            "producer | tyger buffer write ID --flush-interval 5ms",
            "producer | tyger buffer write https://account.blob.core.windows.net/ID?...",
        ),
        exit_status="0 when all is stored, or with --detach all is in the daemon's spool, 66 when there is no"
        " such buffer or command, 69 when the daemon stayed away, 73 when it was written before, 74 when the"
        " buffer, or the producer behind --, failed, 77 when access is denied or its URL has expired, 128 + n"
        " after signal n.",
    ),
    short_help="Write standard input, a file, a directory, or a command's output into a buffer.",
)
@click.argument("given", nargs=-1, metavar="BUFFER [INPUT]", callback=_one_or_two)
@click.option(
    "-i",
    "--input",
    "input_path",
    type=flags.FILE,
    metavar="FILE",
    help="Read this file or directory; - is standard input, even when it is a terminal.",
)
@click.option(
    "-p",
    "--dop",
    type=flags.DOP,
    metavar="N",
    default=16,
    show_default=True,
    help="Accepted for compatibility: how many blocks may be on their way at once.",
)
@click.option(
    "-b",
    "--block-size",
    type=flags.BLOCK_SIZE_OF_WRITE,
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
    " blocks. Default: 1s, or 0 for a named regular file or directory.",
)
@click.option(
    "--priority",
    type=flags.Choice("live", "bulk"),
    help="On a link that is busy, live transfers go before bulk ones. Default: bulk for a regular file or a"
    " directory, else live.",
)
@click.option(
    "--detach",
    is_flag=True,
    help="Return once the daemon has everything in its spool; `tyger transfer watch` follows the rest.",
)
@flags.retry_for_option("the input")
@flags.access_ttl_option()
@click.pass_context
def write(
    context: click.Context,
    /,
    given: tuple[str, str | None],
    input_path: str | None,
    dop: int,
    block_size: int,
    flush_interval: float | None,
    priority: str | None,
    detach: bool,
    retry_for: float | None,
    access_ttl: dt.timedelta | None,
) -> None:
    """Hand the input to the daemon; end with how the buffer ended."""
    del dop  # the daemon decides, by what the link does
    invocation: session.Session = context.obj
    name, positional = given
    if positional is not None and input_path is not None:
        raise errors.Problem(errors.USAGE, "INPUT and --input exclude each other")
    input_path = input_path if positional is None else positional
    data.warn_of_powershell(invocation.console, os.getppid())
    target = bufferref.resolve(name, invocation.paths, has_ttl=access_ttl is not None)
    words: Sequence[str] | None = context.meta[groups.Command.WORDS]
    with (
        data.opened(
            _source(invocation, input_path, words),
            CANNOT_OPEN if input_path not in (None, "-") and words is None else None,
        ) as (fd, producer, packer),
        data.transfer(data.interrupted) as (stop, interrupts),
    ):
        regular = stdio.is_regular(fd) or packer is not None
        if flush_interval is None:
            flush_interval = 0.0 if input_path not in (None, "-") and regular else 1.0
        board = progress.Board(invocation.console, drawn=not os.isatty(fd))
        meter = progress.Meter(board, "write", buffer=target.name, operation="buffer write")
        try:
            result = writing.write(
                invocation.client,
                target,
                fd,
                verdict=lambda: _verdict(packer, interrupts),
                stop=stop,
                block_size=block_size,
                flush_interval=flush_interval,
                priority=priority or ("bulk" if regular else "live"),
                producer=producer,
                detach=detach,
                on_progress=meter,
                patience=data.patience(retry_for, fd, is_file=regular),
            )
        except errors.Problem as problem:
            raise data.fatal(FAILED, problem, target.name) from problem
        finally:
            board.close()
            if producer is not None:
                data.see_off(invocation.console, producer, interrupts, stop)
        data.finish(invocation.console, interrupts, result, meter, FAILED)


@contextlib.contextmanager
def _source(
    invocation: session.Session, path: str | None, words: Sequence[str] | None
) -> Iterator[tuple[int, producer_module.Producer | None, tarwrite.Packer | None]]:
    """Where the bytes come from, as `data.source`, or a directory that is packed. Raises as that does."""
    if words is not None or path in (None, stdio.STDIN_NAME) or not os.path.isdir(str(path)):
        with data.source(invocation, path, words, hint=WRITE_HINT) as (fd, producer):
            yield fd, producer, None
        return
    from tyger.cli import tarwrite

    def remark(name: str, why: str) -> None:
        invocation.console.log("warn", why, name=name)

    packer = tarwrite.Packer(str(path), remark)
    packer.start()
    try:
        yield packer.reader, None, packer
    finally:
        packer.close()


def _verdict(packer: tarwrite.Packer | None, interrupts: signals.Interrupts) -> tuple[str, str | None]:
    """How the stream ended: as `data.verdict`, but for a directory that could not be read."""
    if packer is not None and (failure := packer.failure()) is not None:
        return "failed", failure
    return data.verdict(interrupts)

"""`tyger buffer read`: a buffer's verified bytes, or some, to standard output, a file or a directory."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from tyger import errors, reading
from tyger.cli import bufferref, data, flags, groups, output, progress, session, stdio

if TYPE_CHECKING:
    from tyger.cli import tarread

FAILED = "Failed to read buffer"
CANNOT_OPEN = "Unable to open output file for writing"


@click.command(
    cls=groups.Command,
    name="read",
    help=groups.describe(
        """
Copy a buffer's bytes, or a part of them, to standard output or to a file, or unpack them into a directory.

BUFFER is a buffer's ID, or an access URL, or the path of a small file that holds one and is read again when
the URL has expired. A buffer that is still being written is followed until it is complete. Every block is
verified before its bytes are delivered. After a restart of the daemon, or a broken connection, it goes on at
the exact byte. A part that lies behind the end is empty.

Where the output is a directory that exists, or a name with a slash at its end, which is then made, the buffer
is unpacked there as the tar archive that `tyger buffer write BUFFER DIR` or tar(1) has made, each file as it
comes. A file that is there is replaced, others stay. Owners and special permissions are not taken over. A
name or a link that leads out of the directory, or a device, ends it. Until all has come and been verified,
.tyger-incomplete stands in the directory; a command that was interrupted is repeated from the beginning.
        """,
        examples=(
            "tyger buffer read ID | consumer",
            "tyger buffer read ID --output result.dat",
            "tyger buffer read ID --output exam-7/",
            "tyger buffer read ID --head 4KiB | file -",
            "tyger buffer read ID --range 1MiB- --no-follow",
        ),
        exit_status="0 when all that was asked for was delivered, 65 when it cannot be unpacked, 66 when"
        " there is no such buffer, 69 when the daemon stayed away, 74 when its writer failed or its bytes are"
        " damaged, 77 when access is denied or its URL has expired, 128 + n after signal n, thus 141 when the"
        " reader of output goes away.",
    ),
    short_help="Copy a buffer's bytes to standard output, a file or a directory.",
)
@flags.exactly_one("buffer")
@click.option(
    "-o",
    "--output",
    "output_path",
    type=flags.FILE,
    metavar="FILE",
    help="Write to this file, which is emptied first, or unpack into this directory; - is standard output.",
)
@click.option(
    "--head",
    type=flags.LENGTH,
    metavar="SIZE",
    help="Only the first bytes, so many, such as 100 or 4KiB.",
)
@click.option(
    "--range",
    "part",
    type=flags.RANGE,
    metavar="FROM-TO",
    help="Only the bytes from FROM to TO, which is included: 0-99 are the first hundred. FROM- is all from"
    " there on. Units such as KiB may be used.",
)
@click.option(
    "--follow/--no-follow",
    default=True,
    show_default=True,
    help="Wait for what is not yet written, or end with what is there now.",
)
@click.option(
    "-p",
    "--dop",
    type=flags.DOP,
    metavar="N",
    default=32,
    show_default=True,
    help="Accepted for compatibility: how many blocks may be on their way at once.",
)
@flags.retry_for_option("the output")
@flags.access_ttl_option()
@click.pass_obj
def read(
    invocation: session.Session,
    buffer: str,
    output_path: str | None,
    head: int | None,
    part: tuple[int, int | None] | None,
    follow: bool,
    dop: int,
    retry_for: float | None,
    access_ttl: dt.timedelta | None,
) -> None:
    """Take verified bytes from the daemon."""
    del dop  # the daemon decides, by what the link does
    if head is not None and part is not None:
        raise errors.Problem(errors.USAGE, "--head and --range exclude each other")
    if _is_directory(output_path) and (head is not None or part is not None or not follow):
        text = "a part of a buffer cannot be unpacked: --head, --range and --no-follow need another --output"
        raise errors.Problem(errors.USAGE, text)
    offset, length = part or (0, head)
    data.warn_of_powershell(invocation.console, os.getppid())
    target = bufferref.resolve(buffer, invocation.paths, has_ttl=access_ttl is not None)
    with (
        data.opened(
            _destination(invocation.console, output_path),
            CANNOT_OPEN if output_path not in (None, "-") else None,
        ) as (fd, unpacker),
        data.transfer(data.stopped) as (stop, interrupts),
    ):
        board = progress.Board(invocation.console, drawn=not os.isatty(fd))
        meter = progress.Meter(board, "read", buffer=target.name, operation="buffer read")
        try:
            result = reading.read(
                invocation.client,
                target,
                fd,
                stop=stop,
                offset=offset,
                length=length,
                follow=follow,
                on_progress=meter,
                patience=data.patience(retry_for, fd, is_file=unpacker is not None),
            )
            if (
                unpacker
                and not unpacker.finish(whole=result.state == "complete")
                and result.state == "complete"
            ):
                raise session.Fatal(FAILED, unpacker.failure)
        except BrokenPipeError as gone:
            if unpacker is None:
                raise
            unpacker.finish(whole=False)
            raise session.Fatal(FAILED, unpacker.failure) from gone
        except errors.Problem as problem:
            raise data.fatal(FAILED, problem, target.name) from problem
        except OSError as error:
            failure = errors.Problem(errors.IO_ERROR, f"cannot write the output: {error.strerror}")
            raise session.Fatal(FAILED, failure) from error
        finally:
            board.close()
        data.finish(invocation.console, interrupts, result, meter, FAILED)


def _is_directory(path: str | None) -> bool:
    """Whether an output is meant as a directory to unpack into."""
    return path not in (None, "-") and (str(path).endswith("/") or os.path.isdir(str(path)))


@contextlib.contextmanager
def _destination(console: output.Console, path: str | None) -> Iterator[tuple[int, tarread.Unpacker | None]]:
    """Where the bytes go, as `stdio.destination`, or what unpacks them. Raises as that does."""
    if not _is_directory(path):
        with stdio.destination(console, path) as fd:
            try:
                yield fd, None
            except BaseException:
                if path not in (None, "-") and stdio.is_regular(fd):
                    size = os.fstat(fd).st_size
                    console.log("warn", "The output file is not complete", file=str(path), bytes=size)
                raise
        return
    from tyger.cli import tarnames, tarread

    unpacker = tarread.Unpacker(str(path))
    unpacker.start()
    try:
        yield unpacker.writer, unpacker
    finally:
        unpacker.finish(whole=False)  # where nobody has said that it is
        if unpacker.marked:
            console.log(
                "warn",
                "The directory is not complete",
                directory=str(path),
                files=unpacker.files,
                markedBy=tarnames.INCOMPLETE,
            )

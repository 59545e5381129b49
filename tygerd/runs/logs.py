"""Reading a run's log, live or archived, and archiving it. File access in threads, never polling.

The archive of a run is its record file, compressed.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import zlib
from collections.abc import Awaitable, Callable
from typing import BinaryIO, Protocol, cast

import trio

from tyger import errors
from tygerd.osutil import durable
from tygerd.runs import records

CHUNK = 256 * 1024
"""Bytes read at once: several hundred lines, and a bound on what a reader makes us hold."""

_threads = trio.CapacityLimiter(4)

Send = Callable[[bytes], Awaitable[None]]


class Growing(Protocol):
    """The log of a run that may still grow."""

    @property
    def ended(self) -> bool:
        """Nothing will be added."""
        ...

    def next(self) -> trio.Event:
        """An event that is set when something was added or the log has ended. Take it before looking."""
        ...


def archive_path(directory: str, run: int) -> str:
    """Where the archive of a run is."""
    return os.path.join(directory, f"{run}.gz")


def archive(source: str, directory: str, run: int, *, sync: bool = False) -> None:
    """Compress a log into the archive, whole or not at all; a log that is missing is an empty one. Blocks.

    With `sync` it is on the disk afterwards, so that the log itself may go.
    """
    target = archive_path(directory, run)
    temporary = f"{target}.new"
    with contextlib.ExitStack() as stack:
        packed = stack.enter_context(gzip.open(temporary, "wb", compresslevel=1))
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfileobj(stack.enter_context(open(source, "rb")), packed, CHUNK)
    if sync:
        durable.sync_path(temporary)
    os.rename(temporary, target)
    if sync:
        durable.sync_path(directory)


async def send(
    locate: Callable[[], str], options: records.Options, prefix: bytes, sink: Send, live: Growing | None
) -> None:
    """Send the lines of a log; with `live`, follow it to its end. `.gz` is an archive.

    `locate` gives the path, and is asked again while there is no such file: only once a run has been started
    is it certain which engine has its log.

    Raises:
        FileNotFoundError: there is no such log; with `live` it is waited for until that ends, as an archived
            one is gone by then.
        Problem: CORRUPT, it can be read up to here only.
    """
    file = await _open(locate, live)
    try:
        skip = 0
        if options.tail is not None:
            total = await trio.to_thread.run_sync(_count, file, options.since, limiter=_threads)
            skip = max(0, total - options.tail)
        formatter = records.Formatter(options, prefix=prefix, skip=skip)
        while True:
            # In this order: what was added before we look is read, what is added after sets the event.
            ended, news = (True, None) if live is None else (live.ended, live.next())
            while data := await trio.to_thread.run_sync(_read, file, limiter=_threads):
                if lines := formatter.feed(data):
                    await sink(lines)
            if ended or news is None:
                return
            await news.wait()
    finally:
        file.close()


async def _open(locate: Callable[[], str], live: Growing | None) -> BinaryIO:
    """Open a log, waiting for a live one until that has ended."""
    while True:
        ended, news = (True, None) if live is None else (live.ended, live.next())
        try:
            return await trio.to_thread.run_sync(_open_now, locate(), limiter=_threads)
        except FileNotFoundError:
            if ended or news is None:
                raise
        await news.wait()


def _open_now(path: str) -> BinaryIO:
    if path.endswith(".gz"):
        return cast("BinaryIO", gzip.open(path, "rb"))
    return open(path, "rb", buffering=0)


def _read(file: BinaryIO) -> bytes:
    try:
        return file.read(CHUNK)
    except (EOFError, zlib.error, OSError) as error:
        raise errors.Problem(errors.CORRUPT, f"cannot read the log {file.name}: {error}") from error


def _count(file: BinaryIO, since: bytes | None) -> int:
    """The number of records that pass; the file is at its beginning afterwards."""
    total = 0
    rest = b""
    while data := _read(file):
        whole, newline, rest_of = (rest + data).rpartition(b"\n")
        total += records.count(whole + newline, since)
        rest = rest_of
    file.seek(0)
    return total

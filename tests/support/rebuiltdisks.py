"""Disks as a loss of power may have left them, and what is read there."""

from __future__ import annotations

import contextlib
import itertools
import pathlib
import uuid
from collections.abc import Iterator
from typing import NamedTuple

from tests.support import powerloss, powerstory
from tyger import errors
from tygerd.blocks import boot, chain, container, writer

FATES: tuple[powerloss.Fate, ...] = ("lost", "kept", "torn", "zeros")


def rebooted(files: dict[str, bytes | None]) -> dict[str, bytes | None]:
    """The same files, with the machine's boot an earlier one."""
    this, earlier = boot.current().encode(), str(uuid.UUID(int=7)).encode()
    return {name: data and data.replace(this, earlier) for name, data in files.items()}


def disk(
    story: powerstory.Story, path: str, moment: int, fates: tuple[powerloss.Fate, ...], place: pathlib.Path
) -> bool:
    """Rebuild what is below `path`; whether it is there."""
    files = story.recording.crash(moment, f"state/{path}").files(fates)
    return powerloss.build(rebooted(files), f"state/{path}", place)


class Read(NamedTuple):
    """What a careful reader gets: bytes, then how the stream has ended or what is wrong."""

    data: bytes
    end: str | None
    error: str | None = None


def read(source: container.Container) -> Read:
    data, value = b"", chain.INITIAL
    end: str | None = None
    for number in itertools.count():
        try:
            end = source.end()
            block = source.block(number)
            if block is None or block.length == 0:
                missing = block is None and end == "complete"
                return Read(data, end, f"block {number} is missing" if missing else None)
            with open(block.path or "", "rb") as file:
                piece = chain.file_md5(file.fileno(), block.length), file.read(block.length)
        except (errors.Problem, OSError, EOFError) as error:
            return Read(data, end, str(error))
        value = chain.following(value, block.md5)
        if piece[0] != block.md5 or block.chain != value:
            return Read(data, end, f"block {number} is damaged")
        data += piece[1]
    raise AssertionError


def recover(target: container.Container, *, sync: bool) -> None:
    """What a daemon does with a write that its predecessor left: nobody comes back for it."""
    with contextlib.suppress(errors.Problem):  # named
        if not target.started():
            writer.Writer.create(target, 8192, sync=sync).finish("failed", "its writer is gone")
        elif target.end() is None:
            writer.Writer.recover(target, sync=sync).finish("failed", "its writer is gone")


def read_recovered(place: pathlib.Path) -> Read:
    target = container.Container(str(place))
    try:
        recover(target, sync=False)
        return read(target)
    finally:
        target.close()


def each_disk(
    story: powerstory.Story, path: str, first: int, place: pathlib.Path, limit: int
) -> Iterator[tuple[int, tuple[powerloss.Fate, ...], bool]]:
    """Rebuild the disk for every moment, with every combination of fates, or the extremes of too many."""
    for moment in story.recording.moments(f"state/{path}", first):
        for fates in story.recording.crash(moment, f"state/{path}").all_fates(limit):
            yield moment, fates, disk(story, path, moment, fates, place)

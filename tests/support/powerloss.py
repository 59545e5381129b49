"""Loss of power, rebuilt: every state that a disk could be in, given what was written and what was synced.

What was synced is there. Of what was not, each operation may have reached the disk or not, whatever the
others did: a write also in part, or as zeros where its bytes should be. That is harsher than any file system
we know of. Who makes the list of operations is `tests.support.tracing`.
"""

from __future__ import annotations

import itertools
import pathlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, cast

Fate = Literal["lost", "kept", "torn", "zeros"]
"""What became of an operation: `torn` and `zeros` are for writes, and `kept` for all else."""


class Write(NamedTuple):
    """Bytes into a file. Between the moments `start` and `end`, as of every operation, it is under way."""

    start: int
    end: int
    inode: int
    offset: int
    data: bytes


class Truncate(NamedTuple):
    """A file's new size."""

    start: int
    end: int
    inode: int
    size: int


class Entries(NamedTuple):
    """Names in directories that come, go or change, all together or not at all: (directory, name, inode)."""

    start: int
    end: int
    changes: tuple[tuple[int, str, int | None], ...]


Operation = Write | Truncate | Entries


class Sync(NamedTuple):
    """What was done to a file or a directory before `start` is on the disk from `end` on."""

    start: int
    end: int
    inode: int


class Crash:
    """A disk after a loss of power at `moment`. `open` counts the operations whose fate is open.

    `directories` are the inodes that are one; 0 is the directory that was there before.
    """

    def __init__(
        self,
        operations: Sequence[Operation],
        syncs: Sequence[Sync],
        directories: frozenset[int],
        moment: int,
    ) -> None:
        synced: dict[int, int] = {}
        for sync in syncs:
            if sync.end < moment:
                synced[sync.inode] = max(synced.get(sync.inode, 0), sync.start)
        self._directories = directories
        self._operations = [
            (operation, all(operation.end < synced.get(place, -1) for place in places(operation)))
            for operation in operations
            if operation.start < moment
        ]
        self.open = sum(not certain for _, certain in self._operations)

    def all_fates(self, limit: int) -> Iterator[tuple[Fate, ...]]:
        """Every combination of lost and kept if those are `limit` at most.

        Else the two extremes, and all but one lost, and all but one kept.
        """
        if 2**self.open <= limit:
            yield from itertools.product(("lost", "kept"), repeat=self.open)
            return
        lost, kept = cast("list[list[Fate]]", [["lost"] * self.open, ["kept"] * self.open])
        yield tuple(lost)
        yield tuple(kept)
        for index in range(self.open):
            yield (*lost[:index], "kept", *lost[index + 1 :])
            yield (*kept[:index], "lost", *kept[index + 1 :])

    def choose(self, fate: Callable[[Operation], Fate]) -> tuple[Fate, ...]:
        """Fates by a rule."""
        return tuple(fate(operation) for operation, certain in self._operations if not certain)

    def files(self, fates: Sequence[Fate]) -> dict[str, bytes | None]:
        """Every path and its bytes, None for a directory, when what is open has these fates."""
        contents: dict[int, bytearray] = {}
        tree: dict[int, dict[str, int]] = {}
        left = iter(fates)
        for operation, certain in self._operations:
            fate = "kept" if certain else next(left)
            if fate == "lost":
                continue
            if isinstance(operation, Entries):
                for directory, name, inode in operation.changes:
                    tree.setdefault(directory, {})[name] = -1 if inode is None else inode
            else:
                _apply(contents.setdefault(operation.inode, bytearray()), operation, fate)
        found: dict[str, bytes | None] = {}

        def walk(directory: int, prefix: str) -> None:
            for name, inode in tree.get(directory, {}).items():
                if inode in self._directories:
                    found[prefix + name] = None
                    walk(inode, f"{prefix}{name}/")
                elif inode >= 0:
                    found[prefix + name] = bytes(contents.get(inode, b""))

        walk(0, "")
        return found


def places(operation: Operation) -> set[int]:
    """The files or directories that all have to be synced before an operation is certain."""
    if isinstance(operation, Entries):
        return {directory for directory, _, _ in operation.changes}
    return {operation.inode}


def build(files: Mapping[str, bytes | None], below: str, place: pathlib.Path) -> bool:
    """Make what is below the path `below` at `place`, which is emptied; whether it is there at all."""
    shutil.rmtree(place, ignore_errors=True)
    if below not in files:
        return False
    for name, data in files.items():
        if name == below or name.startswith(below + "/"):
            path = place / name.removeprefix(below).lstrip("/")
            if data is None:
                path.mkdir(mode=0o700)
            else:
                path.write_bytes(data)
                path.chmod(0o600)
    return True


def _apply(content: bytearray, operation: Write | Truncate, fate: Fate) -> None:
    if isinstance(operation, Truncate):
        del content[operation.size :]
        content.extend(bytes(operation.size - len(content)))
        return
    data = operation.data
    if fate == "torn":
        data = data[: len(data) // 2]
    elif fate == "zeros":
        data = bytes(len(data))
    content.extend(bytes(max(0, operation.offset - len(content))))
    content[operation.offset : operation.offset + len(data)] = data

"""Records what a daemon writes, syncs and sends: the log of strace, read into operations of `powerloss`.

strace sees every system call, whoever makes it (Python, SQLite, the C library), with all bytes and in their
order. A preloaded library would miss what does not go through it; a device-mapper log needs a kernel with
that module, and shows what one file system makes of the calls. The bytes that `splice` moves are in no log: a
test says which stream a container got. A recording checks itself: all that it has must give what is there.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pathlib
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import pytest

from tests.support import daemon, powerloss

SENDS = {"sendto", "sendmsg"}
CALLS = """
sendto sendmsg open openat openat2 creat write writev pwrite64 pwritev pwritev2 splice copy_file_range lseek
ftruncate truncate fallocate rename renameat renameat2 link linkat unlink unlinkat rmdir mkdir mkdirat symlink
symlinkat mknod mknodat fsync fdatasync sync_file_range sync syncfs mmap
"""

IGNORED = re.compile(r"state/((lock|reserve|socket|catalog\.sqlite3-shm)|(logs|runs)(/.*)?)")
"""Nothing is promised of these, or they are made anew: SQLite's index is mapped, and rebuilt at a start."""


class Traced(daemon.Daemon):
    """A daemon under strace. Skips the test, visibly, where that cannot be had.

    `traces` are the logs, one for each time that it was started.
    """

    def __init__(self, path: pathlib.Path, config: str) -> None:
        super().__init__(path, config, ())
        self.traces: list[pathlib.Path] = []

    def command(self, *arguments: str) -> list[str]:
        calls = ",".join(f"?{name}" for name in CALLS.split())
        options = ["-f", "-y", "-qq", "-xx", "-s", "4000000", "--seccomp-bpf", "-e", f"trace={calls}"]
        return ["strace", *options, "-o", str(self.traces[-1]), *super().command(*arguments)]

    def start(self, *arguments: str) -> None:
        probe = ["strace", "-f", "--seccomp-bpf", "-o", os.devnull, "true"]
        if not shutil.which("strace") or subprocess.run(probe, check=False, capture_output=True).returncode:
            pytest.skip("needs strace, and leave to trace processes (./just setup installs it)")
        self.traces.append(self.path / f"trace{len(self.traces)}")
        super().start(*arguments)

    def kill(self) -> None:
        """End the daemon itself at once; then strace ends, with its log whole."""
        if self.process is not None:
            with contextlib.suppress(OSError, ValueError, IndexError):  # it never started, or ended by itself
                os.kill(int(pathlib.Path(self.state, "lock").read_text().split()[0]), signal.SIGKILL)
                self.process.wait(daemon.PATIENCE)
            self.process.kill()
            self.process.wait()
            self.process = None


class Sent(NamedTuple):
    """Bytes that left the daemon on a socket, and the moment when they began to."""

    start: int
    data: bytes


class Recording:
    """All that a `Traced` daemon did, which has ended. `streams` are the bytes captured, by container.

    A moment is a line of the logs; `length` is the last moment. Paths are relative to the daemon's `path`.
    """

    def __init__(self, traced: Traced, streams: Mapping[str, bytes]) -> None:
        self.operations: list[powerloss.Operation] = []
        self.syncs: list[powerloss.Sync] = []
        self.sent: list[Sent] = []
        self.length = 0
        self._root = str(traced.path)
        self._streams = dict(streams)
        self._tree: dict[int, dict[str, int]] = {0: {}}
        """The directories as they are now, by inode; 0 is the root, which was there before."""
        self._fresh = itertools.count(1)
        self._positions: dict[int, int] = {}
        """Where an open descriptor stands in its file."""
        self._unlinked: dict[str, int] = {}
        self.paths: dict[int, str] = {0: ""}
        """The first path of each inode."""
        self._chosen: dict[str, tuple[list[powerloss.Operation], list[powerloss.Sync]]] = {}
        for call in _calls(traced.traces):
            self.length = max(self.length, call.end + 1)
            if call.name in SENDS:
                self.sent.append(Sent(call.start, call.text))
            elif not call.result.startswith(("-1", "?")):
                self._follow(call)
        self._check()

    def when_sent(self, pattern: bytes, after: int = 0) -> int:
        """The moment at which bytes that match began to leave the daemon."""
        return next(one.start for one in self.sent if one.start >= after and re.search(pattern, one.data))

    def touched(self, operation: powerloss.Operation) -> list[str]:
        """The paths of what an operation changes: of a file, or of the entries of directories."""
        if isinstance(operation, powerloss.Entries):
            return [f"{self.paths[directory]}/{name}" for directory, name, _ in operation.changes]
        return [self.paths[operation.inode]]

    def crash(self, moment: int, below: str = "") -> powerloss.Crash:
        """The disk when the power goes at `moment`. What is not `below` a path is left out, if given."""
        operations, syncs = self._only(below) if below else (self.operations, self.syncs)
        return powerloss.Crash(operations, syncs, frozenset(self._tree), moment)

    def moments(self, below: str, first: int) -> list[int]:
        """Every moment from `first` on at which the disk `below` a path can differ, and the last."""
        operations, syncs = self._only(below)
        edges = {edge + 1 for one in [*operations, *syncs] for edge in (one.start, one.end)}
        return sorted({first, self.length} | {edge for edge in edges if edge > first})

    def _only(self, below: str) -> tuple[list[powerloss.Operation], list[powerloss.Sync]]:
        if below not in self._chosen:
            wanted = self._below(below)
            self._chosen[below] = (
                [one for one in self.operations if powerloss.places(one) <= wanted],
                [one for one in self.syncs if one.inode in wanted],
            )
        return self._chosen[below]

    def _below(self, path: str) -> set[int]:
        """The inodes that ever had a name below a path, and the directories on the way."""
        inode, wanted = 0, {0}
        for name in path.split("/"):
            inode = self._tree[inode][name]
            wanted.add(inode)
        grown = {inode}
        while grown:
            wanted |= grown
            grown = {
                child
                for one in self.operations
                if isinstance(one, powerloss.Entries)
                for directory, _, child in one.changes
                if directory in grown and child is not None
            } - wanted
        return wanted

    # --- following the calls -----------------------------------------------------------------------------

    def _follow(self, call: _Call) -> None:
        match call.name:
            case "open" | "openat" | "creat":
                self._opened(call)
            case "mkdir" | "mkdirat":
                self._made(call, call.path(call.name == "mkdirat"), directory=True)
            case "rename" | "renameat" | "renameat2" | "link" | "linkat":
                self._moved(call)
            case "unlink" | "rmdir" | "unlinkat":
                self._removed(call, call.path(call.name == "unlinkat"))
            case "splice" if self._follows(call.fd_path(2)):
                offset = None if call.parts[3] == "NULL" else int(call.parts[3].strip("[]"))
                self._written(call, 2, self._spliced(call), offset)
            case "write" | "writev" | "pwrite64" if self._follows(call.fd_path(0)):
                offset = int(call.parts[-1], 0) if call.name == "pwrite64" else None
                self._written(call, 0, call.text[: int(call.result)], offset)
            case "ftruncate" if self._follows(call.fd_path(0)):
                size = int(call.parts[1], 0)
                self._add(powerloss.Truncate(call.start, call.end, self._inode(call.fd_path(0)), size))
            case "lseek" if self._follows(call.fd_path(0)):
                self._positions[call.fd(0)] = int(call.result)
            case "fsync" | "fdatasync" if self._follows(call.fd_path(0)):
                self.syncs.append(powerloss.Sync(call.start, call.end, self._inode(call.fd_path(0))))
            case "mmap" if "MAP_SHARED" not in call.arguments or "PROT_WRITE" not in call.arguments:
                pass
            case "lseek" | "fsync" | "fdatasync" | "write" | "writev" | "pwrite64" | "splice" | "ftruncate":
                pass  # of what is not followed
            case _:
                touched = [path for path in call.every_path() if self._follows(path)]
                assert not touched, f"can't follow {call.name} of {touched}"

    def _opened(self, call: _Call) -> None:
        path = call.path(call.name == "openat")
        flags = "O_CREAT|O_TRUNC" if call.name == "creat" else call.arguments
        if not self._follows(path) or "O_DIRECTORY" in flags:
            return
        assert "O_APPEND" not in flags, path
        assert "O_TMPFILE" not in flags, path
        self._positions[int(call.result.partition("<")[0])] = 0
        if self._lookup(path) is None:
            assert "O_CREAT" in flags, f"{path} came from nowhere"
            self._made(call, path)
        elif "O_TRUNC" in flags:
            self._add(powerloss.Truncate(call.start, call.end, self._existing(path), 0))

    def _spliced(self, call: _Call) -> bytes:
        container = re.split("/containers/|/spool/", call.fd_path(2))[1].split("/")[0]
        count, left = int(call.result), self._streams[container]
        self._streams[container] = left[count:]
        return left[:count]

    def _written(self, call: _Call, fd: int, data: bytes, offset: int | None) -> None:
        if offset is None:
            offset = self._positions[call.fd(fd)]
            self._positions[call.fd(fd)] += len(data)
        inode = self._inode(call.fd_path(fd))
        self._add(powerloss.Write(call.start, call.end, inode, offset, data))

    def _made(self, call: _Call, path: str, *, directory: bool = False) -> None:
        if self._follows(path):
            inode = next(self._fresh)
            if directory:
                self._tree[inode] = {}
            self._change(call, {path: inode})

    def _moved(self, call: _Call) -> None:
        wide = call.name not in {"rename", "link"}
        source, target = call.path(wide), call.path(wide, 2 if wide else 1)
        assert "RENAME_" not in call.arguments, call.arguments
        if self._follows(source) or self._follows(target):
            inode = self._existing(source)
            if call.name.startswith("link"):
                self._change(call, {target: inode})
            else:
                self._change(call, {source: None, target: inode})

    def _removed(self, call: _Call, path: str) -> None:
        if self._follows(path):
            self._unlinked[path] = self._existing(path)
            self._change(call, {path: None})

    def _change(self, call: _Call, names: Mapping[str, int | None]) -> None:
        changes = []
        for path, inode in names.items():
            folder, _, name = path.rpartition("/")
            directory = self._existing(folder)
            changes.append((directory, name, inode))
            if inode is None:
                del self._tree[directory][name]
            else:
                self._tree[directory][name] = inode
                self.paths.setdefault(inode, path.removeprefix(self._root + "/"))
        self._add(powerloss.Entries(call.start, call.end, tuple(changes)))

    def _add(self, operation: powerloss.Operation) -> None:
        self.operations.append(operation)

    # --- names -------------------------------------------------------------------------------------------

    def _follows(self, path: str) -> bool:
        if path == self._root:
            return True  # it is synced, too: it holds the state directory's entry
        if not path.startswith(f"{self._root}/state"):
            return False
        below = path.removeprefix(self._root + "/").removesuffix(" (deleted)")
        return not IGNORED.fullmatch(below)

    def _lookup(self, path: str) -> int | None:
        inode: int | None = 0
        for name in path.removeprefix(self._root).split("/")[1:]:
            inode = None if inode is None else self._tree.get(inode, {}).get(name)
        return inode

    def _existing(self, path: str) -> int:
        inode = self._lookup(path)
        assert inode is not None, f"{path} came from nowhere"
        return inode

    def _inode(self, path: str) -> int:
        """Of an open file's path as the kernel says it."""
        if path.endswith(" (deleted)"):
            return self._unlinked[path.removesuffix(" (deleted)")]
        return self._existing(path)

    def _check(self) -> None:
        crash = self.crash(self.length)
        made = crash.files(("kept",) * crash.open)
        state = pathlib.Path(self._root, "state")
        there = {
            str(path.relative_to(self._root)): None if path.is_dir() else path.read_bytes()
            for path in [state, *state.rglob("*")]
            if self._follows(str(path))
        }
        assert set(made) == set(there), "the log and the disk have other names"
        assert [name for name, data in there.items() if made[name] != data] == [], "they have other bytes"


# --- lines of strace ---------------------------------------------------------------------------------------

_LINE = re.compile(r"(\d+) +(?:(\w+)\(|<\.\.\. (\w+) resumed>)(.*)", re.DOTALL)
_RESULT = re.compile(r"(.*)\) += (.*)", re.DOTALL)
_UNFINISHED = " <unfinished ...>"
_FD = re.compile(r"(-?\w+)<((?:\\x[0-9a-f]{2})*)>(\(deleted\))?")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


class _Call(NamedTuple):
    """One system call; `start` and `end` are the lines at which it began and returned."""

    start: int
    end: int
    name: str
    arguments: str
    result: str

    @property
    def parts(self) -> list[str]:
        return self.arguments.split(", ")

    @property
    def text(self) -> bytes:
        """The bytes that it wrote or sent."""
        return b"".join(map(_bytes, _TEXT.findall(self.arguments)))

    def fd(self, argument: int) -> int:
        return int(self.parts[argument].partition("<")[0])

    def fd_path(self, argument: int) -> str:
        """The path of an open file; with ` (deleted)` at its end where it has none any more."""
        found = _FD.match(self.parts[argument])
        if found is None:
            return ""
        path = os.fsdecode(_bytes(found[2]))
        return f"{path} (deleted)" if found[3] else path

    def path(self, relative: bool, argument: int = 0) -> str:
        """The path that an argument names; with `relative` that of a directory stands before it."""
        path = os.fsdecode(_bytes(_TEXT.findall(self.parts[argument + relative])[0]))
        return os.path.normpath(os.path.join(self.fd_path(argument), path) if relative else path)

    def every_path(self) -> Iterator[str]:
        for text in [*_TEXT.findall(self.arguments), *(found[1] for found in _FD.findall(self.arguments))]:
            yield os.fsdecode(_bytes(text))


def _bytes(hexadecimal: str) -> bytes:
    return bytes.fromhex(hexadecimal.replace("\\x", ""))


def _calls(logs: Sequence[pathlib.Path]) -> Iterator[_Call]:
    """The calls in the order in which they returned."""
    pending: dict[str, tuple[int, str]] = {}
    lines = itertools.chain.from_iterable(log.read_text(encoding="ascii").splitlines() for log in logs)
    for number, line in enumerate(lines):
        found = _LINE.match(line)
        if found is None:
            continue  # signals and exits
        thread, name, resumed, rest = found.groups()
        if rest.endswith(_UNFINISHED):
            pending[thread] = number, rest.removesuffix(_UNFINISHED)
            continue
        start, before = pending.pop(thread) if resumed else (number, "")
        ended = _RESULT.fullmatch(before + rest)
        if ended is not None:
            yield _Call(start, number, name or resumed, ended[1], ended[2])

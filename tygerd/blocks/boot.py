"""Which boot of the machine wrote a container, and how: a small file `boot` in it.

After another boot nothing that was not synced can be trusted: a block's file may be shorter than it was, or
hold zeros. So who goes on with a container asks `changed` first, and the writer's recovery does, too. A
stream that has ended may be verified then (`blocks.verify`) and this boot remembered, so that it is verified
once. One that has not ended never goes on: its producer died with the machine.

The file is one line: the kernel's identifier of the boot, then ` synced` if every block that the journal
names was synced first.
"""

from __future__ import annotations

import contextlib
import os

from tygerd.osutil import durable

FILE = "boot"
"""Its name in a container's directory."""

_SYNCED = "synced"
_KERNEL = "/proc/sys/kernel/random/boot_id"


def current() -> str:
    """The kernel's identifier of this boot, a UUID as text."""
    with open(_KERNEL, encoding="ascii") as file:
        return file.read().strip()


def remember(path: str, *, sync: bool = False) -> None:
    """Note this boot in the container at `path`, whole or not at all; blocking.

    `sync` says that every block was synced before it was named. The note itself need not be on the disk: what
    a loss of power makes of it, an older one or none, counts as changed, and so it should.
    """
    text = f"{current()} {_SYNCED}" if sync else current()
    durable.replace(os.path.join(path, FILE), f"{text}\n".encode(), sync=False)


def changed(path: str) -> bool:
    """Whether the machine booted since `remember`, as far as we know: also where nothing is remembered.

    Blocking.
    """
    return _words(path)[:1] != [current()]


def synced(path: str) -> bool:
    """Whether `remember` said, in this boot, that every block was synced; blocking."""
    return _words(path) == [current(), _SYNCED]


def _words(path: str) -> list[str]:
    with (
        contextlib.suppress(FileNotFoundError),
        open(os.path.join(path, FILE), encoding="ascii", errors="replace") as file,
    ):
        return file.read(100).split()
    return []

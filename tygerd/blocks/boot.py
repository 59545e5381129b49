"""Which boot of the machine wrote a container: a small file `boot` in it.

After another boot nothing that was not synced can be trusted: a block's file may be shorter than it was, or
hold zeros. So who goes on with a container asks `changed` first, verifies (`blocks.verify`), and only then
remembers the new boot.
"""

from __future__ import annotations

import contextlib
import os

from tygerd.osutil import durable

FILE = "boot"
"""Its name in a container's directory."""

_KERNEL = "/proc/sys/kernel/random/boot_id"


def current() -> str:
    """The kernel's identifier of this boot, a UUID as text."""
    with open(_KERNEL, encoding="ascii") as file:
        return file.read().strip()


def remember(path: str, *, sync: bool = False) -> None:
    """Note this boot in the container at `path`, whole or not at all; blocking.

    With `sync` it is on the disk afterwards. Without, a loss of power may leave an older boot there or
    nothing, and both count as changed.
    """
    durable.replace(os.path.join(path, FILE), f"{current()}\n".encode(), sync=sync)


def changed(path: str) -> bool:
    """Whether the machine booted since `remember`, as far as we know: also where nothing is remembered.

    Blocking.
    """
    with (
        contextlib.suppress(FileNotFoundError),
        open(os.path.join(path, FILE), encoding="ascii", errors="replace") as file,
    ):
        return file.read(100).strip() != current()
    return True

"""Small disks of their own, for what happens when one is full or read-only. Only root may mount them."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import subprocess
from collections.abc import Iterator

import pytest


@contextlib.contextmanager
def mounted(path: pathlib.Path, *options: str) -> Iterator[pathlib.Path]:
    """A tmpfs at `path`, which is made, with options such as `-o size=8m`; skips where it may not be."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("needs root, to mount a small file system")
    path.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", *options, "tyger-test", path], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip("mounting is not permitted here")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", path], capture_output=True, check=False)


def fill(path: pathlib.Path) -> None:
    """Write zeros to a file until the disk has no room left."""
    with open(path, "wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (1 << 16, 1 << 10, 1):
            with contextlib.suppress(OSError):
                while file.write(bytes(size)):
                    pass

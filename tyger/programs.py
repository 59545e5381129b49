"""How to start our own programs, wherever they are: in a PyInstaller bundle, in a venv, or in a checkout.

Standard library only: commands, the daemon and the supervisor beside a run use it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Literal

LIBRARY_PATHS = ("LD_LIBRARY_PATH", "LIBPATH")
"""What PyInstaller's starter changes for its own libraries; it keeps the caller's value in `<NAME>_ORIG`."""

# Other traces of the starter. One-file bundles would unpack into the parent's directory because of them.
_STARTER = ("_MEIPASS", "_MEIPASS2", "_PYI_")


def command(program: Literal["tyger", "tygerd", "tyger-proxy"]) -> list[str]:
    """The argv prefix that starts `program` as the same version that is running now."""
    if getattr(sys, "frozen", False):
        # One directory holds both; the caller may have been found through a symbolic link.
        return [os.path.join(os.path.dirname(os.path.realpath(sys.executable)), program)]
    # -P: the caller's working directory must not supply modules. The checkout's place is handed on instead.
    return [sys.executable, "-P", "-m", program.replace("-", "_")]


def child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for a program that is not ours: as our caller's was."""
    child = {name: value for name, value in environ.items() if not name.startswith(_STARTER)}
    for name in LIBRARY_PATHS:
        original = child.pop(f"{name}_ORIG", None)
        if original is not None:
            child[name] = original
        elif getattr(sys, "frozen", False):
            child.pop(name, None)
    return child


def own_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for another program of ours: the same, and where a checkout's modules are."""
    child = child_environment(environ)
    if not getattr(sys, "frozen", False):
        root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        if not _installed(root):
            child["PYTHONPATH"] = root
    return child


def _installed(root: str) -> bool:
    """Whether our modules are found without help: they lie in a directory of installed packages."""
    return os.path.basename(root) in ("site-packages", "dist-packages")

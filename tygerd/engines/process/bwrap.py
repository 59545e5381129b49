"""The sandbox around a job: bubblewrap's arguments. Builds words, looks at paths, starts only a probe.

Inside, the root is read-only; `/tmp` (with the home directory in it) and `/run` are the job's own; it is
alone in its pid namespace and dies with its supervisor. Of the daemon it sees its own pipes and nothing else:
neither state, socket nor configuration. Of the user it sees no home directory, except for the programs that
the image's entry names. The network is the host's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Collection, Sequence
from typing import NamedTuple

from tygerd import config
from tygerd.engines.process import images

HOME = "/tmp/home"  # noqa: S108 - inside the sandbox, where /tmp is private
PROBE_SECONDS = 10.0


class Sandbox(NamedTuple):
    """What the arguments depend on and what doesn't change between runs."""

    program: str
    homes: tuple[str, ...]
    """Home directories that a job must not see."""
    state: str
    socket: str
    """Of the daemon."""


def find() -> str | None:
    """The path of bubblewrap, where it is installed."""
    return shutil.which("bwrap")


def probe(program: str) -> str | None:
    """Why bubblewrap doesn't work here (user namespaces may be forbidden); None when it does. Blocks."""
    try:
        words = [*_entries("/", _OWN), "--dev", "/dev", "--proc", "/proc", "--remount-ro", "/"]
        command = [program, *_ISOLATION, *words, "/bin/true"]
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=PROBE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return done.stderr.decode(errors="replace").strip() or "it failed" if done.returncode else None


_ISOLATION = (
    "--die-with-parent",
    "--unshare-pid",
    "--unshare-ipc",
    "--unshare-uts",
    "--unshare-cgroup-try",
    "--cap-drop",
    "ALL",  # of root's: they would undo the mounts below
)


def argv(
    sandbox: Sandbox,
    image: config.Image,
    command: Sequence[str],
    *,
    pipes: str,
    pipes_inside: str,
    cwd: str | None,
) -> list[str]:
    """The whole command line. `pipes` is the directory of the run's pipes, seen at `pipes_inside`."""
    words = [sandbox.program, *_ISOLATION]
    words += _host(sandbox, image) if images.on_host(image) else _root(str(image.root))
    # A FIFO on a read-only mount can be written; the directory itself can't be changed.
    words += ["--ro-bind", pipes, pipes_inside, "--dir", HOME, "--chdir", cwd or HOME, "--", *command]
    return words


def _host(sandbox: Sandbox, image: config.Image) -> list[str]:
    """This host's file system, without what is private to users and to the daemon."""
    words: list[str] = []
    masked: list[str] = []
    hidden = [sandbox.state]
    if _is_private(os.path.dirname(sandbox.socket)):
        hidden.append(os.path.dirname(sandbox.socket))
    for directory in ("/tmp", "/run", *sandbox.homes, *hidden):  # noqa: S108 - inside the sandbox
        if not _below(directory, masked) and os.path.isdir(directory):
            masked.append(directory)
            words += ["--tmpfs", directory]
    # What is masked as a whole is not bound before: bubblewrap fails where something mounted in there, such
    # as the network of a container in /run, goes away while it goes through the mounts.
    skipped = {"dev", "proc", *(directory[1:] for directory in masked)}
    words = [*_entries("/", skipped), "--dev", "/dev", "--proc", "/proc", *words]
    for prefix in prefixes(image, sandbox.homes):
        if _below(prefix, masked) and not _below(prefix, hidden):
            words += ["--ro-bind", prefix, prefix]
    if not _below(sandbox.socket, masked) and os.path.exists(sandbox.socket):
        words += ["--ro-bind", "/dev/null", sandbox.socket]
    # Names of hosts resolve as they do outside: the file is often a link into /run.
    resolver = os.path.realpath("/etc/resolv.conf")
    if _below(resolver, masked) and os.path.isfile(resolver):
        words += ["--ro-bind", resolver, resolver]
    return [*words, "--remount-ro", "/"]


_OWN = frozenset({"dev", "proc", "run", "tmp"})


def _entries(root: str, skipped: Collection[str]) -> list[str]:
    """The entries of a directory, but for those with these names, at the root."""
    words: list[str] = []
    with os.scandir(root) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name in skipped:
                continue
            if entry.is_symlink():
                words += ["--symlink", os.readlink(entry.path), f"/{entry.name}"]
            else:
                words += ["--ro-bind", entry.path, f"/{entry.name}"]
    return words


def _root(root: str) -> list[str]:
    """A directory's file system, entry by entry: it may lack the directories that we mount on."""
    words = _entries(root, _OWN)
    words += ["--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", "--tmpfs", "/run"]  # noqa: S108
    inside = os.path.join(root, "etc/resolv.conf")
    if os.path.isfile(inside) and not os.path.islink(inside) and os.path.isfile("/etc/resolv.conf"):
        words += ["--ro-bind", os.path.realpath("/etc/resolv.conf"), "/etc/resolv.conf"]
    return [*words, "--remount-ro", "/"]


def prefixes(image: config.Image, homes: Sequence[str]) -> list[str]:
    """The directories that an image's entry names as the places of its programs, where these exist.

    A program in `X/bin` needs what lies in `X`, unless that is a whole home, and a Python virtual environment
    needs its base installation.
    """
    places = [place for place in image.env.get("PATH", "").split(":") if os.path.isabs(place)]
    if image.entrypoint and os.path.isabs(image.entrypoint[0]):
        places.append(os.path.dirname(image.entrypoint[0]))
    found: dict[str, None] = {}
    for place in places:
        parent, name = os.path.split(os.path.normpath(place))
        prefix = parent if name == "bin" and parent not in homes else place
        for directory in (prefix, _python_base(prefix)):
            if directory and os.path.isdir(directory):
                found[directory] = None
    return list(found)


def _python_base(prefix: str) -> str | None:
    """Where the interpreter of a virtual environment is installed."""
    try:
        with open(os.path.join(prefix, "pyvenv.cfg"), encoding="utf-8") as file:
            settings = dict(line.split("=", 1) for line in file if "=" in line)
    except (OSError, ValueError):
        return None
    home = next((value.strip() for key, value in settings.items() if key.strip() == "home"), None)
    return os.path.dirname(home) if home else None


def _is_private(directory: str) -> bool:
    """Only its owner may enter it, so what lies there is the daemon's; a socket may stand anywhere."""
    try:
        return os.stat(directory).st_mode & 0o077 == 0
    except OSError:
        return False


def _below(path: str, directories: Sequence[str]) -> bool:
    """`path` is one of the directories or lies in one."""
    return any(path == directory or path.startswith(directory.rstrip("/") + "/") for directory in directories)

"""`tygerd supervise DIRECTORY`, and `tygerd supervise --standby`, which waits for the directory on its stdin.

A daemon keeps one supervisor on standby, with everything imported, because starting Python takes longer
than all the rest of starting a run. A standby whose stdin ends without a line leaves: its daemon is gone. On
stdout stands one line: `ready` once the control socket can be connected, `taken` when the run was started
before, or `error: ` and why there is no run.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import os
import sys
import traceback

from tygerd.supervisor import spec, supervise


def main(argv: list[str]) -> int:
    """Supervise one run to its end. Exit code 0 when the run has a status, whatever that is."""
    if argv == ["--standby"]:
        importlib.import_module("tygerd.supervisor.container")  # which only some runs need
        directory = sys.stdin.readline().rstrip("\n")
        if not directory:
            return 0
    elif len(argv) == 1 and not argv[0].startswith("-"):
        directory = os.path.abspath(argv[0])
    else:
        sys.stderr.write("usage: tygerd supervise DIRECTORY | --standby\n")
        return 64
    os.umask(0o077)
    os.chdir("/")
    try:
        _lock(directory)
        setup = spec.read_spec(directory)
        supervisor = supervise.Supervisor(directory, setup)
    except _TakenError:
        _say("taken")
        return 0
    except (OSError, ValueError) as error:
        _say(f"error: {error}")
        return 1
    _detach(os.path.join(directory, spec.ERRORS))
    try:
        supervisor.run(_ready)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the run must not look alive for ever
        traceback.print_exc()
        supervisor.abandon(f"a defect of the run's supervisor: {error!r}; the daemon's log has more")
        return 70
    return 0


class _TakenError(Exception):
    """The run was started before."""


def _lock(directory: str) -> None:
    """Make the lock file and hold it while we live. It must not exist: a run is never started twice.

    It is locked before it has its name: one that is there and free is that of a supervisor that was killed.
    """
    path = os.path.join(directory, spec.LOCK)
    fd = os.open(f"{path}.{os.getpid()}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)  # the descriptor stays open until the process ends
    try:
        os.link(f"{path}.{os.getpid()}", path)
    except FileExistsError:
        raise _TakenError from None
    finally:
        os.unlink(f"{path}.{os.getpid()}")


def _detach(errors: str) -> None:
    """Stdin becomes /dev/null, stderr a file in the run's directory; of the caller's only stdout is kept."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    fd = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(fd, 2)
    os.close(fd)


def _ready() -> None:
    _say("ready")
    os.dup2(0, 1)


def _say(line: str) -> None:
    """Tell the caller, who may be gone: the run goes on without it."""
    with contextlib.suppress(BrokenPipeError):
        os.write(1, f"{line}\n".encode())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

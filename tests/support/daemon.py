"""A real tygerd in a short temporary directory: started, waited for by event, stopped, its directory removed.

with daemon.daemon(config="[store]\\nblock_size = 4096\\n") as d:
    subprocess.run([*daemon.TYGER, "status"], env=d.env, check=True)
    d.kill()
    d.restart()
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from tests.support import template

ROOT = pathlib.Path(__file__).resolve().parents[2]
TYGER = [sys.executable, "-m", "tyger"]
TYGERD = [sys.executable, "-m", "tygerd"]

PATIENCE = 120
"""Seconds until a test gives up. A daemon starts in half a second on a quiet machine; with forty processes
for two processors half a minute was too short."""

SHOWN = 50
"""Lines of a daemon's log that are shown with a test that failed."""


class Daemon:
    """One state directory, one socket, and the daemon that serves them now.

    `env` is an environment for commands: they find this daemon, start none, and have a home of their own.
    `path` is the directory that holds everything; `log` is what all daemons here have logged.
    """

    def __init__(self, path: pathlib.Path, config: str, arguments: tuple[str, ...]) -> None:
        self.path = path
        self.socket = str(path / "s")
        self.state = str(path / "state")
        self.config = str(path / "tygerd.toml")
        self.process: template.Process | subprocess.Popen[bytes] | None = None
        self._arguments = arguments
        pathlib.Path(self.config).write_text(config)
        self.env = environment(path) | {"TYGER_SOCKET": self.socket, "TYGER_AUTOSTART": "0"}

    @property
    def pid(self) -> int:
        """The daemon's process."""
        assert self.process is not None
        return self.process.pid

    @property
    def log(self) -> str:
        """What was written to stderr so far."""
        return (self.path / "log").read_text()

    def command(self, *arguments: str) -> list[str]:
        """The argv of `tygerd serve` here."""
        places = ["--socket", self.socket, "--state", self.state, "--config", self.config]
        return [*TYGERD, "serve", *places, "--log-format", "json", *self._arguments, *arguments]

    def start(self, *arguments: str) -> None:
        """Start the daemon and wait until it says that it is ready (as systemd does: NOTIFY_SOCKET)."""
        notify = self.path / "notify"
        notify.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told, open(self.path / "log", "ab") as log:
            told.bind(str(notify))
            env = self.env | {"NOTIFY_SOCKET": str(notify)}
            self.process = template.start(self.command(*arguments), env=env, stderr=log.fileno())
            ended = os.pidfd_open(self.process.pid)
            try:
                ready, _, _ = select.select([told.fileno(), ended], [], [], PATIENCE)
            finally:
                os.close(ended)
            if told.fileno() not in ready or told.recv(100) != b"READY=1":
                self.kill()
                raise AssertionError(f"the daemon does not start:\n{self.log}")

    def wait(self) -> int:
        """Wait until the daemon has ended by itself; its exit code."""
        assert self.process is not None
        code = self.process.wait(PATIENCE)
        self.process = None
        return code

    def stop(self) -> int:
        """Stop it with SIGTERM; its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.wait()

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def restart(self, sig: signal.Signals = signal.SIGKILL) -> None:
        """End it, at once unless another signal is given, and start it again."""
        if self.process is not None:
            self.process.send_signal(sig)
            self.wait()
        self.start()


def environment(path: pathlib.Path) -> dict[str, str]:
    """An environment in which nothing of this machine's user is found, and everything is below `path`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "TYGER"))}
    kept.pop("NO_COLOR", None)
    return kept | {
        "TERM": "xterm-256color",
        "HOME": str(path),
        "PYTHONPATH": str(ROOT),
        "XDG_RUNTIME_DIR": str(path / "run"),
        "XDG_STATE_HOME": str(path / "xdg-state"),
        "XDG_CONFIG_HOME": str(path / "xdg-config"),
    }


@contextlib.contextmanager
def directory() -> Iterator[pathlib.Path]:
    """A private directory with a path short enough for sockets."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="tyger-", dir="/tmp"))
    try:
        yield path
    finally:
        remove(path)


def remove(path: pathlib.Path) -> None:
    """Remove a tree in which somebody may still be at work, such as a supervisor that ends."""
    for _ in range(50):
        with contextlib.suppress(OSError):
            shutil.rmtree(path)
        if not path.exists():
            return
    shutil.rmtree(path)


@contextlib.contextmanager
def daemon(*arguments: str, config: str = "", start: bool = True) -> Iterator[Daemon]:
    """A daemon with this configuration text and these further arguments, ready unless `start` is False."""
    with directory() as path:
        it = Daemon(path, config, arguments)
        try:
            if start:
                it.start()
            yield it
        except Exception:
            # pytest shows this with the failure, and it is all that is left of a daemon elsewhere.
            sys.stderr.write("\n".join(["The end of its log:", *it.log.splitlines()[-SHOWN:], ""]))
            raise
        finally:
            it.kill()

"""What every measurement stands on: a daemon of its own, the installed commands, and samples taken in turns.

Nothing here is a figure; `figures_*.py` have those. `close` removes everything that was made.
"""

from __future__ import annotations

import os
import pathlib
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Self

BIN = pathlib.Path(sys.executable).parent
TYGER = str(BIN / "tyger")
TYGERD = str(BIN / "tygerd")
HERE = pathlib.Path(__file__).resolve().parent

CONFIG = """\
[store]
flush_interval = "5ms"

[[engine.process.images]]
image = "bench"
root = "/"
entrypoint = []
env = { PATH = "/usr/bin:/bin" }
"""


class Missing(Exception):  # noqa: N818 - a fact, not a mistake
    """This machine lacks what a figure needs; the text says what, and how to get it."""


class Rig:
    """A scratch directory on a real disk with a daemon in it, until `close`.

    As a context it starts the daemon, and closes.
    """

    def __init__(self, directory: str | None) -> None:
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="tyger-bench-", dir=directory))
        # The socket's own directory: its path is limited to 107 bytes, that of `directory` is not.
        self.runtime = pathlib.Path(tempfile.mkdtemp(prefix="tyger-bench-"))
        self.socket = str(self.runtime / "s")
        self.environ = {**os.environ, "TYGER_SOCKET": self.socket, "TYGER_AUTOSTART": "0"}
        self.configure(CONFIG)
        self.arguments = ["--socket", self.socket, "--state", str(self.path / "state")]
        self.arguments += ["--config", str(self.path / "tygerd.toml")]
        self.daemon: subprocess.Popen[bytes] | None = None

    def configure(self, config: str) -> None:
        """Give the next daemon another configuration."""
        (self.path / "tygerd.toml").write_text(config)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start the daemon and wait until it says, as to systemd, that it is ready."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            address = str(self.runtime / "notify")
            notify.bind(address)
            with open(self.path / "tygerd.log", "ab") as log:
                self.daemon = subprocess.Popen(
                    [TYGERD, "serve", *self.arguments],
                    env={**self.environ, "NOTIFY_SOCKET": address},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            deadline = time.monotonic() + 20
            while select.select([notify], [], [], 0.2)[0] == [] or b"READY=1" not in notify.recv(4096):
                if self.daemon.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f"bench: the daemon does not start:\n{(self.path / 'tygerd.log').read_text()}")
            os.unlink(address)

    def stop(self) -> None:
        """End the daemon."""
        if self.daemon is not None:
            self.daemon.send_signal(signal.SIGTERM)
            self.daemon.wait(30)
            self.daemon = None

    def close(self) -> None:
        """End the daemon and remove every file."""
        self.stop()
        shutil.rmtree(self.path, ignore_errors=True)
        shutil.rmtree(self.runtime, ignore_errors=True)

    def peak_memory(self) -> int:
        """The daemon's peak resident set so far, in bytes."""
        assert self.daemon is not None
        for line in pathlib.Path(f"/proc/{self.daemon.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmHWM in /proc")

    def cpu(self) -> float:
        """Seconds of processor time that the daemon has used, all its threads together."""
        assert self.daemon is not None
        return cpu_of(self.daemon.pid)

    def tyger(self, *arguments: str, stdin: bytes = b"") -> str:
        """What a command prints; its failure ends the benchmark."""
        done = subprocess.run(
            [TYGER, *arguments], env=self.environ, input=stdin, capture_output=True, check=False
        )
        if done.returncode:
            words = done.stderr.decode(errors="replace")
            sys.exit(f"bench: exit code {done.returncode} from tyger {' '.join(arguments)}: {words}")
        return done.stdout.decode().strip()

    def shell(self, script: str) -> None:
        """Run a bash pipeline, any part of which may fail it."""
        done = subprocess.run(["bash", "-c", "set -eo pipefail; " + script], env=self.environ, check=False)
        if done.returncode:
            sys.exit(f"bench: exit code {done.returncode} from {script}")

    def purge(self, buffer: str) -> None:
        """Free a buffer's disk space."""
        self.tyger("buffer", "delete", buffer)
        self.tyger("buffer", "purge", buffer)


class Ran(NamedTuple):
    """What a pipeline took: seconds from its start to its last end, processor seconds of each command."""

    seconds: float
    cpu: list[float]


def pipeline(*commands: Sequence[str], environ: Mapping[str, str] | None = None) -> Ran:
    """Run commands joined by pipes, the first one's input and the last one's output being /dev/null.

    A command that fails ends the benchmark.
    """
    start = time.monotonic()
    running: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryFile() as words:
        for command in commands:
            running.append(
                subprocess.Popen(
                    command,
                    env=environ,
                    stdin=running[-1].stdout if running else subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL if len(running) + 1 == len(commands) else subprocess.PIPE,
                    stderr=words,
                )
            )
        for process in running:
            if process.stdout is not None:
                process.stdout.close()
        cpu = []
        for process in running:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            cpu.append(usage.ru_utime + usage.ru_stime)
        if codes := [process.returncode for process in running if process.returncode]:
            words.seek(0)
            said = words.read().decode(errors="replace")
            shown = " | ".join(" ".join(command) for command in commands)
            sys.exit(f"bench: exit code {codes[-1]} from {shown}:\n{said}")
        return Ran(time.monotonic() - start, cpu)


def source(file: pathlib.Path, size: int) -> list[str]:
    """A command that writes `size` bytes made of `file`, at hardly any cost."""
    return [sys.executable, str(HERE / "source.py"), str(file), str(size)]


def cpu_of(pid: int) -> float:
    """Seconds of processor time that a process has used, all its threads together."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Pair(NamedTuple):
    """Samples of the reference and of the subject, taken in turns, so that a slow minute hits both."""

    reference: list[float]
    subject: list[float]

    def medians(self) -> tuple[float, float]:
        """Of the reference and of the subject."""
        return statistics.median(self.reference), statistics.median(self.subject)


def until(holds: Callable[[], bool], otherwise: str) -> None:
    """Wait until something holds; after 20 s that ends the benchmark."""
    deadline = time.monotonic() + 20
    while not holds():
        if time.monotonic() > deadline:
            sys.exit(f"bench: {otherwise}")
        time.sleep(0.02)


def timed(action: Callable[[], object]) -> float:
    """Seconds that `action` takes."""
    start = time.monotonic()
    action()
    return time.monotonic() - start


def in_turns(repeat: int, reference: Callable[[], float], subject: Callable[[], float]) -> Pair:
    """`repeat` samples of each."""
    pair = Pair([], [])
    for _ in range(repeat):
        pair.reference.append(reference())
        pair.subject.append(subject())
    return pair

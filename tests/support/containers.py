"""A daemon whose runs are containers of a Podman, and what that leaves behind."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import sqlite3
import time
from collections.abc import Iterator
from typing import Any

from tests.support import commands as commands_support
from tests.support import daemon
from tests.support import podman as podman_support

CONFIG = """
[store]
flush_interval = "50ms"
[engine]
use = "container"
[engine.container]
socket = "{socket}"
cancel_grace = 1
"""


def names(containers: list[dict[str, Any]]) -> list[str]:
    """What the containers of a list are called."""
    found = [one["Names"] for one in containers]
    return sorted(name for entry in found for name in ([entry] if isinstance(entry, str) else entry))


class Host(commands_support.Logs):
    """A daemon, commands against it, and the Podman behind it."""

    def __init__(self, it: daemon.Daemon, podman: podman_support.Podman) -> None:
        self.daemon = it
        self.podman = podman
        self.commands = commands_support.Commands(it.env)

    def close(self) -> None:
        """End the commands that still run."""
        self.commands.close()

    def run_file(self, script: str, **more: Any) -> str:
        """A run file whose job is a line of shell in busybox."""
        given = {"inputs": ("in",), "outputs": ("out",), "image": podman_support.BUSYBOX} | more
        codespec = {
            "image": given.pop("image"),
            "buffers": {"inputs": list(given.pop("inputs")), "outputs": list(given.pop("outputs"))},
            "command": ["sh", "-c", script],
            **given.pop("codespec", {}),
        }
        path = self.daemon.path / f"run{len(list(self.daemon.path.glob('run*.yml')))}.yml"
        path.write_text(json.dumps({"job": {"codespec": codespec, **given.pop("job", {})}, **given}))
        return str(path)

    def create(self, script: str, **more: Any) -> int:
        """Create a run; its number."""
        done = self.commands.run("run", "create", "-f", self.run_file(script, **more))
        assert done.returncode == 0, done.stderr.decode()
        return int(done.stdout)

    def works(self) -> None:
        """A run goes through, and leaves nothing."""
        run = self.create("true", inputs=(), outputs=())
        assert self.commands.ended(run)["status"] == "Succeeded", self.commands.show(run)
        self.clean()

    def output(self, run: int, name: str = "out") -> commands_support.Done:
        """`buffer read` of a run's output."""
        job: Any = self.commands.show(run)["job"]
        return self.commands.run("buffer", "read", job["buffers"][name])

    def log(self, run: int) -> list[str]:
        """A run's log, line by line, without prefixes."""
        text = self.commands.run("run", "logs", run).stdout.decode()
        return [line.rpartition("] ")[2] for line in text.splitlines()]

    def containers(self) -> list[str]:
        """The names of all containers of this daemon's runs, whether they run or not."""
        catalog = sqlite3.connect(f"file:{self.daemon.state}/catalog.sqlite3?mode=ro", uri=True)
        with contextlib.closing(catalog):
            query = "SELECT value FROM settings WHERE key = 'installation'"
            ((installation,),) = catalog.execute(query)
        return names(self.podman.containers(tyger_installation=installation))

    def left(self) -> list[str]:
        """What is left of runs that have ended, in the state directory."""
        return sorted(
            os.path.relpath(path, self.daemon.state)
            for part in ("container-runs", "runs")
            for path in pathlib.Path(self.daemon.state, part).glob("*")
            if path.name.isdigit()
        )

    def clean(self, seconds: float = daemon.PATIENCE) -> None:
        """Until nothing is left of any run, which happens soon after its end."""
        deadline = time.monotonic() + seconds
        while found := self.containers() + self.left():
            assert time.monotonic() < deadline, found
            time.sleep(0.05)  # nothing tells when a container is gone

    def supervisors(self) -> list[int]:
        """The supervisors of runs and on standby that belong to this daemon's state."""
        found = []
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                environ = (entry / "environ").read_bytes()
                argv = (entry / "cmdline").read_bytes()
                if f"{self.daemon.path}/".encode() in environ and b"supervis" in argv:
                    found.append(int(entry.name))
        return found

    def kill_supervisors(self) -> None:
        """Kill all of them; the one on standby leaves by itself when its daemon was killed."""
        for pid in self.supervisors():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)


@contextlib.contextmanager
def host(podman: podman_support.Podman, socket: str | None = None, config: str = "") -> Iterator[Host]:
    """A daemon with the container engine; `socket` where it is not Podman's own."""
    text = CONFIG.format(socket=socket or podman.socket) + config
    with daemon.daemon(config=text) as it:
        made = Host(it, podman)
        try:
            yield made
        finally:
            made.close()

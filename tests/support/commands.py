"""Commands against a real daemon, for tests of what they say when something is wrong."""

from __future__ import annotations

import contextlib
import json
import pathlib
import subprocess
from collections.abc import Iterator, Sequence

from tests.support import daemon

HOST = """
[engine]
use = "process"
[engine.process]
cancel_grace = 0.2
[[engine.process.images]]
image = "host"
"""
"""A configuration in which the image `host` is this machine, whatever container engine it has."""

Done = subprocess.CompletedProcess[bytes]

PATIENCE = 180


class Commands:
    """`tyger` against one daemon: `run` to the end, or `start` with pipes, which `close` ends."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        self._started: list[subprocess.Popen[bytes]] = []

    def run(self, *arguments: object, data: bytes | None = b"", **options: object) -> Done:
        """Run a command to its end; nobody may hang."""
        fed = {} if "stdin" in options or data is None else {"input": data}
        given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | fed | options
        return subprocess.run(
            [*daemon.TYGER, *map(str, arguments)],
            env=self.environment,
            timeout=PATIENCE,
            check=False,
            **given,  # type: ignore[call-overload]
        )

    def start(self, *arguments: object, **options: object) -> subprocess.Popen[bytes]:
        """Start a command whose standard streams are pipes unless said otherwise."""
        given = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE) | options
        process = subprocess.Popen(
            [*daemon.TYGER, *map(str, arguments)],
            env=self.environment,
            **given,  # type: ignore[call-overload]
        )
        self._started.append(process)
        return process

    def buffer(self, data: bytes | None = None) -> str:
        """A new buffer, written where there is data."""
        made = self.run("buffer", "create").stdout.decode().strip()
        if data is not None:
            assert self.run("buffer", "write", made, data=data).returncode == 0
        return made

    def show(self, run: int | str) -> dict[str, object]:
        """A run as it is."""
        shown: dict[str, object] = json.loads(self.run("run", "show", run).stdout)
        return shown

    def ended(self, run: int | str) -> dict[str, object]:
        """A run's last state, which is waited for."""
        last: dict[str, object] = json.loads(self.run("run", "watch", run).stdout.splitlines()[-1])
        return last

    def close(self) -> None:
        """End what was started and still runs."""
        for process in self._started:
            process.kill()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()
            process.wait()


@contextlib.contextmanager
def commands(it: daemon.Daemon) -> Iterator[Commands]:
    """Commands against `it`; what they started has ended afterwards."""
    made = Commands(it.env)
    try:
        yield made
    finally:
        made.close()


def complaint(done: Done | bytes) -> str:
    """The one line that says what was wrong: all of standard error but progress and the hint at the help."""
    text = (done if isinstance(done, bytes) else done.stderr).decode()
    assert "Traceback" not in text
    lines = [
        line
        for line in text.splitlines()
        if " INF " not in line and " WRN " not in line and not line.endswith("--help' for usage.")
    ]
    assert len(lines) == 1, text
    return lines[0]


def run_file(
    directory: pathlib.Path,
    script: str,
    inputs: Sequence[str] = ("in",),
    outputs: Sequence[str] = ("out",),
    **job: object,
) -> str:
    """A run file whose job is a line of shell; `$$` is one dollar (Kubernetes' rules)."""
    codespec = {
        "image": "host",
        "buffers": {"inputs": list(inputs), "outputs": list(outputs)},
        "command": ["sh", "-c", script],
    }
    path = directory / "run.yml"
    path.write_text(json.dumps({"job": {"codespec": codespec, **job}}))
    return str(path)


def until(process: subprocess.Popen[bytes], text: bytes) -> bytes:
    """Read standard error until a line has `text`; that line."""
    assert process.stderr is not None
    while text not in (line := process.stderr.readline()):
        assert line, "it ended"
    return line


def run_of(process: subprocess.Popen[bytes]) -> int:
    """The ID of the run that a `run exec` has created."""
    return int(until(process, b"Run created").rpartition(b"runId=")[2])


class Logs:
    """For what has `commands`: the logs of its runs, as they grow."""

    commands: Commands

    def logged(self, run: int, text: str) -> None:
        """Until a run has logged a line with this end."""
        with self.following(run) as follower:
            assert follower.stdout is not None
            for line in follower.stdout:
                if line.decode().rstrip().endswith(text):
                    return
        raise AssertionError(f"run {run} never said {text!r}: {self.commands.show(run)}")

    @contextlib.contextmanager
    def following(self, run: int) -> Iterator[subprocess.Popen[bytes]]:
        """`run logs --follow`, ended with the block."""
        process = self.commands.start("run", "logs", run, "--follow")
        try:
            yield process
        finally:
            process.kill()
            process.wait()

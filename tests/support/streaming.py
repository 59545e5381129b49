"""Streams through a real daemon as people make them: producer, command and reader, each a process.

with streaming.streaming(it) as streams:
    buffer = streams.buffer()
    writing = streams.write(buffer, seed=1, size=1 << 30)
    reading = streams.read(buffer, seed=1)
    assert writing.finish() == reading.finish()

Nothing here waits without an end: what takes too long is killed, and the test fails with what was said.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import IO, Any
from urllib.parse import urlsplit

from tests.support import daemon, producer
from tyger import client

PATIENCE = 120.0
"""Seconds for anything that does not say otherwise: only what hangs takes so long, on any machine."""


class Job:
    """A command of ours, whose standard error is taken in as it comes."""

    def __init__(self, argv: list[str], env: dict[str, str], **options: Any) -> None:
        self.process = subprocess.Popen(argv, env=env, stderr=subprocess.PIPE, **options)
        self.argv = argv
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    @property
    def said(self) -> str:
        """Its standard error so far."""
        return "".join(self._lines)

    def wait(self, seconds: float = PATIENCE) -> int:
        """Its exit code; what runs longer is killed, and the test fails."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"{self.argv} still runs after {seconds} s; it said:\n{self.said}") from None
        self._listener.join(PATIENCE)  # or something that it started still holds its standard error
        return code

    def wait_said(self, text: str, seconds: float = PATIENCE) -> str:
        """Wait until it has said a line with `text`; that line."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or any(text in line for line in self._lines), seconds)
            lines = list(self._lines)
        found = next((line for line in lines if text in line), None)
        assert found is not None, f"it did not say {text!r}:\n{self.said}"
        return found

    def close(self) -> None:
        """End it, if it still runs."""
        self.process.kill()
        self.process.wait()
        self._listener.join(1)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def _listen(self) -> None:
        assert self.process.stderr is not None
        with contextlib.suppress(ValueError):  # closed under our feet: the test is over
            for line in self.process.stderr:
                with self._changed:
                    self._lines.append(line.decode(errors="replace"))
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


class Writing:
    """`producer | tyger buffer write`. `command` and `producer` are the two processes."""

    def __init__(self, producing: Job, command: Job, report: pathlib.Path) -> None:
        self.producer, self.command = producing, command
        self._report = report

    @property
    def made(self) -> producer.Made:
        """What the producer reported; it has ended."""
        return producer.load(self._report.read_text())

    def finish(self, seconds: float = PATIENCE) -> producer.Made:
        """Wait for success; what was written."""
        code = self.command.wait(seconds)
        assert code == 0, self.command.said
        assert self.producer.wait() == 0
        return self.made

    def fail(self, seconds: float = PATIENCE) -> tuple[int, str]:
        """Wait for failure: the exit code, and what was said."""
        code = self.command.wait(seconds)
        assert code != 0, "it succeeded"
        return code, self.command.said


class Reading:
    """`tyger buffer read | checker`: the bytes are compared with the stream that they should be."""

    def __init__(self, command: Job, checker: Job) -> None:
        self.command, self._checker = command, checker

    def finish(self, seconds: float = PATIENCE) -> producer.Made:
        """Wait for success; what was read."""
        code = self.command.wait(seconds)
        assert code == 0, self.command.said
        return self._checked()

    def fail(self, seconds: float = PATIENCE) -> tuple[int, str, producer.Made]:
        """Wait for failure: the exit code, what was said, and the correct bytes that came before."""
        code = self.command.wait(seconds)
        assert code != 0, "it succeeded"
        return code, self.command.said, self._checked()

    def _checked(self) -> producer.Made:
        self._checker.wait()
        assert self._checker.process.stdout is not None
        made = producer.load(self._checker.process.stdout.read())
        assert made.ended == "end", f"after {made.bytes} bytes comes something else"
        return made


class Streams:
    """Everything that goes on at one daemon."""

    def __init__(self, it: daemon.Daemon, *, block: int | None = None) -> None:
        self.daemon = it
        self.block = block
        """Bytes of a block of what `write` writes, whole KiB; None: the command's own choice."""

        self.environment = it.env
        self._jobs: list[Job] = []
        self._reports = 0

    def run(
        self, *arguments: object, seconds: float = PATIENCE, **options: Any
    ) -> subprocess.CompletedProcess[bytes]:
        """A command to its end."""
        given = {"stdin": subprocess.DEVNULL, "capture_output": True} | options
        return subprocess.run(
            [*daemon.TYGER, *map(str, arguments)], env=self.environment, timeout=seconds, check=False, **given
        )

    def buffer(self, *arguments: str) -> str:
        """A new buffer."""
        done = self.run("buffer", "create", *arguments)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    def start(self, *arguments: object, **options: Any) -> Job:
        """A command that goes on."""
        return self._job([*daemon.TYGER, *map(str, arguments)], **options)

    def write(
        self, buffer: str, seed: int, size: int, *arguments: object, rate: float | None = None
    ) -> Writing:
        """Write stream `seed` into a buffer, at `rate` bytes per second where that is given."""
        self._reports += 1
        report = self.daemon.path / f"report-{self._reports}"
        reading, writing = os.pipe()
        producing = self._job(producer.command(seed, size, rate=rate, report=report), stdout=writing)
        os.close(writing)
        size_flags = [] if self.block is None else ["--block-size", f"{self.block // 1024}K"]
        command = self.start("buffer", "write", buffer, *size_flags, *arguments, stdin=reading)
        os.close(reading)
        return Writing(producing, command, report)

    def read(self, buffer: str, seed: int, *arguments: object) -> Reading:
        """Read a buffer that should hold stream `seed`."""
        command = self.start("buffer", "read", buffer, *arguments, stdout=subprocess.PIPE)
        checker = self._job(producer.checking(seed), stdin=command.process.stdout, stdout=subprocess.PIPE)
        assert command.process.stdout is not None
        command.process.stdout.close()  # the checker's alone, so that the command notices its end
        return Reading(command, checker)

    def name(self, buffer: str) -> str:
        """The name of a buffer in transfers; `buffer` may be its access URL."""
        return urlsplit(buffer).path.rpartition("/")[2]

    def transfers(self) -> list[dict[str, Any]]:
        """What the daemon says of its transfers; counts that it leaves out are 0."""
        items = client.Client(self.daemon.socket).request("GET", "/transfers").json()["items"]
        return [{"bytes": 0, "shipped": 0, **item} for item in items]

    def transfer(self, buffer: str, kind: str = "write") -> dict[str, Any]:
        """The latest transfer of a buffer; with only its counts, all 0, where there is none yet."""
        wanted = (self.name(buffer), kind)
        found = (each for each in self.transfers() if (each["buffer"], each["kind"]) == wanted)
        return next(found, {"bytes": 0, "shipped": 0})

    def wait_transfer(
        self,
        buffer: str,
        predicate: Callable[[dict[str, Any]], object],
        *,
        kind: str = "write",
        seconds: float = PATIENCE,
    ) -> dict[str, Any]:
        """Wait until `predicate` holds for the transfer of a buffer; the transfer then."""
        deadline = time.monotonic() + seconds
        wanted = (self.name(buffer), kind)
        last: dict[str, Any] = {}
        while time.monotonic() < deadline:
            found = [each for each in self.transfers() if (each["buffer"], each["kind"]) == wanted]
            if found and predicate(last := found[0]):
                return last
            time.sleep(0.05)  # asked, not followed: the daemon may be killed meanwhile
        raise AssertionError(f"it did not happen; the transfer is {json.dumps(last)}")

    def close(self) -> None:
        """End what still runs."""
        for job in self._jobs:
            job.close()

    def _job(self, argv: list[str], **options: int | IO[bytes] | None) -> Job:
        given = {"stdin": subprocess.DEVNULL} | options
        job = Job(argv, self.environment, **given)
        self._jobs.append(job)
        return job


@contextlib.contextmanager
def streaming(it: daemon.Daemon, *, block: int | None = None) -> Iterator[Streams]:
    """Streams at `it`; whatever was started has ended afterwards."""
    made = Streams(it, block=block)
    try:
        yield made
    finally:
        made.close()

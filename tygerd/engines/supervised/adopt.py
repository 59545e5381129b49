"""Following a run through its supervisor, whichever daemon started it.

Theory of operation. A run's directory without a lock file was never started. A supervisor holds that lock as
long as it lives; while it does, its socket gives a snapshot and then events. Once the lock is free, the
status file is the result; where there is none, the supervisor was killed, and its job with it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
from collections.abc import AsyncIterator
from typing import Any

import trio

from tyger import errors, units
from tygerd import clock
from tygerd.engines import base
from tygerd.supervisor import control, spec

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 1.0
"""Seconds between two attempts to reach a supervisor that lives, doubled each time: it is about to listen, or
about to end, or of another version, which only its result can be asked of."""


async def follow(directory: str, report: base.Report) -> base.Observation:
    """See `base.Engine.follow`."""
    digest = _image_digest(directory)

    async def tell(observation: base.Observation) -> None:
        await report(dataclasses.replace(observation, image_digest=digest))

    return dataclasses.replace(await _until_its_end(directory, tell), image_digest=digest)


async def _until_its_end(directory: str, report: base.Report) -> base.Observation:
    pause = FIRST_PAUSE
    while True:
        with contextlib.suppress(OSError):
            async with _connect(directory) as stream:
                if (ended := await _listen(stream, report)) is not None:
                    return _final(directory, ended)
        if not is_held(directory):
            return _result(directory)
        await trio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


async def send(directory: str, command: control.Message) -> None:
    """Give a command to the supervisor, until it has accepted it or has ended."""
    pause = FIRST_PAUSE
    while True:
        with contextlib.suppress(OSError, trio.BrokenResourceError):
            async with _connect(directory) as stream:
                await stream.send_all(json.dumps(command).encode() + b"\n")
                conversation = _Conversation(stream)
                while message := await conversation.next():
                    if message["event"] in {"accepted", "error", "finished"}:
                        return
        try:
            if not is_held(directory):
                return
        except base.NeverStarted:
            return
        await trio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


@contextlib.asynccontextmanager
async def _connect(directory: str) -> AsyncIterator[trio.SocketStream]:
    sock = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
    with sock, control.address(directory) as path:
        await sock.connect(path)
        yield trio.SocketStream(sock)


class _Conversation:
    """What the supervisor says on one connection."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._received = bytearray()

    async def next(self) -> dict[str, Any] | None:
        """The next message; None when the connection has ended."""
        while (end := self._received.find(b"\n")) < 0:
            data = await self._stream.receive_some()
            if not data:
                return None
            self._received += data
        message: dict[str, Any] = json.loads(self._received[:end])
        del self._received[: end + 1]
        return message


async def _listen(stream: trio.SocketStream, report: base.Report) -> spec.Status | None:
    """Report what the supervisor tells; its status when it says that the run has ended."""
    seen = base.Observation(status="Pending")
    conversation = _Conversation(stream)
    with contextlib.suppress(trio.BrokenResourceError):
        while message := await conversation.next():
            if message["event"] == "hello":
                if message["version"] != spec.VERSION:
                    return None
                continue
            if message["event"] == "finished":
                return spec.Status(**message["status"])
            seen = _observe(seen, message)
            await report(seen)
    return None


def _observe(seen: base.Observation, message: dict[str, Any]) -> base.Observation:
    started_at = message.get("startedAt") or seen.started_at
    size = message.get("log" if message["event"] == "state" else "size")
    running = message.get("running", seen.running_count)
    return base.Observation(
        status="Pending" if started_at is None else "Running",
        started_at=started_at,
        log_size=seen.log_size if size is None else size,
        running_count=running,
    )


def was_started(directory: str) -> bool:
    """Whether a supervisor ever took the run."""
    return os.path.exists(os.path.join(directory, spec.LOCK))


def is_held(directory: str) -> bool:
    """Whether a supervisor lives.

    Raises:
        NeverStarted: none ever took the run.
    """
    try:
        fd = os.open(os.path.join(directory, spec.LOCK), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise base.NeverStarted from None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _result(directory: str) -> base.Observation:
    try:
        status = spec.read_status(directory)
    except (OSError, ValueError) as error:
        return _lost(directory, f"the result of the run cannot be read: {error}")
    if status is None:
        return _lost(directory, "the supervisor of the run was killed, and its job with it")
    return _final(directory, status)


def _final(directory: str, status: spec.Status) -> base.Observation:
    return base.Observation(
        status=status.status,
        reason=status.reason,
        started_at=status.started_at,
        finished_at=status.finished_at,
        log_size=_log_size(directory),
        incomplete=tuple(name for name, state in status.outputs.items() if state != "complete"),
    )


def _lost(directory: str, reason: str) -> base.Observation:
    outputs: tuple[str, ...] = ()
    with contextlib.suppress(OSError, ValueError):
        outputs = tuple(pipe.name for pipe in spec.read_spec(directory).outputs)
    return base.Observation(
        status="Failed",
        reason=reason,
        finished_at=units.to_micros(clock.now()),
        log_size=_log_size(directory),
        incomplete=outputs,
    )


def _image_digest(directory: str) -> str | None:
    with contextlib.suppress(OSError, ValueError):
        return spec.read_spec(directory).image_digest
    return None


def _log_size(directory: str) -> int:
    try:
        return os.stat(os.path.join(directory, spec.LOG)).st_size
    except FileNotFoundError:
        return 0


def problem(error: OSError) -> errors.Problem:
    """A run's directory that could not be made."""
    return errors.Problem(errors.IO_ERROR, f"cannot prepare the run: {error.filename}: {error.strerror}")

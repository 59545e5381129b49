"""The files in a run's directory, shared by the supervisor, which works on them, and the engine.

    spec.json         what to run; written by the daemon before the supervisor starts, then never changed
    lock              flock held by the supervisor for as long as it lives; a run is known by it, never by pid
    supervisor.sock   the control socket, see `control`
    pipes/NAME.pipe   a FIFO for each buffer
    work/             the job's private directory where nothing else gives it one
    log               the job's output, see `log`
    status.json       how the run ended; appears whole, as the supervisor's last act
    supervisor.err    the supervisor's own standard error

Both JSON files carry `version`; a reader refuses a version that it doesn't know.
"""

from __future__ import annotations

import json
import os
from typing import Any, Literal, NamedTuple

VERSION = 1
"""Of `spec.json`, `status.json` and the control protocol alike: they change together."""

SPEC, LOCK, SOCKET, PIPES, WORK = "spec.json", "lock", "supervisor.sock", "pipes", "work"
LOG, STATUS, ERRORS = "log", "status.json", "supervisor.err"

Ended = Literal["Succeeded", "Failed", "Canceled"]


class UnknownVersionError(ValueError):
    """A file was written by a newer (or broken) tygerd."""


class Pipe(NamedTuple):
    """A buffer parameter: its name, the id of its buffer, and the mode of its FIFO."""

    name: str
    buffer: str
    mode: int = 0o600


class Spec(NamedTuple):
    """What the supervisor is told. Times in seconds, sizes in bytes.

    `argv` is complete, with a sandbox's own words in front where `sandboxed`; then the direct child is the
    sandbox, and signals go to what runs inside it. `env` is the job's whole environment. `cwd` is where
    `argv` starts. `retry_for` is how long a daemon that is away is waited for, None for ever.
    """

    run: int
    argv: list[str]
    env: dict[str, str]
    cwd: str
    daemon_socket: str
    sandboxed: bool = False
    inputs: tuple[Pipe, ...] = ()
    outputs: tuple[Pipe, ...] = ()
    timeout: float | None = None
    cancel_grace: float = 10.0
    block_size: int = 4 * 1024 * 1024
    flush_interval: float = 1.0
    retry_for: float | None = None


class Status(NamedTuple):
    """How a run ended. Times are microseconds since the epoch; `exit_code` is 128 + n for signal n.

    `started_at` is None where the job never started. `outputs` and `inputs` say of each buffer how its
    transfer ended (`pipes.State`).
    """

    run: int
    status: Ended
    reason: str | None
    exit_code: int | None
    started_at: int | None
    finished_at: int
    inputs: dict[str, str]
    outputs: dict[str, str]


def pipe_path(directory: str, name: str) -> str:
    """The FIFO of a buffer, below the run's directory."""
    return os.path.join(directory, PIPES, f"{name}.pipe")


def write_spec(directory: str, spec: Spec) -> None:
    """Write `spec.json`, whole or not at all."""
    _write(os.path.join(directory, SPEC), spec._asdict(), sync=False)


def read_spec(directory: str) -> Spec:
    """The spec of a run.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not a spec (`UnknownVersionError`: of ours).
    """
    fields = _read(os.path.join(directory, SPEC))
    try:
        fields["inputs"] = tuple(Pipe(*pipe) for pipe in fields["inputs"])
        fields["outputs"] = tuple(Pipe(*pipe) for pipe in fields["outputs"])
        return Spec(**fields)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a spec: {error}") from error


def write_status(directory: str, status: Status) -> None:
    """Write `status.json`, whole or not at all, and make it durable: it is the run's only result."""
    _write(os.path.join(directory, STATUS), status._asdict(), sync=True)


def read_status(directory: str) -> Status | None:
    """How the run ended; None while there is no such file.

    Raises:
        ValueError: it is not a status (`UnknownVersionError`: of ours).
    """
    try:
        fields = _read(os.path.join(directory, STATUS))
    except FileNotFoundError:
        return None
    try:
        return Status(**fields)
    except TypeError as error:
        raise ValueError(f"not a status: {error}") from error


def _write(path: str, fields: dict[str, Any], *, sync: bool) -> None:
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, f".{name}.new")  # the directory has one writer of each file
    with open(temporary, "w") as file:
        json.dump({"version": VERSION, **fields}, file)
        file.flush()
        if sync:
            os.fsync(file.fileno())
    os.rename(temporary, path)
    if sync:
        parent = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)


def _read(path: str) -> dict[str, Any]:
    with open(path, "rb") as file:
        fields = json.load(file)
    if not isinstance(fields, dict) or fields.pop("version", None) != VERSION:
        raise UnknownVersionError(f"{path} is not of version {VERSION}")
    return fields

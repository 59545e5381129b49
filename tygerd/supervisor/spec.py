"""The files in a run's directory, shared by the supervisor, which works on them, and the engine.

    spec.json         what to run; written by the daemon before the supervisor starts, then never changed
    lock              flock held by the supervisor for as long as it lives; a run is known by it, never by pid
    supervisor.sock   the control socket, see `control`
    pipes/NAME.pipe   a FIFO for each buffer; pipes/I/NAME.pipe where the job has several replicas
    work/             the job's private directory where nothing else gives it one
    log               the job's output, see `log`
    status.json       how the run ended; appears whole, as the supervisor's last act
    supervisor.err    the supervisor's own standard error

Both JSON files carry `version`; a reader refuses a version that it doesn't know. A spec may be of a daemon
older than its supervisor, as programs are replaced under a daemon at work: version 1 is read as well.
"""

from __future__ import annotations

import json
import os
from typing import Any, Literal, NamedTuple

VERSION = 1
"""Of `status.json` and the control protocol alike: a daemon must understand the supervisors of older ones."""

SPEC_VERSION = 2
"""Of `spec.json`. Version 1 had one process in the spec itself, and no deadline."""

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


class Socket(NamedTuple):
    """A port on which the job's main listens, and the names of the buffers that are joined with it."""

    port: int
    input: str | None = None
    output: str | None = None


class ProcessSpec(NamedTuple):
    """A process of this host.

    `argv` is complete, with a sandbox's own words in front where `sandboxed`; then the direct child is the
    sandbox, and signals go to what runs inside it. `env` is the whole environment. `cwd` is where `argv`
    starts.
    """

    argv: list[str]
    env: dict[str, str]
    cwd: str
    sandboxed: bool = False


IMAGE_LABEL = "tyger-image"
"""Label of a container: the image's name in the codespec. In the request that creates it stands its ID."""


class ContainerSpec(NamedTuple):
    """A container of an engine that listens on the Unix socket `api`.

    `body` is the complete request that creates it under `name`, but for the workers' addresses: `hosts` maps
    each name that has to resolve in it to the name of a worker (`MainSpec.name`).
    """

    api: str
    name: str
    body: dict[str, Any]
    hosts: dict[str, str] = {}  # noqa: RUF012 - never changed


class MainSpec(NamedTuple):
    """One program of the run: either `process` or `container`.

    `name` is `main`, `job-0` or `worker-1`. `pipes` is the directory of its FIFOs below `pipes/`, empty for
    that itself. `label` stands, with a space behind it, before every line of its log.
    """

    name: str
    process: ProcessSpec | None = None
    container: ContainerSpec | None = None
    pipes: str = ""
    label: str = ""


class Spec(NamedTuple):
    """What the supervisor is told. Times in seconds, sizes in bytes.

    `mains` are the replicas of the job; `workers` are started before them. `deadline` is when the run must
    have ended, in microseconds since the epoch, and `timeout` what was asked for; without a deadline it
    counts from the job's start. `retry_for` is how long a daemon that is away is waited for, None for ever.
    `image_digest` is for the daemon alone: what the job's image was.
    """

    run: int
    mains: tuple[MainSpec, ...]
    daemon_socket: str
    workers: tuple[MainSpec, ...] = ()
    inputs: tuple[Pipe, ...] = ()
    outputs: tuple[Pipe, ...] = ()
    sockets: tuple[Socket, ...] = ()
    timeout: float | None = None
    deadline: int | None = None
    cancel_grace: float = 10.0
    block_size: int = 4 * 1024 * 1024
    flush_interval: float = 1.0
    retry_for: float | None = None
    image_digest: str | None = None


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


def pipe_path(directory: str, name: str, pipes: str = "") -> str:
    """The FIFO of a buffer, below the run's directory; `pipes` as in `MainSpec`."""
    return os.path.join(directory, PIPES, pipes, f"{name}.pipe")


def write_spec(directory: str, spec: Spec) -> None:
    """Write `spec.json`, whole or not at all."""
    _write(os.path.join(directory, SPEC), {"version": SPEC_VERSION, **_plain(spec)}, sync=False)


def read_spec(directory: str) -> Spec:
    """The spec of a run.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not a spec (`UnknownVersionError`: of ours).
    """
    fields = _read(os.path.join(directory, SPEC), 1, SPEC_VERSION)
    try:
        if fields.pop("version") == 1:
            process = {name: fields.pop(name) for name in ("argv", "env", "cwd", "sandboxed")}
            fields["mains"] = [{"name": "main", "process": process}]
        for name in ("mains", "workers"):
            fields[name] = tuple(_main(main) for main in fields.get(name, ()))
        for name in ("inputs", "outputs"):
            fields[name] = tuple(_pipe(pipe) for pipe in fields[name])
        fields["sockets"] = tuple(Socket(**socket) for socket in fields.get("sockets", ()))
        return Spec(**fields)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"not a spec: {error}") from error


def _main(fields: dict[str, Any]) -> MainSpec:
    kinds = {"process": ProcessSpec, "container": ContainerSpec}
    made = {name: kind(**fields[name]) for name, kind in kinds.items() if fields.get(name) is not None}
    return MainSpec(**{**fields, **made})


def _pipe(fields: dict[str, Any] | list[Any]) -> Pipe:
    return Pipe(**fields) if isinstance(fields, dict) else Pipe(*fields)  # version 1 had lists


def _plain(value: Any) -> Any:
    """A record as JSON has it: an object, with what lies in it as objects, too."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: _plain(item) for name, item in value._asdict().items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def write_status(directory: str, status: Status) -> None:
    """Write `status.json`, whole or not at all, and make it durable: it is the run's only result."""
    _write(os.path.join(directory, STATUS), {"version": VERSION, **_plain(status)}, sync=True)


def read_status(directory: str) -> Status | None:
    """How the run ended; None while there is no such file.

    Raises:
        ValueError: it is not a status (`UnknownVersionError`: of ours).
    """
    try:
        fields = _read(os.path.join(directory, STATUS), VERSION)
    except FileNotFoundError:
        return None
    try:
        del fields["version"]
        return Status(**fields)
    except TypeError as error:
        raise ValueError(f"not a status: {error}") from error


def _write(path: str, fields: dict[str, Any], *, sync: bool) -> None:
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, f".{name}.new")  # the directory has one writer of each file
    with open(temporary, "w") as file:
        json.dump(fields, file)
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


def _read(path: str, *versions: int) -> dict[str, Any]:
    with open(path, "rb") as file:
        fields = json.load(file)
    if not isinstance(fields, dict) or fields.get("version") not in versions:
        raise UnknownVersionError(f"{path} is not of version {' or '.join(map(str, versions))}")
    return fields

"""tygerd.toml, read once into frozen Structs; a wrong one means that the daemon does not start.

Every key, its default and its help text stand here (of credentials in `identity.kinds`, of engines in
`enginesettings`, of stores in `storesettings`) and nowhere else: the man page tygerd.toml(5) is made from
them. What values and tables are made of is in `tables`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Annotated

import msgspec

from tyger import errors
from tygerd import enginesettings, storesettings, tables
from tygerd.identity import kinds

Help = tables.Help
Lifetime = tables.Lifetime
Mode = tables.Mode
Seconds = tables.Seconds
Size = tables.Size
Table = tables.Table

Container = enginesettings.Container
Engine = enginesettings.Engine
Image = enginesettings.Image

Azure = storesettings.Azure
Local = storesettings.Local
Store = storesettings.Store

LOCAL = storesettings.LOCAL


class Socket(Table, frozen=True):
    """[socket]: who may connect."""

    mode: Annotated[
        Mode | None,
        Help(description="Permission bits of the socket. Unset: 0660 in system mode, 0600 in user mode."),
    ] = None
    group: Annotated[
        str | None, Help(description="Group that owns the socket. Unset: the daemon's own group.")
    ] = None


class Spool(Table, frozen=True):
    """[spool]: what has been taken from producers and has not yet arrived at its store."""

    limit: Annotated[
        Size,
        Help(
            description="Size of all spools together. When it is reached producers are made to wait; nothing"
            " is dropped."
        ),
    ] = Size(64 * 1024**3)
    floor: Annotated[Size, Help(description="Free space to leave on the disk, whatever `limit` says.")] = (
        Size(1024**3)
    )


class Transfer(Table, frozen=True):
    """[transfer]: writes and reads."""

    reattach_grace: Annotated[
        Seconds,
        Help(
            description="How long after its start the daemon waits for the clients of unfinished writes to"
            " come back, before it marks their buffers as failed."
        ),
    ] = Seconds(30)
    bandwidth: Annotated[
        Size,
        Help(
            description="Bytes per second that all transfers together may send, and as many that they may"
            " receive; 0 means no limit."
        ),
    ] = Size(0)
    deadline: Annotated[
        Seconds,
        Help(
            description="How long an operation that fails is tried again. After that its transfer is"
            " stalled; its data are kept until it is resumed or cancelled."
        ),
    ] = Seconds(24 * 3600)
    writer_lease: Annotated[
        Seconds,
        Help(
            description="After this time without a sign of life from its writer, a reader of a buffer in a"
            " storage account learns that the writer is away. 15 to 60 seconds."
        ),
    ] = Seconds(60)
    lease_grace: Annotated[
        Seconds,
        Help(description="How much longer a reader then waits for the writer before the read fails."),
    ] = Seconds(300)
    proxy: Annotated[
        str | None,
        Help(
            description='HTTP proxy on the way to storage accounts, such as "http://proxy:3128"; "none"'
            " forbids one. Unset: HTTPS_PROXY and HTTP_PROXY of the environment. NO_PROXY counts anyway."
        ),
    ] = None
    ca_file: Annotated[
        str | None,
        Help(
            description="PEM file of the authorities that servers' certificates are judged by. Unset: the"
            " system's."
        ),
    ] = None

    def __post_init__(self) -> None:
        if not 15 <= self.writer_lease <= 60:
            raise ValueError("writer_lease must be between 15 and 60 seconds")
        if self.deadline <= 0:
            raise ValueError("deadline must be more than 0 seconds")


class Buffers(Table, frozen=True):
    """[buffers]: how long they live."""

    active_lifetime: Annotated[
        Lifetime, Help(description="How long a buffer lives after it was restored; 0.00:00 means for ever.")
    ] = Lifetime(0)
    soft_deleted_lifetime: Annotated[
        Lifetime, Help(description="How long a deleted buffer can be restored before it is gone.")
    ] = Lifetime(24 * 3600)


class Daemon(Table, frozen=True):
    """[daemon]: its own life."""

    idle_exit: Annotated[
        Seconds,
        Help(
            description="Time without connection, transfer or run after which a daemon that a command"
            " started leaves."
        ),
    ] = Seconds(300)
    stop_deadline: Annotated[
        Seconds, Help(description="How long requests may take to finish once the daemon was told to stop.")
    ] = Seconds(5)


class Limits(Table, frozen=True):
    """[limits]: bounds against a client that takes too much."""

    body_size: Annotated[Size, Help(description="Largest JSON body of a request.")] = Size(1024 * 1024)
    block_body_size: Annotated[Size, Help(description="Largest body of a block that is PUT.")] = Size(
        30_000_000  # the contract's (buffers.md section 3): clients know it
    )
    connections_per_uid: Annotated[
        int, Help(description="Connections that one user may hold open.", ge=1)
    ] = 512
    fds_per_uid: Annotated[
        int, Help(description="Passed descriptors that the daemon holds for one user.", ge=1)
    ] = 512


class Config(Table, frozen=True):
    """The whole file."""

    socket: Socket = Socket()
    store: Store = Store()
    spool: Spool = Spool()
    transfer: Transfer = Transfer()
    buffers: Buffers = Buffers()
    engine: Engine = Engine()
    daemon: Daemon = Daemon()
    limits: Limits = Limits()


def load(path: str, *, required: bool = False) -> Config:
    """Read the file; one that is missing means all defaults, unless it is `required`.

    Raises:
        Problem: CONFIG, naming the file and, where it can be told, the key and the line.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        if required:
            raise errors.Problem(errors.CONFIG, f"cannot read {path}: No such file or directory") from None
        return Config()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise errors.Problem(errors.CONFIG, f"cannot read {path}: {reason}") from None
    return parse(text, path)


def parse(text: str, name: str = "tygerd.toml") -> Config:
    """The configuration that `text` holds; `name` is for messages. Raises as `load`."""
    try:
        said = tomllib.loads(text)
        if isinstance(said.get("engine"), str):  # short for a table with nothing else in it
            said["engine"] = {"use": said["engine"]}
        read = msgspec.convert(said, Config, dec_hook=tables.convert)
    except tomllib.TOMLDecodeError as error:
        raise errors.Problem(errors.CONFIG, f"{name} is not TOML: {error}") from None
    except msgspec.ValidationError as error:
        detail, key = tables.explain(str(error))
        if key.endswith(".credential.kind"):
            known = kinds.Credential if key.startswith("store.") else kinds.Principal
            detail += f"; there are {', '.join(tables.tags(known))}"
        raise _problem(text, name, key, detail) from None
    for key, detail in _contradictions(read):
        raise _problem(text, name, key, f"{key}: {detail}")
    return read


def _problem(text: str, name: str, key: str, detail: str) -> errors.Problem:
    line = tables.line_of(text, key)
    where = f"{name}, line {line}" if line else name
    return errors.Problem(errors.CONFIG, f"{where}: {detail}")


def _contradictions(read: Config) -> Iterator[tuple[str, str]]:
    """What no table can see by itself: the key, and what is wrong with it."""
    names: list[str] = []
    for number, account in enumerate(read.store.azure):
        if account.name in names:
            first = f"store.azure[{names.index(account.name)}]"
            yield f"store.azure[{number}].name", f"{account.name} is also the name of {first}"
        names.append(account.name)
    known = {LOCAL: LOCAL} | {account.location.lower(): account.location for account in read.store.azure}
    default = read.store.default_location
    if default is not None and default.lower() not in known:
        yield (
            "store.default_location",
            f"no account has the location {default}; there are {', '.join(known.values())}",
        )


def describe() -> Iterator[tables.Option]:
    """Every key of the file, in the file's order."""
    return tables.describe(Config)

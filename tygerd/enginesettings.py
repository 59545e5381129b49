"""The tables of tygerd.toml about engines: where runs are executed, and how. Part of `config`.

Every key, its default and its help text stand here and nowhere else.
"""

from __future__ import annotations

import os
import re
from typing import Annotated, Literal

import msgspec

from tygerd import tables

Help = tables.Help
Seconds = tables.Seconds
Table = tables.Table


class Image(Table, frozen=True):
    """[[engine.process.images]]: what stands for a container image on this host."""

    image: Annotated[
        str,
        Help(
            description="Image reference that this entry stands for: exact, or a glob such as `*/ffmpeg:*`."
        ),
    ]
    root: Annotated[
        str | None,
        Help(
            description="Directory that holds the image's file system. Unset, or `/`: the file system of this"
            " host, read-only, with the homes, /tmp and /run empty."
        ),
    ] = None
    entrypoint: Annotated[
        list[str],
        Help(
            description="Program and first arguments that run where a codespec names no `command`. A job sees"
            " the directory of a program with an absolute path also where it lies in a home."
        ),
    ] = msgspec.field(default_factory=list)
    env: Annotated[
        dict[str, str],
        Help(
            description="Environment variables that the image sets; a codespec's own win. A job sees the"
            " directories in this PATH also where they lie in a home; for X/bin it sees all of X."
        ),
    ] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.image:
            raise ValueError("image must not be empty")
        if self.root is not None and not os.path.isabs(self.root):
            raise ValueError(f"root must be an absolute path, not {self.root}")


class Process(Table, frozen=True):
    """[engine.process]: runs as processes of this host."""

    bubblewrap: Annotated[
        Literal["auto", "require", "off"],
        Help(
            description="Whether jobs are confined with bubblewrap: `auto` where it works, `require` refuses"
            " to run without it, `off` never."
        ),
    ] = "auto"
    cancel_grace: Annotated[
        Seconds, Help(description="Time between SIGTERM and SIGKILL when a run is cancelled or timed out.")
    ] = Seconds(10)
    images: Annotated[
        list[Image], Help(description="Which images this host can run, the first match counts.")
    ] = msgspec.field(default_factory=list)


class Container(Table, frozen=True):
    """[engine.container]: runs as containers of a Docker or Podman engine."""

    socket: Annotated[
        str | None,
        Help(
            description="Path of the engine's Unix socket. Unset: DOCKER_HOST or CONTAINER_HOST where they"
            " name one, then the usual places of the user's and the system's Docker and Podman."
        ),
    ] = None
    pull: Annotated[
        Literal["never", "missing", "always"],
        Help(
            description="When an image is pulled that nobody asked for with --pull: `never`, `missing` when"
            " the engine does not have it, `always` before each run."
        ),
    ] = "never"
    auth_file: Annotated[
        str | None,
        Help(
            description="File with the registries' credentials, as `docker login` and `podman login` write"
            " it. Unset: REGISTRY_AUTH_FILE, then the usual places of both."
        ),
    ] = None
    network: Annotated[
        Literal["needed", "bridge"],
        Help(
            description="Which runs have a network: `needed` only those whose codespec has sockets or that"
            " have workers, `bridge` all."
        ),
    ] = "needed"
    user: Annotated[
        str | None,
        Help(description='User of the programs, as "uid:gid" or a name in the image. Unset: the image\'s.'),
    ] = None
    capabilities: Annotated[
        list[str],
        Help(description="Capabilities that programs keep, such as `SYS_PTRACE`; all others are dropped."),
    ] = msgspec.field(default_factory=list)
    root: Annotated[
        Literal["writable", "read-only"],
        Help(
            description="Whether a program can write into its image's file system; into /tmp it can always."
        ),
    ] = "writable"
    cancel_grace: Annotated[
        Seconds, Help(description="Time between SIGTERM and SIGKILL when a run is cancelled or timed out.")
    ] = Seconds(10)

    def __post_init__(self) -> None:
        if self.socket is not None and not os.path.isabs(self.socket.removeprefix("unix://")):
            raise ValueError(f"socket must be the absolute path of a Unix socket, not {self.socket}")
        for name in self.capabilities:
            if not re.fullmatch(r"(CAP_)?[A-Z][A-Z_]*", name):
                raise ValueError(f"capabilities are named like SYS_PTRACE, not {name!r}")


class Engine(Table, frozen=True):
    """[engine]: where runs are executed."""

    use: Annotated[
        Literal["auto", "process", "container"],
        Help(
            description="Which engine executes a run that names none with --engine. `auto`: a container"
            " engine that answers and has the image, or may pull it; else the process engine, where the image"
            ' is mapped. In a file without tables of engines, `engine = "process"` is short for it.'
        ),
    ] = "auto"
    process: Annotated[Process, Help(description="Runs as processes of this host.")] = Process()
    container: Annotated[Container, Help(description="Runs as containers of this host's engine.")] = (
        Container()
    )

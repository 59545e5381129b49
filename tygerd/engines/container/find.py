"""Which container engine this host has, and what it can do. Asks the engine; starts nothing.

What is configured is used and nothing else; else what the environment names; else the first that answers of
the places where Docker and Podman listen, the user's own before the system's.
"""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from tyger import errors
from tygerd.engines.container import api

ADVICE = (
    "Install Docker or Podman and start it (Podman: systemctl --user enable --now podman.socket), or name its"
    " socket as `socket` in [engine.container]"
)


class Facts(NamedTuple):
    """What an engine said of itself."""

    name: Literal["Docker", "Podman"]
    version: str
    architecture: str
    rootless: bool
    """Its containers' addresses are not this host's to reach."""
    limits: bool
    """It can bound the memory and the processor time of a container."""
    gpu: bool
    cpus: float

    @property
    def command(self) -> str:
        """The program that a user of this engine types."""
        return self.name.lower()


def candidates(configured: str | None, environ: Mapping[str, str]) -> list[str]:
    """The sockets to try, in order.

    Raises:
        Problem: CONFIG, the environment names an engine that is not on this host.
    """
    if configured:
        return [configured.removeprefix("unix://")]
    for variable in ("DOCKER_HOST", "CONTAINER_HOST"):
        if host := environ.get(variable):
            if not host.startswith("unix://"):
                raise errors.Problem(
                    errors.CONFIG,
                    f"{variable} is {host}, but containers must run on this host, where their pipes are:"
                    " unset it, or name a Unix socket as `socket` in [engine.container]",
                )
            return [host.removeprefix("unix://")]
    return [place for place in _places(environ) if os.path.lexists(place)]


def _places(environ: Mapping[str, str]) -> Iterator[str]:
    if runtime := environ.get("XDG_RUNTIME_DIR"):
        yield f"{runtime}/docker.sock"
        yield f"{runtime}/podman/podman.sock"
    yield "/run/docker.sock"
    yield "/run/podman/podman.sock"


async def reach(configured: str | None, environ: Mapping[str, str]) -> api.Api:
    """The first engine that answers, to be closed by the caller.

    Raises:
        Problem: CONFIG, or UNAVAILABLE with what was tried.

    Cancelled, it leaves no connection.
    """
    tried: list[str] = []
    for socket in candidates(configured, environ):
        engine = api.Api(socket)
        answers = False
        try:
            await engine.negotiate()
            answers = True
        except errors.Problem as problem:
            tried.append(
                problem.message.removeprefix("cannot reach the container engine on ") + _group(socket)
            )
        except api.Refused as refusal:
            tried.append(f"{socket}: {refusal.message}")
        finally:
            if not answers:
                await engine.close()
        if answers:
            return engine
    raise errors.Problem(
        errors.UNAVAILABLE, f"no container engine answers ({'; '.join(tried) or 'there is none'}). {ADVICE}"
    )


def _group(socket: str) -> str:
    """How to get at a socket that we may not use; empty where that is not the trouble."""
    try:
        found = os.stat(socket)
        if os.access(socket, os.R_OK | os.W_OK) or found.st_gid == 0 or found.st_mode & 0o060 != 0o060:
            return ""
        return join(found.st_gid, os.getuid())
    except OSError:
        return ""


def join(group: int, user: int) -> str:
    """What a user has to type to become a member of a group; empty where either has no name."""
    try:
        words = f"sudo usermod -aG {grp.getgrgid(group).gr_name} {pwd.getpwuid(user).pw_name}"
    except KeyError:
        return ""
    return f" ({words}, and log in again)"


async def ask(engine: api.Api) -> Facts:
    """What it says of itself. Takes Podman a second: it looks for the packages that its programs are of.

    Raises:
        Problem: UNAVAILABLE.
    """
    try:
        return facts(await engine.get("/version"), await engine.get("/info"))
    except (api.Refused, AttributeError, TypeError, ValueError) as error:  # of another form than we know
        raise errors.Problem(
            errors.UNAVAILABLE, f"the container engine on {engine.socket} does not say what it is: {error}"
        ) from error


def facts(version: Any, info: Any) -> Facts:
    """What the answers of /version and /info mean. A member that is missing means the weaker answer."""
    parts = {str(part.get("Name")) for part in version.get("Components") or []}
    podman = "Podman Engine" in parts
    rootless = bool(info.get("Rootless")) or "name=rootless" in (info.get("SecurityOptions") or [])
    return Facts(
        name="Podman" if podman else "Docker",
        version=str(version.get("Version")),
        architecture=str(version.get("Arch")),
        rootless=rootless,
        limits=bool(info.get("MemoryLimit") and info.get("CpuCfsQuota"))
        # Podman says otherwise, and ignores limits there.
        and not (rootless and str(info.get("CgroupVersion", "1")) == "1"),
        gpu="nvidia" in (info.get("Runtimes") or {}),
        cpus=float(info.get("NCPU") or 0),
    )
